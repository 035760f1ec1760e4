//! Who may belong together: servers of one operator, or on one network.

use std::collections::BTreeSet;
use std::net::IpAddr;

use meow_core::transport::{Endpoint, Host};

/// What two servers must not have in common to count as apart: the operator that the user names, the network of an
/// address (16 bits of IPv4, 32 of IPv6), the domain of a name. Names are not looked up: asking for them would tell
/// a name server where packets go.
pub(super) fn groups(urls: impl IntoIterator<Item = Endpoint>, operator: Option<&str>) -> BTreeSet<String> {
    let named = operator.map(|name| format!("operator {}", name.to_lowercase()));
    urls.into_iter().filter_map(|url| url.host().map(group)).chain(named).collect()
}

fn group(host: &Host) -> String {
    match host {
        Host::Ip(IpAddr::V4(ip)) => {
            let [a, b, ..] = ip.octets();
            format!("network {a}.{b}")
        }
        Host::Ip(IpAddr::V6(ip)) => {
            let [a, b, ..] = ip.segments();
            format!("network {a:x}:{b:x}")
        }
        Host::Name(name) => format!("domain {}", site(name)),
    }
}

/// The part of a name that somebody registered: its last two labels, or three under a country's `co`, `com`, `org` and
/// the like. Of a name with fewer labels, all of it.
fn site(name: &str) -> &str {
    let mut dots = name.trim_end_matches('.').rmatch_indices('.').map(|(at, _)| at);
    let (Some(top), Some(second)) = (dots.next(), dots.next()) else { return name };
    let under_country = name.len() - top - 1 == 2 && top - second - 1 <= 3;
    let cut = if under_country { dots.next() } else { Some(second) };
    cut.and_then(|at| name.get(at + 1..)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_put_together_by_network_domain_and_operator() {
        for (name, want) in [
            ("example.org", "example.org"),
            ("relay.example.org", "example.org"),
            ("a.b.relay.example.org", "example.org"),
            ("relay.example.co.uk", "example.co.uk"),
            ("example.co.uk", "example.co.uk"),
            ("relay.example.de", "example.de"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(site(name), want, "{name}");
        }
        let of = |urls: &[&str], operator| {
            let urls = urls.iter().map(|url| url.parse().unwrap());
            groups(urls, operator).into_iter().collect::<Vec<_>>()
        };
        let many =
            ["http://192.0.2.7", "udp://192.0.9.9:1", "https://[2001:db8:1::1]", "https://a.example.org"];
        assert_eq!(
            of(&many, Some("Ann")),
            ["domain example.org", "network 192.0", "network 2001:db8", "operator ann"]
        );
        assert!(of(&[], None).is_empty());
    }
}
