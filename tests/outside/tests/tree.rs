//! What comes along with `http` alone.

use std::process::Command;

#[test]
fn the_tree_holds_no_other_scheme() {
    let out = Command::new(env!("CARGO"))
        .args(["tree", "--prefix", "none", "--edges", "normal,build", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let tree = String::from_utf8(out.stdout).unwrap();
    assert!(tree.lines().any(|l| l.starts_with("hyper ")));
    for foreign in ["quinn", "rumqttc", "tokio-serial", "serialport", "clap"] {
        assert!(!tree.lines().any(|l| l.starts_with(foreign)), "{foreign} came along");
    }
}
