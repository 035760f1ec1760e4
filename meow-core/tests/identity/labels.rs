//! The spec lists every label of the code, and no other.

use std::collections::BTreeSet;
use std::path::Path;

use meow_core::crypto::{HashLabel, HpkeLabel, KeyLabel, SignLabel};

#[test]
fn the_spec_lists_every_label() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/spec/cryptography.md");
    let spec = std::fs::read_to_string(path).unwrap();
    let (_, table) = spec.split_once("**Labels.**").unwrap();
    let rows: Vec<_> = table.lines().filter(|l| l.starts_with("| `meow ")).collect();
    let row = |line: &&str| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 6, "{line}");
        assert!(cells[3..5].iter().all(|c| !c.is_empty()), "{line}");
        (cells[2].to_owned(), cells[1].trim_matches('`').to_owned())
    };
    let listed: BTreeSet<_> = rows.iter().map(row).collect();
    assert_eq!(listed.len(), rows.len(), "a label stands twice");
    let kind = |kind: &str, text: &str| (kind.to_owned(), text.to_owned());
    let known: BTreeSet<_> = (KeyLabel::ALL.iter().map(|l| kind("derive", l.text())))
        .chain(HashLabel::ALL.iter().map(|l| kind("hash", l.text())))
        .chain(SignLabel::ALL.iter().map(|l| kind("sign", l.text())))
        .chain(HpkeLabel::ALL.iter().map(|l| kind("hpke", l.text())))
        .collect();
    assert_eq!(listed, known);
}
