//! What people type and paste: URLs, server references and policies.

use meow_core::lane::ServerReference;
use meow_core::policy::{MAX_TEXT, Policy};
use meow_core::transport::Endpoint;

use crate::{Seed, Target, seed};

/// The targets of this module.
pub const TARGETS: &[Target] = &[
    Target { name: "endpoint", run: endpoint, seeds: endpoint_seeds },
    Target { name: "policy", run: policy, seeds: policy_seeds },
    Target { name: "policy_words", run: policy_words, seeds: policy_words_seeds },
    Target { name: "server_reference", run: server_reference, seeds: server_reference_seeds },
];

/// An endpoint's URL.
pub fn endpoint(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let Ok(endpoint) = text.parse::<Endpoint>() else { return false };
    let whole = endpoint.expose();
    assert_eq!(whole.parse::<Endpoint>().expect("the normal form parses"), endpoint);
    assert_eq!(*whole.parse::<Endpoint>().expect("parses").expose(), *whole, "one normal form");
    let shown = endpoint.to_string().parse::<Endpoint>().expect("what is shown parses");
    assert_eq!(shown, endpoint.clone().without_credentials());
    let mut options = endpoint.options();
    let _ = options.take::<u32>("baud");
    let _ = options.finish();
    let _ = (endpoint.port(), endpoint.device_path(), endpoint.authority());
    true
}

/// Seeds of [`endpoint`].
pub fn endpoint_seeds() -> Vec<Seed> {
    let texts = [
        ("host", "http://example.org"),
        ("host-port-path", "https://Example.ORG:8443/a/b%20c"),
        ("default-port", "https://example.org:443"),
        ("credentials", "http://user:pa%3Ass@host:8443/path"),
        ("user-alone", "http://user@host/"),
        ("ipv4", "http://192.0.2.7:8080"),
        ("ipv6", "http://[2001:db8::1]:8080/x"),
        ("ipv6-zoneless", "udp://[::1]:41325"),
        ("mqtt", "mqtt://broker:1883/prefix"),
        ("udp", "udp://host:41325"),
        ("serial-host", "serial://dev/ttyS0?baud=57600"),
        ("serial-path", "serial:///dev/ttyUSB0?baud=9600&parity=even"),
        ("serial-encoded", "serial:///dev/tty%20S0"),
        ("file", "file:///media/stick"),
        ("memory", "memory://name"),
        ("unix", "unix:///run/meow.sock"),
        ("option-empty", "http://host/?a="),
        ("option-encoded", "http://host/?key=a%26b%3D%25"),
        ("bad-dots", "http://host/a/./b/../c"),
        ("idn", "http://b\u{fc}cher.example/"),
        ("bad-scheme", "ht tp://host"),
        ("bad-no-scheme", "example.org"),
        ("bad-scheme-alone", "http:"),
        ("bad-no-host", "http:///path"),
        ("bad-host", "http://ho st/"),
        ("bad-port", "http://host:70000"),
        ("port-zero", "http://host:0"),
        ("bad-percent", "http://host/%zz"),
        ("bad-percent-utf8", "http://%ff:%fe@host/"),
        ("bad-option-twice", "http://host/?a=1&a=2"),
        ("bad-option-bare", "http://host/?a"),
        ("bad-option-name", "http://host/?A%20=1"),
        ("bad-fragment", "http://host/#part"),
        ("bad-ipv6", "http://[::1/"),
        ("bad-ipv6-number", "http://[::zz]/"),
        ("ipv4-short", "http://127.1/"),
        ("ipv4-decimal", "http://2130706433/"),
        ("ipv4-octal", "http://0177.0.0.1/"),
        ("bad-control", "http://host/\u{7}"),
        ("bad-backslash", "http://host\\@other/"),
        ("bad-serial-port", "serial://dev:7/ttyS0"),
        ("bad-serial-credentials", "serial://user@dev/ttyS0"),
        ("bad-serial-nowhere", "serial://"),
        ("bad-two-ats", "http://a@b@host/"),
        ("bad-credentials-empty", "http://:@host/"),
        ("bad-credentials-colons", "http://a:b:c@host/"),
        ("bad-credentials-space", "http://a b@host/"),
        ("bad-after-bracket", "http://[::1]x/"),
        ("bad-port-long", "http://host:123456/"),
        ("bad-option-space", "http://host/?a=b c"),
        ("bad-path-space", "http://host/a b"),
        ("bad-unknown-scheme-nowhere", "x://"),
        ("option-value-wrong", "serial:///dev/ttyS0?baud=fast"),
        ("bad-empty", ""),
    ];
    let mut seeds: Vec<_> = texts.map(|(name, text)| seed(name, text)).into();
    seeds.push(seed("bad-too-long", format!("http://host/{}", "a".repeat(2048))));
    seeds.push(seed("bad-too-long-once-encoded", format!("http://host/?a={}", "\u{fc}".repeat(700))));
    seeds.push(seed("bad-host-long", format!("http://{}example/", "a.".repeat(130))));
    seeds
}

