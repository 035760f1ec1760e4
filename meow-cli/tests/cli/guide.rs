//! Every command of the guide and of the README's story by hand runs as it stands there.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use meow_testkit::transport::port::own_port;

use crate::support::{World, meow, meowd};

/// The ```` ```sh ```` blocks of a page, from a heading on, up to the next one of its level if there is one.
fn blocks(page: &str, heading: Option<&str>) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = fs::read_to_string(root.join(page)).unwrap();
    let part = match heading {
        Some(heading) => {
            let part = text.split_once(heading).unwrap_or_else(|| panic!("{page} has no {heading:?}")).1;
            part.split_once("\n## ").map_or(part, |(part, _)| part)
        }
        None => &text,
    };
    let blocks = part.split("```sh\n").skip(1);
    blocks.map(|block| block.split_once("```").unwrap().0.to_owned()).collect()
}

/// Runs blocks in one shell, in an empty folder, with the programs in its path; gives what it printed.
fn run(blocks: &[String]) -> String {
    let world = World::new();
    // Ports that are free, in place of those that a reader would take.
    let udp = format!("127.0.0.1:{}", own_port().unwrap());
    let script = blocks.concat().replace("127.0.0.1:8080", "127.0.0.1:0").replace("127.0.0.1:41325", &udp);
    let path = std::env::join_paths(
        [meow().parent().unwrap().to_owned(), meowd().parent().unwrap().to_owned()]
            .into_iter()
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let done = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &format!("trap 'kill $(jobs -p) 2>&-' EXIT\n{script}")])
        .env_clear()
        .env("PATH", path.unwrap())
        .env("HOME", world.path("home"))
        .current_dir(world.path("."))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{script}\n-- printed --\n{out}\n-- complained --\n{err}");
    out.into_owned()
}

#[test]
fn the_readme_by_hand() {
    let blocks = blocks("README.md", Some("## By hand"));
    assert_eq!(blocks.len(), 1);
    assert!(blocks[0].lines().count() <= 6, "the README promises six lines");
    let out = run(&blocks);
    assert!(out.lines().last().unwrap().ends_with("Alice: Hello Bob"), "{out}");
}

#[test]
fn the_guide() {
    let blocks = blocks("docs/guide/cli.md", None);
    assert!(blocks.len() >= 8);
    let out = run(&blocks);
    assert!(out.contains("See you at eight"), "{out}");
}
