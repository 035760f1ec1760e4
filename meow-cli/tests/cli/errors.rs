//! Wrong usage, and data that is not what it was.

use std::fs;

use serde_json::Value;

use crate::support::World;

#[test]
fn wrong_usage_is_told_in_one_form_or_the_other() {
    let world = World::new();
    let alice = world.nobody("alice");
    for args in [
        &["unknown"][..],
        &["send", "bob"],
        &["status", "17"],
        &["receive", "--wait", "-1"],
        &["send", "a", "b", "--wait", "read"],
    ] {
        let error = alice.json(args).failed(2, "usage");
        assert_eq!(error.out, "");
        let text = alice.run(args).code(2);
        assert!(text.err.starts_with("error: "), "{text:?}");
    }
    alice.run(["receive", "--follow", "--wait", "3"]).code(2);
    let error = alice.json(["send", "bob"]).failed(2, "usage");
    assert!(error.err.contains("<TEXT|->"), "says what is missing: {error:?}");
}

#[test]
fn nothing_there() {
    let world = World::new();
    let alice = world.nobody("alice");
    let error = alice.json(["contacts"]).failed(5, "not_found");
    assert!(error.err.contains("meow init"), "{error:?}");
    alice.run(["init"]).done();
    alice.json(["status", "m1"]).failed(5, "not_found");
    alice.json(["log", "bob"]).failed(5, "not_found");
    alice.json(["send", "bob", "hi"]).failed(5, "not_found");
    alice.json(["verify", "bob"]).failed(5, "not_found");
    alice.json(["rotate", "bob"]).failed(5, "not_found");
    alice.json(["contact", "remove", "bob"]).failed(5, "not_found");
    let error = alice.json(["policy", "--new-contacts", "--from", "nofile"]).failed(5, "not_found");
    assert!(error.err.contains("nofile"), "{error:?}");
    let text = alice.run(["log", "bob"]).code(5);
    assert!(text.err.starts_with("meow: ") && text.err.lines().count() == 1, "{text:?}");
}

#[test]
fn a_second_identity_in_a_home_is_refused() {
    let world = World::new();
    let alice = world.nobody("alice");
    let words = alice.json(["init"]).done().record()["words"].clone();
    assert_eq!(words.as_str().unwrap().split(' ').count(), 24);
    let mut other = alice.clone();
    other.password = "another".into();
    other.json(["init"]).failed(7, "already_used");
    alice.run(["contacts"]).done();
}

#[test]
fn what_is_too_long_is_refused() {
    let world = World::new();
    let relay = world.relay("relay");
    let (alice, _) = world.pair(&relay);
    let error: Value = {
        let run = alice.piped(["--json", "send", "bob", "-"], &vec![b'x'; 40_000]);
        assert_eq!(run.code, Some(7), "{run:?}");
        serde_json::from_str(run.err.trim()).unwrap()
    };
    assert_eq!(error["error"], "limit");
    alice.piped(["send", "bob", "-"], b"\xff\xfe").code(2);
    alice.piped(["send", "bob", "-"], b"").code(2);
    assert!(alice.log("bob").is_empty());
}

#[test]
fn damaged_and_newer_data_is_left_alone() {
    let world = World::new();
    let alice = world.nobody("alice");
    alice.run(["init"]).done();
    let marker = alice.home.join("home");
    let whole = fs::read(&marker).unwrap();
    fs::write(&marker, "meow home 9\n").unwrap();
    alice.json(["contacts"]).failed(8, "newer_version");
    fs::write(&marker, "nonsense").unwrap();
    alice.json(["contacts"]).failed(8, "damaged");
    fs::write(&marker, &whole).unwrap();

    let store = alice.home.join("store.db");
    let whole = fs::read(&store).unwrap();
    let mut damaged = whole.clone();
    for byte in damaged.iter_mut().skip(4096).step_by(64) {
        *byte ^= 1;
    }
    fs::write(&store, &damaged).unwrap();
    alice.json(["contacts"]).failed(8, "damaged");
    assert_eq!(fs::read(&store).unwrap(), damaged, "the damaged file is left as it is");
    fs::write(&store, &whole).unwrap();
    alice.run(["contacts"]).done();
}

#[cfg(unix)]
#[test]
fn a_lost_key_file_is_no_invitation_to_begin_anew() {
    let world = World::new();
    let alice = world.nobody("alice");
    alice.run(["init"]).done();
    let keys = alice.home.join("keys.meow");
    let kept = fs::read(&keys).unwrap();
    fs::remove_file(&keys).unwrap();
    let error = alice.json(["contacts"]).failed(8, "damaged");
    assert!(error.err.contains("keys.meow"), "{error:?}");
    // What is there is not deleted, even so.
    alice.run(["init"]).done();
    fs::write(&keys, kept).unwrap();
    for file in ["store.db", "store.db.id"] {
        fs::rename(alice.home.join("unfinished-1").join(file), alice.home.join(file)).unwrap();
    }
    alice.run(["contacts"]).done();
}

#[test]
fn a_home_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let alice = world.nobody("alice");
    alice.run(["init"]).done();
    fs::set_permissions(&alice.home, fs::Permissions::from_mode(0o755)).unwrap();
    let error = alice.json(["contacts"]).failed(1, "system");
    assert!(error.err.contains("chmod 700"), "{error:?}");
}