/// A policy as TOML.
pub fn policy(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let Ok(policy) = text.parse::<Policy>() else { return false };
    policy.check().expect("what is read holds");
    assert_eq!(policy.to_string().parse::<Policy>().expect("what is shown parses"), policy);
    assert!(!policy.protects_more_than(&policy), "it protects as much as itself");
    true
}

/// Seeds of [`policy`].
pub fn policy_seeds() -> Vec<Seed> {
    let with = |routes: &str| {
        format!(
            "routes = [{routes}]\nauthenticity = \"signed\"\nreceipts = [\"decrypted\"]\nform = \"by-link\"\npresence = false\npadding = 256\ncover = \"none\"\nloops = \"none\"\ncopies = 1\n"
        )
    };
    let plain = with("\"server\"");
    vec![
        seed("server", plain.clone()),
        seed("direct-shown", with("\"direct\", \"server\"").replace("false", "true")),
        seed("chain", with("\"matriochka hops=4 first=pool:work between=known delay_ms=5000\"")),
        seed("comments", format!("# mine\n\n{}", plain.replace('\n', " # so\r\n"))),
        seed("no-receipts", plain.replace("\"decrypted\"", "")),
        seed("thin-deniable", plain.replace("by-link", "thin").replace("signed", "deniable")),
        seed("whole-read", plain.replace("by-link", "whole").replace("decrypted", "read")),
        seed("bad-form", plain.replace("by-link", "thick")),
        seed("bad-authenticity", plain.replace("signed", "sworn")),
        seed("bad-receipt", plain.replace("decrypted", "opened")),
        seed("covered", plain.replace("cover = \"none\"", "cover = \"10m\"")),
        seed("loops", with("\"matriochka\"").replace("loops = \"none\"", "loops = \"6/h\"")),
        seed("bad-loops", plain.replace("loops = \"none\"", "loops = \"6/h\"")),
        seed("bad-pause", plain.replace("cover = \"none\"", "cover = \"1s\"")),
        seed("padded", plain.replace("256", "2048")),
        seed("copies", plain.replace("copies = 1", "copies = 4")),
        seed("bad-copies", plain.replace("copies = 1", "copies = 5")),
        seed("bad-padding", plain.replace("256", "300")),
        seed("bad-thin-padded", plain.replace("256", "512").replace("by-link", "thin")),
        seed("bad-presence", plain.replace("false", "perhaps")),
        seed("bad-none", plain.replace("decrypted", "none")),
        seed("bad-no-equals", format!("{plain}cover")),
        seed("bad-pool", with("\"matriochka first=pool:\"")),
        seed("bad-chain-key", with("\"matriochka last=known\"")),
        seed("bad-word", with("\"server twice\"")),
        seed("bad-route", with("\"tor\"")),
        seed("bad-no-route", with("")),
        seed("bad-chain", with("\"matriochka hops=9\"")),
        seed("bad-delays", with("\"matriochka hops=5 delay_ms=20000\"")),
        seed("bad-comma", with("\"server,direct\"")),
        seed("bad-twice", format!("{plain}{plain}")),
        seed("bad-unknown", format!("{plain}tor = 1")),
        seed("bad-missing", plain.replace("presence = false", "")),
        seed("bad-escape", with("\"serv\\u0065r\"")),
        seed("bad-long", format!("{plain}#{}", "a".repeat(MAX_TEXT))),
    ]
}

