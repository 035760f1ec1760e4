//! Attack 48 with a disk that is really full: a small file system of its own, in a mount namespace of its own.

use meow_core::request::{Answer, RefusalCode};

use crate::process::{Relay, inside};
use crate::support::Owner;
use crate::support::client::{fresh, refused};

/// Mounts a file system of four MiB on the data folder, for this process only, half of it taken by another file, and goes
/// on as `meowd`.
const SCRIPT: &str =
    r#"mount -t tmpfs -o size=4m none "$1" && head -c 2097152 /dev/zero > "$1/other" && shift && exec "$@""#;

#[tokio::test]
async fn a48_a_full_disk_refuses_deposits_and_loses_none() {
    let may_mount = ["-m", "sh", "-c", "mount -t tmpfs none /mnt"];
    if !std::process::Command::new("unshare").args(may_mount).output().is_ok_and(|done| done.status.success())
    {
        assert!(
            std::env::var_os("MEOW_REQUIRE_SERVICES").is_none(),
            "this test needs to mount: run it as root"
        );
        eprintln!("SKIPPED: a full disk needs the right to mount; run as root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let own = ["-m", "sh", "-c", SCRIPT, "sh", data];
    let args = ["run", "--data", data, "--listen", "http://127.0.0.1:0"];
    let relay = Relay::ready(inside("unshare", &own, &args)).await;
    let client = relay.client().await;
    let mut owner = Owner::registered(&client).await;
    let item = |n: u32| [&n.to_be_bytes()[..], &[7; 8028]].concat();
    let mut stored = 0;
    // The rest holds no thousand items of 8 KiB.
    let full = loop {
        match client.deposit(&owner, &item(stored)).await {
            Answer::Done => stored += 1,
            answer => break answer,
        }
        assert!(stored < 1000);
    };
    assert_eq!(refused(&full), RefusalCode::Busy);
    assert!(stored >= 10, "{stored}");
    for _ in 0..20 {
        assert_eq!(refused(&client.deposit(&owner, &item(9999)).await), RefusalCode::Busy);
    }
    // Somebody makes room.
    std::fs::remove_file(format!("/proc/{}/root{data}/other", relay.pid())).unwrap();
    let got = owner.drain(&client).await;
    assert_eq!(got, (0..stored).map(item).collect::<Vec<_>>());
    assert_eq!(client.ask(owner.deposit(fresh(), &item(1)), 0).await, Answer::Done, "serving goes on");
    let end = relay.stop("TERM").await;
    assert_eq!(end.code, 0, "{}", end.err);
    assert_eq!(end.err.matches("the store cannot write").count(), 1, "told once, not each time: {}", end.err);
    assert!(end.err.contains("free space"), "{}", end.err);
}
