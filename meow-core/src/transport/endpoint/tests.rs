use super::*;
use proptest::prelude::*;

fn parse(text: &str) -> Endpoint {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn refuse(text: &str) -> EndpointError {
    match text.parse::<Endpoint>() {
        Ok(endpoint) => panic!("{text} became {endpoint}"),
        Err(e) => e,
    }
}

#[test]
fn the_urls_of_the_design_parse() {
    let http = parse("http://host");
    assert_eq!((http.scheme(), http.port(), http.path()), ("http", Some(80), "/"));
    let https = parse("https://user:pass@host:8443/path");
    assert_eq!((https.port(), https.path()), (Some(8443), "/path"));
    let credentials = https.credentials().unwrap();
    assert_eq!((credentials.user(), credentials.password()), ("user", Some("pass")));
    let mqtt = parse("mqtt://broker:1883/prefix");
    assert_eq!((mqtt.to_string(), mqtt.port()), ("mqtt://broker/prefix".to_owned(), Some(1883)));
    assert_eq!(parse("udp://host:41325").port(), Some(41325));
    assert_eq!(parse("udp://host").port(), None);
    assert_eq!(parse("mqtts://broker").port(), Some(8883));
    let v6 = parse("https://[2001:DB8::0:1]:8443");
    assert_eq!(v6.host(), Some(&Host::Ip("2001:db8::1".parse().unwrap())));
    assert_eq!(v6.authority(), "[2001:db8::1]:8443");
}

#[test]
fn both_spellings_of_a_device_are_one() {
    let short = parse("serial://dev/ttyS0?baud=57600");
    assert_eq!(short.device_path().unwrap(), "/dev/ttyS0");
    assert_eq!(short, parse("serial:///dev/ttyS0?baud=57600"));
    assert_eq!(parse("serial:///dev/ttyUSB0").device_path().unwrap(), "/dev/ttyUSB0");
    assert_eq!(parse("file:///media/Stick%20A").device_path().unwrap(), "/media/Stick A");
    assert_eq!(parse("serial://COM3").device_path().unwrap(), "/COM3");
    assert_eq!(parse("http://host/x").device_path(), None);
}

#[test]
fn equal_endpoints_have_one_form() {
    for (one, other) in [
        ("HTTP://ExAmPle.ORG:80", "http://example.org/"),
        ("udp://EXAMPLE.org:1", "udp://example.org:1/"),
        ("http://h/%7euser/%c3%a9", "http://h/~user/é"),
        ("http://h/?b=1&a=2", "http://h?a=2&b=1"),
        ("http://bücher.example", "http://xn--bcher-kva.example"),
        ("http://u%3a:p%40@h", "http://%75%3A:%70%40@h"),
    ] {
        assert_eq!(parse(one), parse(other), "{one} {other}");
        assert_eq!(parse(one).expose(), parse(other).expose());
    }
    assert_ne!(parse("http://h/a%2Fb"), parse("http://h/a/b"));
    assert_ne!(parse("http://a@h"), parse("http://b@h"));
}

#[test]
fn the_examples_of_the_spec_hold() {
    for (written, normal) in [
        ("HTTP://ExAmPle.ORG:80", "http://example.org/"),
        ("http://h/%7euser/%c3%a9", "http://h/~user/%C3%A9"),
        ("udp://2130706433:41325", "udp://127.0.0.1:41325/"),
        ("https://[2001:DB8::0:1]:443/x?b=2&a=%20", "https://[2001:db8::1]/x?a=%20&b=2"),
        ("serial://dev/ttyS0?baud=57600", "serial:///dev/ttyS0?baud=57600"),
    ] {
        assert_eq!(*parse(written).expose(), normal);
    }
}

#[test]
fn a44_odd_spellings_of_addresses_are_recognised_for_every_scheme() {
    let loopback: IpAddr = "127.0.0.1".parse().unwrap();
    for scheme in ["http", "udp", "mqtt", "x-other"] {
        for host in [
            "127.0.0.1",
            "2130706433",
            "0x7f000001",
            "0x7F.0.0.1",
            "0177.0.0.1",
            "017700000001",
            "127.1",
            "127.0.1",
            "%31%32%37.0.0.1",
            "127。0。0。1",
            "[::ffff:127.0.0.1]",
            "[::FFFF:7f00:1]",
        ] {
            let endpoint = parse(&format!("{scheme}://{host}:9"));
            assert_eq!(endpoint.host(), Some(&Host::Ip(loopback)), "{scheme}://{host}");
            assert_eq!(endpoint.to_string(), format!("{scheme}://127.0.0.1:9/"));
        }
    }
}

#[test]
fn bad_urls_are_refused() {
    use EndpointError as E;
    assert_eq!(refuse(""), E::Syntax);
    assert_eq!(refuse("host:80"), E::Syntax);
    assert_eq!(refuse("http:/host"), E::Syntax);
    assert_eq!(refuse("1http://host"), E::Syntax);
    assert_eq!(refuse(" http://host"), E::Syntax);
    assert_eq!(refuse("http://host/#part"), E::Fragment);
    for text in ["http://", "http:///path", "udp://:1", "http://u@", "x://", "http://h:1:2@x"] {
        let e = refuse(text);
        assert!(matches!(e, E::Host(_) | E::Credentials(_)), "{text}: {e:?}");
    }
    for text in [
        "http://a b",
        "http://a\tb",
        "http://a\\b",
        "http://999.1.1.1",
        "http://1.2.3.4.5",
        "http://[::1",
        "http://[::1]x",
        "http://[fe80::1%25eth0]",
        "http://[127.0.0.1]",
        "http://::1",
        "http://a%00b",
        "http://a%2fb",
        "http://xn--a",
    ] {
        let e = refuse(text);
        assert!(matches!(e, E::Host(_) | E::Port(_) | E::Character("host")), "{text}: {e:?}");
    }
    for text in
        ["http://h:", "http://h:x", "http://h:+1", "http://h:65536", "http://h:000001", "serial://dev:1/x"]
    {
        assert!(matches!(refuse(text), E::Port(_)), "{text}");
    }
    for text in ["http://@h", "http://:@h", "http://a@b@h", "http://a:b:c@h", "serial://u@dev/ttyS0"] {
        assert!(matches!(refuse(text), E::Credentials(_)), "{text}");
    }
    for text in
        ["http://h/a/../b", "http://h/%2e%2E/b", "http://h/.", "serial://dev/../etc", "file://", "serial:///"]
    {
        assert!(matches!(refuse(text), E::Path(_)), "{text}");
    }
    for text in ["http://h/%", "http://h/%4", "http://h/%zz", "http://h/%00", "http://h/%0a", "http://h/%ff"]
    {
        assert_eq!(refuse(text), E::Encoding("path"), "{text}");
    }
    for text in ["http://h/a b", "http://h/\u{7f}", "http://h/<x>", "http://h/\\x"] {
        let e = refuse(text);
        assert!(matches!(e, E::Character("path") | E::Encoding("path")), "{text}: {e:?}");
    }
    for text in
        ["http://h?", "http://h?a", "http://h?=1", "http://h?A=1", "http://h?a=1&", "http://h?a=1&&b=1"]
    {
        assert_eq!(refuse(text), E::Options, "{text}");
    }
    assert_eq!(refuse("http://h?a=1&a=1"), E::DuplicateOption("a".to_owned()));
    assert_eq!(refuse(&format!("http://h/{}", "a".repeat(MAX_URL))), E::TooLong);
    assert_eq!(refuse(&format!("http://h/{}", "é".repeat(MAX_URL / 4))), E::TooLong);
}

#[test]
fn options_are_typed_and_none_is_left_over() {
    let endpoint = parse("serial://dev/ttyS0?baud=57600&parity=even");
    let mut options = endpoint.options();
    assert_eq!(options.take::<u32>("baud").unwrap(), Some(57_600));
    assert_eq!(options.take::<u32>("bits").unwrap(), None);
    let text = options.finish().unwrap_err().to_string();
    assert_eq!(text, "unknown option \"parity\" for serial; known: baud, bits");
    let mut options = endpoint.options();
    assert!(
        matches!(options.take::<u32>("parity"), Err(EndpointError::OptionValue { name, .. }) if name == "parity")
    );
    let endpoint = parse("x://h?a=one%20two%26+é");
    let mut options = endpoint.options();
    assert_eq!(options.take::<String>("a").unwrap().unwrap(), "one two&+é");
    options.finish().unwrap();
    assert!(parse("http://h?a=1").options().finish().unwrap_err().to_string().ends_with("known: none"));
}

#[test]
fn nothing_shows_the_password() {
    let endpoint = parse("https://joe:s3cr%65t@host:8443/p");
    for shown in [format!("{endpoint}"), format!("{endpoint:?}"), format!("{:?}", endpoint.credentials())] {
        assert!(!shown.contains("s3cr") && !shown.contains("joe"), "{shown}");
    }
    assert_eq!(endpoint.to_string(), "https://host:8443/p");
    assert_eq!(*endpoint.expose(), "https://joe:s3cret@host:8443/p");
    assert_eq!(*endpoint.clone().without_credentials().expose(), "https://host:8443/p");
    assert_eq!(*endpoint.with_port(443).expose(), "https://joe:s3cret@host/p");
    for bad in
        ["http://joe:s3cret@ho st", "http://joe:s3cret@h:x", "http://joe:s3cret@h/%", "http://joe:s3cret@h#"]
    {
        let e = refuse(bad);
        assert!(!format!("{e} {e:?}").contains("s3cret"));
    }
}

#[test]
fn serde_keeps_the_whole_url_and_refuses_bad_ones() {
    let endpoint = parse("https://joe:s3cret@host?x=1");
    let json = serde_json::to_string(&endpoint).unwrap();
    assert_eq!(json, "\"https://joe:s3cret@host/?x=1\"");
    assert_eq!(serde_json::from_str::<Endpoint>(&json).unwrap(), endpoint);
    assert!(serde_json::from_str::<Endpoint>("\"http://\"").is_err());
}

fn urls() -> impl Strategy<Value = String> {
    let scheme =
        prop_oneof![Just("http"), Just("https"), Just("udp"), Just("serial"), Just("x-new"), Just("MQTT")];
    let user = prop_oneof![Just(String::new()), "[a-z%:@é]{0,8}@".prop_map(|s| s)];
    let host = prop_oneof!["[a-zA-Z0-9.-]{0,20}", "\\[[0-9a-f:.]{0,20}\\]", "[0-9x.]{1,12}"];
    let port = prop_oneof![Just(String::new()), ":[0-9]{0,6}"];
    let path = "(/[a-zA-Z0-9%~é ._-]{0,6}){0,4}";
    let query = prop_oneof![Just(String::new()), "\\?[a-c]=[a-z0-9%+é]{0,5}(&[a-c]=[a-z]{0,3})?"];
    (scheme, user, host, port, path, query).prop_map(|(s, u, h, o, p, q)| format!("{s}://{u}{h}{o}{p}{q}"))
}

proptest! {
    #[test]
    fn the_normal_form_is_a_fixed_point(text in urls()) {
        if let Ok(endpoint) = text.parse::<Endpoint>() {
            let again: Endpoint = endpoint.expose().parse().map_err(|e| {
                TestCaseError::fail(format!("{text} became {}: {e}", *endpoint.expose()))
            })?;
            prop_assert_eq!(&again, &endpoint);
            prop_assert_eq!(again.expose(), endpoint.expose());
            prop_assert!(endpoint.expose().is_ascii());
            let shown: Endpoint = endpoint.to_string().parse().unwrap();
            prop_assert_eq!(shown, endpoint.without_credentials());
        }
    }

    #[test]
    fn credentials_survive_and_never_show(user in "\\PC{1,12}", password in "\\PC{0,12}") {
        let mut url = String::from("http://");
        percent::encode(&user, &mut url);
        url.push(':');
        percent::encode(&password, &mut url);
        url.push_str("@host");
        let endpoint: Endpoint = url.parse().unwrap();
        let credentials = endpoint.credentials().unwrap();
        prop_assert_eq!((credentials.user(), credentials.password()), (&*user, Some(&*password)));
        prop_assert_eq!(endpoint.to_string(), "http://host/");
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,60}", tail in any::<String>()) {
        let _ = text.parse::<Endpoint>();
        let _ = format!("http://{tail}").parse::<Endpoint>();
        let _ = format!("x://h/{tail}").parse::<Endpoint>();
    }
}

#[test]
fn the_server_meant_is_no_part_of_the_url() {
    let bare = parse("mqtt://broker/a%20b");
    let meant = bare.clone().with_server([7; 32]);
    assert_eq!((bare.server(), meant.server()), (None, Some(&[7; 32])));
    assert_eq!(bare.expose(), meant.expose());
    assert_ne!(bare, meant);
    assert_eq!(serde_json::to_string(&meant).unwrap(), "\"mqtt://broker/a%20b\"");
    assert_eq!((bare.path(), &*bare.path_text()), ("/a%20b", "/a b"));
}
