//! Which URL of a server to try, and in which order.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use meow_core::transport::{CostClass, Endpoint, LinkProfile};
use meow_core::{Error, ErrorKind, Result};
use meow_transport::Transports;
use tokio::time::Instant;

/// How long a URL that failed once comes after all others; twice as long with each failure in a row.
const REST: Duration = Duration::from_secs(30);
/// The longest that a URL comes after all others.
const LONGEST_REST: Duration = Duration::from_secs(15 * 60);
/// URLs whose failures are remembered.
const MAX_REMEMBERED: usize = 1000;
/// A typical request and its answer, in bits: what the speeds of links are compared by.
const TYPICAL: u64 = 2 * 2048 * 8;

/// One way to a server.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) url: Endpoint,
    pub(crate) cost: CostClass,
    /// How long a typical request takes there, as its transport estimates.
    took: Duration,
    /// The user named it.
    own: bool,
    /// It failed a while ago.
    rests: bool,
}

/// Whether one of these ways is worth trying instead of one of this cost that does not answer: it costs no more, and did not
/// fail lately.
pub(crate) fn another(ways: &VecDeque<Way>, cost: CostClass) -> bool {
    ways.iter().any(|way| !way.rests && way.cost <= cost)
}

/// What went wrong lately, by server and URL: at one broker, or on one line, are several servers, of which one may be away.
#[derive(Debug, Default)]
pub(crate) struct Failures(HashMap<([u8; 32], String), Failure>);

#[derive(Debug)]
struct Failure {
    in_a_row: u32,
    until: Instant,
}

impl Failures {
    pub(crate) fn failed(&mut self, server: &[u8; 32], url: &Endpoint) {
        let now = Instant::now();
        if self.0.len() >= MAX_REMEMBERED {
            self.0.retain(|_, f| f.until > now);
        }
        if self.0.len() >= MAX_REMEMBERED {
            // Contacts name URLs at will; what is really down shows again.
            self.0.clear();
        }
        let failure = self.0.entry((*server, url.to_string())).or_insert(Failure { in_a_row: 0, until: now });
        let rest = REST.saturating_mul(1 << failure.in_a_row.min(16)).min(LONGEST_REST);
        failure.in_a_row += 1;
        failure.until = now + rest;
    }

    pub(crate) fn worked(&mut self, server: &[u8; 32], url: &Endpoint) {
        self.0.remove(&(*server, url.to_string()));
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    fn rests(&self, server: &[u8; 32], url: &Endpoint, now: Instant) -> bool {
        self.0.get(&(*server, url.to_string())).is_some_and(|f| f.until > now)
    }
}

/// The ways to a server in the order in which to try them: what failed a while ago comes last, what is free before what
/// is metered before what is scarce; among those of one cost the URLs that the user named, in the user's order, then
/// the quicker ones, then the order in which the others were named.
///
/// What others named and has no host (`serial:`, `file:`) is a place on this machine, and theirs to name only for
/// themselves: it is left out.
///
/// # Errors
/// That of the first URL that cannot be used, when none can.
pub(crate) fn order(
    transports: &Transports,
    server: &[u8; 32],
    own: impl IntoIterator<Item = Endpoint>,
    named: impl IntoIterator<Item = Endpoint>,
    failures: &Failures,
) -> Result<VecDeque<Way>> {
    let (mut ways, mut wrong, now) = (Vec::<Way>::new(), None, Instant::now());
    let own = own.into_iter().map(|url| (url, true));
    let named = named.into_iter().filter(|url| url.host().is_some()).map(|url| (url, false));
    for (url, own) in own.chain(named) {
        // The user's URL stands for the same one without its password.
        if ways.iter().any(|way| way.url == url || (way.own && way.url.clone().without_credentials() == url))
        {
            continue;
        }
        match transports.estimate(&url) {
            Ok(profile) => {
                let rests = failures.rests(server, &url, now);
                ways.push(Way { cost: profile.cost, took: took(&profile), url, own, rests });
            }
            Err(e) => wrong = wrong.or(Some(e)),
        }
    }
    if ways.is_empty() {
        return Err(wrong.unwrap_or_else(|| {
            Error::new(ErrorKind::Usage, "this server has no usable URL; ask for its current reference")
        }));
    }
    // Stable: what is equal stays in the order in which it was named.
    ways.sort_by_key(|way| {
        let took = if way.own { Duration::ZERO } else { way.took };
        (way.rests, way.cost, !way.own, took)
    });
    Ok(ways.into())
}

fn took(profile: &LinkProfile) -> Duration {
    profile.rtt + Duration::from_micros(TYPICAL * 1_000_000 / profile.bit_rate.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use meow_core::transport::{Link, Listener, Pattern, Transport};

    /// A scheme with these estimates: cost, and milliseconds of a round trip.
    struct Fixed(&'static [&'static str], CostClass, u64);
    impl Transport for Fixed {
        fn schemes(&self) -> &'static [&'static str] {
            self.0
        }
        fn estimate(&self, endpoint: &Endpoint) -> Result<LinkProfile> {
            endpoint.options().finish()?;
            let mut profile = LinkProfile::new(Pattern::Session, 1000);
            (profile.cost, profile.rtt) = (self.1, Duration::from_millis(self.2));
            Ok(profile)
        }
        async fn connect(&self, _: &Endpoint) -> Result<Link> {
            Err(Error::new(ErrorKind::Unreachable, "nobody"))
        }
        async fn listen(&self, _: &Endpoint) -> Result<Listener> {
            Err(Error::new(ErrorKind::Unreachable, "nobody"))
        }
    }

