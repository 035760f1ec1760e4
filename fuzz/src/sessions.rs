//! Packets of a session, at the end that holds its keys.

use meow_core::crypto::{DhPublic, XWingPublic};
use meow_core::request::{ClientShare, ServerShare};
use meow_core::session::{
    Direction, SessionBinding, SessionKeys, SessionKind, SessionRequest, SessionRole, ShareSecret,
    grant_session, session_tag,
};
use meow_core::wire::{Blob, Fixed};

use crate::{Seed, Target, encoded, seed, strict, with_damage, world};

/// The targets of this file.
pub const TARGETS: &[Target] = &[
    Target { name: "session_packet", run: packet, seeds },
    Target { name: "session_share", run: share, seeds: share_seeds },
    Target { name: "session_request", run: request, seeds: request_seeds },
];

const COUNTER: u64 = 7;

/// Opens a packet as sealed and as an item; what opens must be what sealing makes.
pub fn packet(data: &[u8]) -> bool {
    let keys = SessionKeys::new(&world::secret(90));
    let sealed = keys.open(Direction::Up, COUNTER, data);
    let item = keys.open_item(Direction::Up, COUNTER, data);
    if let Ok(content) = &sealed {
        let again = keys.seal(Direction::Up, COUNTER, content.clone(), data.len()).expect("seals again");
        assert_eq!(again, data, "one content, one packet");
    }
    if let Ok((kind, item)) = item {
        let again = keys.seal_item(Direction::Up, COUNTER, kind, item).expect("seals again");
        assert_eq!(again, data, "one item, one packet");
    }
    let opened = sealed.is_ok() || item.is_ok();
    assert!(!opened || session_tag(data) == Some(keys.tag(Direction::Up, COUNTER)));
    opened
}

fn seeds() -> Vec<Seed> {
    let keys = SessionKeys::new(&world::secret(90));
    let sealed = |size| keys.seal(Direction::Up, COUNTER, b"content".to_vec(), size).expect("fits");
    let item = keys.seal_item(Direction::Up, COUNTER, 1, &[9; 45]).expect("fits");
    let down = keys.seal(Direction::Down, COUNTER, Vec::new(), 256).expect("fits");
    let cut = item.get(1..).unwrap_or_default().to_vec();
    vec![
        seed("fat", sealed(256)),
        seed("thin", sealed(124)),
        seed("item", item),
        seed("bad-direction", down),
        seed("bad-length", cut),
        seed("bad-empty", Vec::new()),
    ]
}

fn bound<T>(with: impl FnOnce(&SessionBinding<'_>) -> T) -> T {
    let (export, mailbox) = (world::secret(91), world::signing(92).public());
    let server = world::server_fingerprint();
    with(&SessionBinding { export: &export, server: &server, role: SessionRole::Owner, mailbox: &mailbox })
}

fn secrets() -> [ShareSecret; 2] {
    let random = &mut world::random(93);
    [ShareSecret::fat(random).expect("seeded"), ShareSecret::thin(random).expect("seeded")]
}

/// A share behind its form: that of a client at a server, fat (0) or thin (1), or of a server at a client, fat (2) or thin.
pub fn share(data: &[u8]) -> bool {
    let Some((form, bytes)) = data.split_first() else { return false };
    let thin = || DhPublic::from_bytes(bytes.try_into().ok()?).ok();
    let fat = || XWingPublic::from_bytes(bytes.try_into().ok()?).ok();
    let client = match form {
        0 => fat().map(ClientShare::Fat),
        1 => thin().map(ClientShare::Thin),
        _ => None,
    };
    if let Some(share) = client {
        return bound(|binding| grant_session(&share, binding, &mut world::random(94)).is_ok());
    }
    let server = match form {
        0 | 1 => None,
        2 => bytes.try_into().ok().map(|bytes| ServerShare::Fat(Box::new(Fixed(bytes)))),
        _ => thin().map(ServerShare::Thin),
    };
    server.is_some_and(|share| {
        bound(|binding| secrets().iter().any(|secret| secret.finish(&share, binding).is_ok()))
    })
}

/// Seeds of [`share`].
fn share_seeds() -> Vec<Seed> {
    let mut seeds = vec![seed("bad-empty", []), seed("bad-form-alone", [2])];
    for secret in secrets() {
        let own = secret.share();
        let (theirs, _) =
            bound(|binding| grant_session(&own, binding, &mut world::random(95)).expect("seeded"));
        let (name, own) = match &own {
            ClientShare::Fat(public) => ("fat", [&[0][..], public.as_bytes()].concat()),
            ClientShare::Thin(public) => ("thin", [&[1][..], public.as_bytes()].concat()),
        };
        let theirs = match &theirs {
            ServerShare::Fat(ciphertext) => [&[2][..], &ciphertext.0].concat(),
            ServerShare::Thin(public) => [&[3][..], public.as_bytes()].concat(),
        };
        seeds.push(seed(&format!("bad-client-{name}-cut"), &own[..own.len() - 1]));
        seeds.push(seed(&format!("bad-server-{name}-cut"), &theirs[..theirs.len() - 1]));
        let low = [&own[..own.len() - 32], &[1], &[0; 31]].concat();
        seeds.push(seed(&format!("bad-client-{name}-low-order"), low));
        let low = [&theirs[..theirs.len() - 32], &[1], &[0; 31]].concat();
        seeds.push(seed(&format!("bad-server-{name}-low-order"), low));
        seeds.push(seed(&format!("client-{name}"), own));
        seeds.push(seed(&format!("server-{name}"), theirs));
    }
    seeds
}

/// What is asked inside a session.
pub fn request(data: &[u8]) -> bool {
    let request = strict::<SessionRequest>(data);
    assert_eq!(request, SessionRequest::from_content(data.to_vec()).ok(), "one verdict");
    request.is_some_and(|request| matches!(request.kind.role() as u8, 0 | 1))
}

/// Seeds of [`request`].
fn request_seeds() -> Vec<Seed> {
    let item = Blob::new(vec![3; 96]).expect("short");
    let kinds = [
        ("deposit", SessionKind::Deposit { keep_secs: 0, item }),
        ("look", SessionKind::Look { wait_secs: 50 }),
        ("pull", SessionKind::Pull { counter: 300, acknowledge: 2, wait_secs: 0 }),
        ("acknowledge", SessionKind::Acknowledge { counter: u64::MAX, upto: 1 << 40 }),
        ("blob-get", SessionKind::BlobGet { name: Fixed([5; 16]) }),
    ];
    let mut seeds: Vec<_> =
        kinds.into_iter().map(|(name, kind)| encoded(name, &SessionRequest { answer: 5, kind })).collect();
    seeds.push(seed("bad-kind", [5, 5, 0]));
    seeds.push(seed("bad-item-length", [5, 0, 0, 0xff, 0xff, 0x7f]));
    with_damage::<SessionRequest>(seeds)
}
