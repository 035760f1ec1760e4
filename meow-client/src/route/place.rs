//! Who may belong together: servers of one operator, or on one network.

use std::collections::BTreeSet;

use meow_core::transport::{Endpoint, Host, Subnet};

/// What two servers must not have in common to count as apart, by what they say of themselves: the operator that the user
/// names, the subnet of an address, the domain of a name. Names are not looked up: asking for them would tell a name
/// server where packets go. All that say nothing of where they are count as one: to be silent must not pay.
pub(super) fn said(urls: impl IntoIterator<Item = Endpoint>, operator: Option<&str>) -> BTreeSet<String> {
    let all = urls.into_iter().filter_map(|url| url.host().map(group)).collect();
    with_operator(all, "says nothing", operator)
}

/// The same by what others have found, so that nobody stands apart by a word of its own. All that were not found count as
/// one: to hide must not pay either.
pub(super) fn found(subnets: &BTreeSet<Subnet>, operator: Option<&str>) -> BTreeSet<String> {
    with_operator(subnets.iter().map(network).collect(), "not found", operator)
}

fn with_operator(mut all: BTreeSet<String>, nowhere: &str, operator: Option<&str>) -> BTreeSet<String> {
    if all.is_empty() {
        all.insert(nowhere.to_owned());
    }
    all.extend(operator.map(|name| format!("operator {}", name.to_lowercase())));
    all
}

fn group(host: &Host) -> String {
    match host {
        Host::Ip(ip) => network(&Subnet::of(*ip)),
        Host::Name(name) => format!("domain {}", site(&name.to_ascii_lowercase())),
    }
}

fn network(subnet: &Subnet) -> String {
    format!("network {subnet}")
}

/// Second labels under which countries register names of others.
const REGISTRIES: [&str; 16] = [
    "ac", "co", "com", "edu", "go", "gob", "gov", "gv", "ltd", "mil", "ne", "net", "nom", "or", "org", "plc",
];

/// The part of a name that somebody registered: its last two labels, or three under a country's `co`, `com`, `org` and
/// the like. Of a name with fewer labels, all of it.
fn site(name: &str) -> &str {
    let name = name.trim_end_matches('.');
    let mut dots = name.rmatch_indices('.').map(|(at, _)| at);
    let (Some(top), Some(second)) = (dots.next(), dots.next()) else { return name };
    let under_country = name.len() - top - 1 == 2
        && name.get(second + 1..top).is_some_and(|label| REGISTRIES.contains(&label));
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
            ("one.of.many.xyz.de", "xyz.de"),
            ("another.xyz.de.", "xyz.de"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(site(name), want, "{name}");
        }
        let of = |urls: &[&str], operator| {
            let urls = urls.iter().map(|url| url.parse().unwrap());
            said(urls, operator).into_iter().collect::<Vec<_>>()
        };
        let many =
            ["http://192.0.2.7", "udp://192.0.9.9:1", "https://[2001:db8:1::1]", "https://a.example.org"];
        assert_eq!(
            of(&many, Some("Ann")),
            ["domain example.org", "network 192.0.0.0/16", "network 2001:db8::/32", "operator ann"]
        );
        assert_eq!(of(&["udp://[::ffff:192.0.2.7]:1"], None), ["network 192.0.0.0/16"]);
        assert_eq!(of(&["serial://dev/ttyS0"], None), of(&[], None));
        assert_eq!(of(&[], Some("Ann")), ["operator ann", "says nothing"]);
        // What was found is called as what is said, and not to be found is something else than to say nothing.
        let at = |all: &[&str]| all.iter().map(|at| Subnet::of(at.parse().unwrap())).collect::<BTreeSet<_>>();
        assert!(
            found(&at(&["192.0.7.7", "2001:db8::9"]), None)
                .is_subset(&said(many.map(|url| url.parse().unwrap()), None))
        );
        assert!(found(&at(&[]), None).is_disjoint(&said([], None)));
        assert_eq!(found(&at(&[]), Some("Ann")), ["not found".to_owned(), "operator ann".to_owned()].into());
    }
}
