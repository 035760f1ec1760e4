//! A sealed reach, hello and welcome, and the first packets of a direct link.

use meow_core::crypto::{Secret, SigningKey};
use meow_core::direct::{
    Dialling, DirectBinding, DirectFrame, Hello, Reach, ReachFor, ReachUse, answer_hello,
};
use meow_core::wire::{Blob, List, Text, Wire};
use serde_json::json;

use crate::harness::{Recorder, Section, hex};

#[test]
fn direct() {
    let mut section = Section::new(
        "direct",
        "A reach sealed as presence and as a knock, frames, and two links: a fat one and a thin one. What was `drawn` is \
         listed in order: the ephemeral key, then what fills the packet.",
    );
    let secret = Secret::new([0x44; 32]);
    let [dialler, listener, mailbox] =
        [0x41, 0x42, 0x4c].map(|seed| SigningKey::from_seed(&[seed; 32]).public());
    let urls = ["udp://192.0.2.7:41325/", "udp://[2001:db8::7]:41325/"].map(|url| Text::new(url).unwrap());
    let reach = Reach { at_ms: 1_700_000_000_123, urls: List::take(urls) };
    for (name, used) in [("presence", ReachUse::Presence), ("knock", ReachUse::Knock)] {
        let to = ReachFor { secret: &secret, server: &[0x33; 32], mailbox: &mailbox, used };
        let mut random = Recorder::new(70 + used as u64);
        let sealed = reach.seal(&to, &mut random).unwrap();
        assert_eq!(Reach::open(&sealed, &to).unwrap(), reach);
        section.case(
            &format!("reach as {name}"),
            json!({
                "secret": hex(secret.expose()), "fingerprint": hex([0x33; 32]), "mailbox": hex(mailbox.to_bytes()),
                "use": used as u8, "encoded": hex(reach.to_wire().unwrap()), "nonce": random.take(), "sealed": hex(sealed),
            }),
        );
    }
    let frames = [
        ("Ready", DirectFrame::Ready),
        ("Item", DirectFrame::Item(Blob::new(vec![0x69; 5]).unwrap())),
        ("Taken", DirectFrame::Taken(300)),
        ("Declined", DirectFrame::Declined(301)),
        ("Still", DirectFrame::Still),
        ("Bye", DirectFrame::Bye),
    ];
    for (name, frame) in &frames {
        section.case(&format!("frame {name}"), json!({ "encoded": hex(frame.to_wire().unwrap()) }));
    }
    let binding = DirectBinding { secret: &secret, dialler: &dialler, listener: &listener };
    for (name, thin) in [("fat", false), ("thin", true)] {
        let mut random = Recorder::new(72 + u64::from(thin));
        let dialling = Dialling::begin(&binding, thin, &mut random).unwrap();
        let drawn = random.take();
        let hello = dialling.hello().to_vec();
        let (welcome, mut down) =
            answer_hello(&Hello::from_packet(&hello).unwrap(), &binding, &mut random).unwrap();
        let mut up = dialling.finish(&welcome, &binding).unwrap();
        let (ready, _) = up.seal(&DirectFrame::Ready).unwrap();
        let (item, number) = up.seal(&DirectFrame::Item(Blob::new(vec![0x69; 45]).unwrap())).unwrap();
        for packet in [&ready, &item] {
            down.open(packet).unwrap();
        }
        let (taken, _) = down.seal(&DirectFrame::Taken(number)).unwrap();
        section.case(
            &format!("{name} link"),
            json!({
                "secret": hex(secret.expose()), "dialler": hex(dialler.to_bytes()), "listener": hex(listener.to_bytes()),
                "drawn by the dialler": drawn, "hello": hex(hello), "drawn by the listener": random.take(),
                "welcome": hex(welcome), "up 0, Ready": hex(ready), "up 1, Item of 45 bytes 69": hex(item),
                "down 0, Taken 1": hex(taken),
            }),
        );
    }
    section.check();
}
