//! What servers have told of themselves: keys, and by which URLs they can be reached.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use meow_core::request::{Answer, Descriptor, RefusalCode, RequestKind};
use meow_core::transport::Endpoint;
use tokio::time::Instant;

/// Servers that are remembered.
const MAX_KNOWN: usize = 1000;
/// Longest that a descriptor is used before it is asked for again, so that a changed one is noticed.
const LONGEST_USE: Duration = Duration::from_secs(6 * 60 * 60);

/// What all servers have told, and how they were reached last.
#[derive(Default)]
pub(crate) struct Told(HashMap<[u8; 32], Server>);

#[derive(Default)]
struct Server {
    descriptor: Option<(Arc<Descriptor>, Instant)>,
    urls: Option<Vec<Endpoint>>,
    used: Option<Endpoint>,
}

impl Told {
    /// Takes a verified descriptor that came by this URL; its URLs take the place of those before.
    pub(crate) fn describes(&mut self, server: &[u8; 32], descriptor: &Arc<Descriptor>, by: &Endpoint) {
        // By the server's own clock, since ours may differ.
        let lifetime = Duration::from_secs(descriptor.expires.saturating_sub(descriptor.issued));
        let until = Instant::now() + lifetime.min(LONGEST_USE);
        let entry = self.entry(server);
        entry.urls = Some(descriptor.urls.iter().filter_map(|url| url.parse().ok()).collect());
        entry.descriptor = Some((Arc::clone(descriptor), until));
        entry.used = Some(by.clone());
    }

    /// Takes URLs that a descriptor listed in an earlier run, unless newer ones are known.
    pub(crate) fn remembers(&mut self, server: &[u8; 32], urls: Vec<Endpoint>) {
        self.entry(server).urls.get_or_insert(urls);
    }

    /// The server answered by this URL.
    pub(crate) fn used(&mut self, server: &[u8; 32], url: &Endpoint) {
        self.entry(server).used = Some(url.clone());
    }

    /// The descriptor, while it may be used.
    pub(crate) fn descriptor(&self, server: &[u8; 32]) -> Option<Arc<Descriptor>> {
        let (descriptor, until) = self.0.get(server)?.descriptor.as_ref()?;
        (Instant::now() < *until).then(|| Arc::clone(descriptor))
    }

    /// The URLs that the server lists, as far as they parse.
    pub(crate) fn urls(&self, server: &[u8; 32]) -> Vec<Endpoint> {
        self.0.get(server).and_then(|server| server.urls.clone()).unwrap_or_default()
    }

    /// The URLs that the server lists, and the one by which it answered last; `None` before it answered.
    pub(crate) fn last(&self, server: &[u8; 32]) -> Option<(Vec<Endpoint>, Endpoint)> {
        let server = self.0.get(server)?;
        Some((server.urls.clone().unwrap_or_default(), server.used.clone()?))
    }

    /// Asks for every descriptor anew. URLs stay: they may be the only ones that work.
    pub(crate) fn forget(&mut self) {
        self.0.values_mut().for_each(|server| server.descriptor = None);
    }

    fn entry(&mut self, server: &[u8; 32]) -> &mut Server {
        if self.0.len() >= MAX_KNOWN && !self.0.contains_key(server) {
            // Contacts name servers at will; those in use are asked again.
            self.0.clear();
        }
        self.0.entry(*server).or_default()
    }
}

/// The answer to a request that may have reached the server before, by a link that broke. A server that has seen
/// this very counter then has done what these requests ask for. Of a pull that must stay open: it tells whether
/// the store is an older copy.
pub(crate) fn counter_of_own(kind: &RequestKind, answer: Answer) -> Answer {
    let own = match kind {
        RequestKind::Register(body) => body.counter,
        RequestKind::BlobPut(body) => body.counter,
        _ => return answer,
    };
    match answer {
        Answer::Refused(r) if r.code == RefusalCode::StaleCounter && r.seen == own => Answer::Done,
        answer => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meow_core::crypto::{SigningKey, SystemRandom};
    use meow_core::request::Limits;
    use meow_core::wire::{List, Text};

    fn descriptor(urls: &[&str], lifetime: u64) -> Arc<Descriptor> {
        let limits =
            Limits { item: 1, mailbox_items: 1, mailbox_bytes: 1, keep_secs: 1, wait_secs: 1, blob: 1 };
        Arc::new(Descriptor {
            skp: SigningKey::generate(&mut SystemRandom).unwrap().public(),
            issued: 1_000,
            expires: 1_000 + lifetime,
            urls: List::new(urls.iter().map(|u| Text::new(*u).unwrap()).collect()).unwrap(),
            keys: List::new(vec![]).unwrap(),
            limits,
        })
    }

    fn texts(urls: Vec<Endpoint>) -> Vec<String> {
        urls.iter().map(Endpoint::to_string).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_descriptor_replaces_what_is_tried() {
        let (mut told, server, by) = (Told::default(), [1; 32], "http://a/".parse().unwrap());
        told.remembers(&server, vec!["http://old/".parse().unwrap()]);
        assert_eq!(texts(told.urls(&server)), ["http://old/"]);
        assert!(told.last(&server).is_none(), "it has not answered yet");
        told.describes(&server, &descriptor(&["http://a", "no url", "udp://b:1"], 100), &by);
        assert_eq!(texts(told.urls(&server)), ["http://a/", "udp://b:1/"]);
        told.remembers(&server, vec!["http://old/".parse().unwrap()]);
        assert_eq!(texts(told.urls(&server)), ["http://a/", "udp://b:1/"], "what is newer stays");
        told.describes(&server, &descriptor(&["udp://c:1"], 100), &by);
        assert_eq!(texts(told.urls(&server)), ["udp://c:1/"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_descriptor_is_asked_for_again_in_time() {
        let (mut told, server, by) = (Told::default(), [1; 32], "http://a/".parse().unwrap());
        for (lifetime, used) in [(100, 100), (1_000_000, LONGEST_USE.as_secs())] {
            told.describes(&server, &descriptor(&[], lifetime), &by);
            tokio::time::advance(Duration::from_secs(used - 1)).await;
            assert!(told.descriptor(&server).is_some());
            tokio::time::advance(Duration::from_secs(1)).await;
            assert!(told.descriptor(&server).is_none());
        }
        told.describes(&server, &descriptor(&["http://a"], 100), &by);
        told.forget();
        assert!(told.descriptor(&server).is_none());
        assert_eq!(texts(told.urls(&server)), ["http://a/"], "the way there is not forgotten");
    }
}