    const SERVER: [u8; 32] = [7; 32];

    fn transports() -> Transports {
        Transports::new()
            .with(Fixed(&["fast"], CostClass::Free, 1))
            .with(Fixed(&["slow", "serial"], CostClass::Free, 500))
            .with(Fixed(&["paid"], CostClass::Metered, 1))
            .with(Fixed(&["radio"], CostClass::Scarce, 1))
    }

    fn url(text: &str) -> Endpoint {
        text.parse().unwrap()
    }

    fn ordered(own: &[&str], named: &[&str], failures: &Failures) -> Vec<String> {
        let urls = |texts: &[&str]| texts.iter().map(|t| url(t)).collect::<Vec<_>>();
        let ways = order(&transports(), &SERVER, urls(own), urls(named), failures).unwrap();
        ways.iter().map(|way| way.url.scheme().to_owned() + way.url.path()).collect()
    }

    #[test]
    fn cheap_before_scarce_then_ones_own_then_quick() {
        let failures = Failures::default();
        let named = ["radio://h/", "slow://h/1", "paid://h/", "fast://h/", "slow://h/2", "nobody://knows"];
        assert_eq!(ordered(&[], &named, &failures), ["fast/", "slow/1", "slow/2", "paid/", "radio/"]);
        // The user's order holds among links of one cost, whatever their speed.
        let own = ["radio://h/o", "slow://h/o", "fast://h/o"];
        let all = ["slow/o", "fast/o", "fast/", "slow/1", "slow/2", "paid/", "radio/o", "radio/"];
        assert_eq!(ordered(&own, &named, &failures), all);
    }

    #[tokio::test(start_paused = true)]
    async fn what_failed_comes_last_for_a_while_that_grows() {
        let mut failures = Failures::default();
        let named = ["fast://h/", "slow://h/", "radio://h/"];
        for rest in [30, 60, 120, 240, 480, 900, 900] {
            failures.failed(&SERVER, &url("fast://h/"));
            tokio::time::advance(Duration::from_secs(rest - 1)).await;
            assert_eq!(ordered(&[], &named, &failures), ["slow/", "radio/", "fast/"], "{rest}");
            tokio::time::advance(Duration::from_secs(1)).await;
            assert_eq!(ordered(&[], &named, &failures), ["fast/", "slow/", "radio/"], "{rest}");
        }
        // Even when all rest there is something to try.
        named.iter().for_each(|text| failures.failed(&SERVER, &url(text)));
        assert_eq!(ordered(&[], &named, &failures), ["fast/", "slow/", "radio/"]);
        // Another server at the same URL is another one.
        failures.failed(&[8; 32], &url("fast://h/"));
        tokio::time::advance(Duration::from_secs(900)).await;
        failures.failed(&[8; 32], &url("fast://h/"));
        assert_eq!(ordered(&[], &named, &failures), ["fast/", "slow/", "radio/"]);
        // What worked begins anew.
        failures.worked(&SERVER, &url("fast://h/"));
        failures.failed(&SERVER, &url("fast://h/"));
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(ordered(&[], &named, &failures)[0], "fast/");
    }

    #[test]
    fn strangers_do_not_name_places_on_this_machine() {
        let failures = Failures::default();
        assert_eq!(ordered(&["serial://dev/a"], &["serial://dev/b"], &failures), ["serial/dev/a"]);
        let e = order(&transports(), &SERVER, [], [url("serial://dev/b")], &failures).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Usage);
    }

    #[test]
    fn each_way_once_and_bad_ones_only_when_there_are_no_others() {
        let failures = Failures::default();
        let own = ["fast://me:secret@h/"];
        assert_eq!(ordered(&own, &["fast://h/", "fast://h/", "fast://h/?no=1"], &failures), ["fast/"]);
        let unknown = order(&transports(), &SERVER, [], [url("nobody://knows")], &failures).unwrap_err();
        assert_eq!(unknown.kind(), ErrorKind::UnknownScheme);
    }

    #[test]
    fn memory_of_failures_is_bounded() {
        let mut failures = Failures::default();
        (0..3 * MAX_REMEMBERED).for_each(|n| failures.failed(&SERVER, &url(&format!("fast://h/{n}"))));
        assert!(failures.0.len() <= MAX_REMEMBERED);
    }
}
