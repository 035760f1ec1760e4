//! Thin or whole: in which form the messages to a contact are sealed.

use meow_core::Result;
use meow_core::lane::{Lookup, ServerRef};
use meow_core::policy::{Form, Padding};
use meow_core::store::StoreTxn;
use meow_core::transport::{Endpoint, LinkProfile, Pattern};

use crate::client::Inner;
use crate::event::EventKind;
use crate::records::ContactRecord;

/// Whatever a link carries in one piece beyond this is not thin, in bytes.
const THIN_BELOW: usize = 256;

/// Whether a link carries small frames alone, as a radio does.
pub(crate) fn is_thin(link: &LinkProfile) -> bool {
    link.pattern == Pattern::Bus && link.single < THIN_BELOW
}

/// The one rule. `servers` are the URLs of the contact's servers; `estimate` knows those that this device can reach. Where
/// none can be reached now, nothing speaks for a radio.
fn thin(
    form: Form,
    servers: impl Iterator<Item = Endpoint>,
    estimate: impl Fn(&Endpoint) -> Result<LinkProfile>,
) -> bool {
    match form {
        Form::Thin => true,
        Form::Whole => false,
        Form::ByLink => {
            let mut reachable = servers.filter_map(|url| estimate(&url).ok()).peekable();
            reachable.peek().is_some() && reachable.all(|link| is_thin(&link))
        }
    }
}

impl Inner {
    /// Before something is sealed for a contact: decides in which form, and tells when that has changed.
    pub(crate) fn choose_form(&self, txn: &mut dyn StoreTxn, record: &mut ContactRecord) -> Result<()> {
        let target = record.machine.deposit_target().into_iter();
        let urls = target.flat_map(Lookup::servers).flat_map(ServerRef::endpoints);
        // Where a chain leads there, what the last link is like is not for this device to see.
        let straight = record.policy.shows_to_servers();
        let form = match record.policy.form {
            Form::ByLink if !straight => Form::Whole,
            // A frame of a radio is no size to pad to.
            Form::ByLink if record.policy.least_size() != Padding::P256 => Form::Whole,
            form => form,
        };
        let thin = thin(form, urls, |url| self.servers.estimate(url));
        if thin == record.machine.thin() {
            return Ok(());
        }
        record.machine.set_thin(thin);
        self.emit(txn, &record.name, EventKind::Thin { on: thin })
    }
}

#[cfg(test)]
mod tests {
    use meow_core::{Error, ErrorKind};

    use super::*;

    /// `radio:` is thin, `cable:` is a bus with large frames, `stream:` is small but no bus; nothing else is known.
    fn estimate(url: &Endpoint) -> Result<LinkProfile> {
        let (pattern, max_frame, single) = match url.scheme() {
            "radio" => (Pattern::Bus, 4096, 236),
            "cable" => (Pattern::Bus, 4096, 256),
            "stream" => (Pattern::Session, 236, 236),
            _ => return Err(Error::new(ErrorKind::Usage, "no such scheme")),
        };
        let mut profile = LinkProfile::new(pattern, max_frame);
        profile.single = single;
        Ok(profile)
    }

    #[test]
    fn thin_only_where_every_reachable_url_is() {
        let by_link = |urls: &[&str]| {
            let urls: Vec<Endpoint> = urls.iter().map(|u| u.parse().unwrap()).collect();
            assert!(thin(Form::Thin, urls.clone().into_iter(), estimate));
            assert!(!thin(Form::Whole, urls.clone().into_iter(), estimate));
            thin(Form::ByLink, urls.into_iter(), estimate)
        };
        for (urls, want) in [
            (&["radio://a"] as &[&str], true),
            (&["radio://a", "radio://b"], true),
            (&["radio://a", "http://not-here"], true),
            (&["radio://a", "stream://b"], false),
            (&["cable://a"], false),
            (&["stream://a"], false),
            (&["http://not-here"], false),
            (&[], false),
        ] {
            assert_eq!(by_link(urls), want, "{urls:?}");
        }
    }
}
