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
    /// When its newest descriptor was issued, by its own clock.
    issued: u64,
}

impl Server {
    /// It answered by this URL. The log tells when the way is another one than before, and nothing of whose server it is.
    fn is_used_by(&mut self, url: &Endpoint) {
        if self.used.as_ref() != Some(url) {
            tracing::info!(scheme = url.scheme(), "a server is reached");
            self.used = Some(url.clone());
        }
    }
}

impl Told {
    /// Takes a verified descriptor that came by this URL; its URLs take the place of those before. False, and nothing
    /// is taken, when it is older than one that was seen: somebody on the way may hold its key by now.
    #[must_use]
    pub(crate) fn describes(
        &mut self,
        server: &[u8; 32],
        descriptor: &Arc<Descriptor>,
        by: &Endpoint,
    ) -> bool {
        let entry = self.entry(server);
        if descriptor.issued < entry.issued {
            return false;
        }
        entry.issued = descriptor.issued;
        // By the server's own clock, since ours may differ.
        let lifetime = Duration::from_secs(descriptor.expires.saturating_sub(descriptor.issued));
        let until = Instant::now() + lifetime.min(LONGEST_USE);
        entry.urls = Some(descriptor.urls.iter().filter_map(|url| url.parse().ok()).collect());
        entry.descriptor = Some((Arc::clone(descriptor), until));
        entry.is_used_by(by);
        true
    }

    /// The next descriptor may be older than those before: the user wants it so.
    pub(crate) fn takes_older(&mut self, server: &[u8; 32]) {
        self.entry(server).issued = 0;
    }

    /// Takes URLs that a descriptor listed in an earlier run, and when it was issued, unless newer ones are known.
    pub(crate) fn remembers(&mut self, server: &[u8; 32], urls: Vec<Endpoint>, issued: u64) {
        let entry = self.entry(server);
        entry.urls.get_or_insert(urls);
        entry.issued = entry.issued.max(issued);
    }

    /// The server answered by this URL.
    pub(crate) fn used(&mut self, server: &[u8; 32], url: &Endpoint) {
        self.entry(server).is_used_by(url);
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

    /// The URLs that the server lists, the one by which it answered last, and when its newest descriptor was issued;
    /// `None` before it answered.
    pub(crate) fn last(&self, server: &[u8; 32]) -> Option<(Vec<Endpoint>, Endpoint, u64)> {
        let server = self.0.get(server)?;
        Some((server.urls.clone().unwrap_or_default(), server.used.clone()?, server.issued))
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
            hop: None,
        })
    }

    fn texts(urls: Vec<Endpoint>) -> Vec<String> {
        urls.iter().map(Endpoint::to_string).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_descriptor_replaces_what_is_tried() {
        let (mut told, server, by) = (Told::default(), [1; 32], "http://a/".parse().unwrap());
        told.remembers(&server, vec!["http://old/".parse().unwrap()], 0);
        assert_eq!(texts(told.urls(&server)), ["http://old/"]);
        assert!(told.last(&server).is_none(), "it has not answered yet");
        assert!(told.describes(&server, &descriptor(&["http://a", "no url", "udp://b:1"], 100), &by));
        assert_eq!(texts(told.urls(&server)), ["http://a/", "udp://b:1/"]);
        told.remembers(&server, vec!["http://old/".parse().unwrap()], 0);
        assert_eq!(texts(told.urls(&server)), ["http://a/", "udp://b:1/"], "what is newer stays");
        assert!(told.describes(&server, &descriptor(&["udp://c:1"], 100), &by));
        assert_eq!(texts(told.urls(&server)), ["udp://c:1/"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_descriptor_is_asked_for_again_in_time() {
        let (mut told, server, by) = (Told::default(), [1; 32], "http://a/".parse().unwrap());
        for (lifetime, used) in [(100, 100), (1_000_000, LONGEST_USE.as_secs())] {
            assert!(told.describes(&server, &descriptor(&[], lifetime), &by));
            tokio::time::advance(Duration::from_secs(used - 1)).await;
            assert!(told.descriptor(&server).is_some());
            tokio::time::advance(Duration::from_secs(1)).await;
            assert!(told.descriptor(&server).is_none());
        }
        assert!(told.describes(&server, &descriptor(&["http://a"], 100), &by));
        told.forget();
        assert!(told.descriptor(&server).is_none());
        assert_eq!(texts(told.urls(&server)), ["http://a/"], "the way there is not forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn an_older_descriptor_is_not_taken_again() {
        let (mut told, server, by) = (Told::default(), [1; 32], "http://a/".parse().unwrap());
        let at = |issued| {
            let mut made = Descriptor::clone(&descriptor(&["http://a"], 100));
            (made.issued, made.expires) = (issued, issued + 100);
            Arc::new(made)
        };
        assert!(told.describes(&server, &at(50), &by) && told.describes(&server, &at(50), &by));
        assert!(!told.describes(&server, &at(49), &by));
        assert_eq!(told.descriptor(&server).unwrap().issued, 50);
        told.forget();
        assert!(!told.describes(&server, &at(49), &by), "not after a change of networks either");
        assert!(told.describes(&[2; 32], &at(1), &by), "each server has a clock of its own");
        told.remembers(&server, Vec::new(), 70);
        told.remembers(&server, Vec::new(), 60);
        assert!(!told.describes(&server, &at(69), &by) && told.describes(&server, &at(71), &by));
        assert_eq!(told.last(&server).unwrap().2, 71);
        told.takes_older(&server);
        assert!(told.describes(&server, &at(3), &by), "the user adds the server again");
    }
}
