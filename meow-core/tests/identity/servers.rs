//! Server references, the text that people paste.

use meow_core::ErrorKind;
use meow_core::lane::{ServerRef, ServerReference, ServerReferenceError};
use meow_core::wire::Text;
use proptest::prelude::*;

const SKP: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";

fn parse(text: &str) -> Result<ServerReference, ServerReferenceError> {
    text.parse()
}

#[test]
fn reads_and_writes_the_same_text() {
    for text in [
        format!("https://relay.example/#skp={SKP}"),
        format!("http://[::1]:8080/meow#skp={SKP}&invite=let-me_in9"),
    ] {
        let reference = parse(&text).unwrap();
        assert_eq!(reference.fingerprint, [1; 32]);
        assert_eq!(reference.to_string(), text);
        assert_eq!(parse(&format!("  {text}\n")).unwrap(), reference);
    }
    let swapped = parse(&format!("http://a.example/#invite=x&skp={SKP}")).unwrap();
    assert_eq!(swapped.invite.as_deref(), Some("x"));
}

#[test]
fn says_what_is_wrong() {
    use ServerReferenceError as E;
    let long = "x".repeat(65);
    type Expected = fn(&E) -> bool;
    let cases: &[(String, Expected)] = &[
        ("https://relay.example".into(), |e| matches!(e, E::NoFingerprint)),
        ("https://relay.example#invite=x".into(), |e| matches!(e, E::NoFingerprint)),
        (format!("relay.example#skp={SKP}"), |e| matches!(e, E::Url(_))),
        (format!("http://a.example#skp={SKP}="), |e| matches!(e, E::BadFingerprint)),
        (format!("http://a.example#skp={}", &SKP[1..]), |e| matches!(e, E::BadFingerprint)),
        (format!("http://a.example#skp={SKP}AA"), |e| matches!(e, E::BadFingerprint)),
        // The last character has two bits that must be zero.
        (format!("http://a.example#skp={}F", &SKP[..42]), |e| matches!(e, E::BadFingerprint)),
        (format!("http://a.example#skp={SKP}&skp={SKP}"), |e| matches!(e, E::BadPart)),
        (format!("http://a.example#skp={SKP}&color=red"), |e| matches!(e, E::BadPart)),
        (format!("http://a.example#skp={SKP}&invite="), |e| matches!(e, E::BadPart)),
        (format!("http://a.example#skp={SKP}&invite=a%20b"), |e| matches!(e, E::BadPart)),
        (format!("http://a.example#skp={SKP}&invite={long}"), |e| matches!(e, E::BadPart)),
        (format!("http://a.example#skp={SKP}#"), |e| matches!(e, E::BadFingerprint)),
    ];
    for (text, expected) in cases {
        let error = parse(text).unwrap_err();
        assert!(expected(&error), "{text}: {error:?}");
        assert_eq!(meow_core::Error::from(error).kind(), ErrorKind::Usage);
    }
}

#[test]
fn credentials_stay_here() {
    let reference = parse(&format!("https://ann:secret@relay.example/#skp={SKP}&invite=code")).unwrap();
    assert!(reference.url.credentials().is_some());
    assert_eq!(reference.to_string(), format!("https://relay.example/#skp={SKP}&invite=code"));
    for text in [format!("{reference:?}"), format!("{:?}", reference.url)] {
        assert!(!text.contains("secret") && !text.contains("ann") && !text.contains("code"), "{text}");
    }
    assert!(matches!(reference.to_server_ref(), Err(ServerReferenceError::Credentials)));
}

#[test]
fn server_refs_have_limits() {
    let url = |n: usize| format!("http://a.example/{}", "x".repeat(n)).parse().unwrap();
    assert!(ServerRef::new([0; 32], &[url(239)]).is_ok());
    assert!(matches!(ServerRef::new([0; 32], &[url(240)]), Err(ServerReferenceError::TooLong)));
    let five: Vec<_> = (0..5).map(url).collect();
    assert!(matches!(ServerRef::new([0; 32], &five), Err(ServerReferenceError::TooLong)));
    let server = ServerRef::new([0; 32], &five[..4]).unwrap();
    assert_eq!(server.endpoints().count(), 4);
    assert_eq!(server.urls().next(), Some("http://a.example/"));
}

proptest! {
    #[test]
    fn any_reference_round_trips(
        fingerprint: [u8; 32],
        host in "[a-z]{1,10}\\.example",
        port in 1u16..,
        invite in proptest::option::of("[A-Za-z0-9_-]{1,64}"),
    ) {
        let url = format!("http://{host}:{port}/").parse().unwrap();
        let invite = invite.map(|code| Text::new(code).unwrap());
        let reference = ServerReference { url, fingerprint, invite };
        prop_assert_eq!(parse(&reference.to_string()).unwrap(), reference);
    }

    #[test]
    fn any_text_is_read_without_panic(text in ".{0,200}") {
        let _ = parse(&text);
        let _ = parse(&format!("http://a.example#skp={text}"));
    }
}