/// Words as `meow policy` takes them, one in each line, said of a policy without chains.
pub fn policy_words(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let mut policy = Policy::default();
    let set = |line: &str| line.split_once('=').is_some_and(|(key, value)| policy.set(key, value).is_ok());
    let taken = text.lines().map(set).fold(true, |all, one| all & one);
    if policy.check().is_ok() {
        assert_eq!(policy.to_string().parse::<Policy>().expect("what is shown parses"), policy);
    }
    taken
}

/// Seeds of [`policy_words`].
pub fn policy_words_seeds() -> Vec<Seed> {
    vec![
        seed("chains", "routes=matriochka,server\nhops=4\nfirst=known\nbetween=pool:work\ndelay_ms=100"),
        seed("chains-kept", "routes=matriochka hops=5\nroutes=direct,matriochka"),
        seed("rest", "authenticity=deniable\nreceipts=decrypted,read\nform=thin\npresence=true"),
        seed("padding", "padding=32768"),
        seed("copies", "copies=3"),
        seed("bad-copies", "copies=many"),
        seed("cover", "cover=90s\nroutes=matriochka\nloops=100/d"),
        seed("bad-cover", "cover=0/h"),
        seed("bad-units", "loops=5w"),
        seed("bad-padding", "padding=100"),
        seed("bad-no-chain", "hops=3"),
        seed("bad-number", "routes=matriochka\nhops=many"),
        seed("bad-delay", "routes=matriochka\ndelay_ms=-1"),
        seed("bad-many", ["server"; 9].join(",").replacen("server", "routes=server", 1)),
        seed("bad-key", "tor=1"),
        seed("bad-bare", "routes"),
    ]
}

/// What an operator hands out.
pub fn server_reference(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let Ok(reference) = text.parse::<ServerReference>() else { return false };
    let shown = reference.to_string().parse::<ServerReference>().expect("what is shown parses");
    let public = ServerReference { url: reference.url.clone().without_credentials(), ..reference.clone() };
    assert_eq!(shown, public);
    assert_eq!(
        reference.to_server_ref().is_ok(),
        public.url == reference.url && public.to_server_ref().is_ok()
    );
    true
}

/// Seeds of [`server_reference`].
pub fn server_reference_seeds() -> Vec<Seed> {
    let skp = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";
    let with = |name: &str, text: String| seed(name, text);
    vec![
        with("reference", format!("https://mail.example.org#skp={skp}")),
        with("invited", format!("http://[::1]:8080/#skp={skp}&invite=aB-_9")),
        with("invite-first", format!(" http://host/#invite=x&skp={skp} ")),
        with("credentials", format!("http://user:pass@host/#skp={skp}")),
        with("bad-no-fingerprint", "http://host/".into()),
        with("bad-no-skp", "http://host/#invite=x".into()),
        with("bad-fingerprint", "http://host/#skp=abc".into()),
        with("bad-fingerprint-long", format!("http://host/#skp={skp}AA")),
        with("bad-part", format!("http://host/#skp={skp}&x=1")),
        with("bad-twice", format!("http://host/#skp={skp}&skp={skp}")),
        with("bad-invite", format!("http://host/#skp={skp}&invite=a%20b")),
        with("bad-invite-empty", format!("http://host/#skp={skp}&invite=")),
        with("bad-invite-long", format!("http://host/#skp={skp}&invite={}", "a".repeat(65))),
        with("bad-url", format!("nothing#skp={skp}")),
        with("url-long-for-a-card", format!("http://host/{}#skp={skp}", "a".repeat(300))),
        with("bad-empty", String::new()),
    ]
}
