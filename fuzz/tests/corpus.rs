//! The corpora through every decoder, without a fuzzing engine.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use meow_fuzz::{Target, targets};

/// Mutations of each file.
const MUTATIONS: usize = 60;

fn folder(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

fn files(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all: Vec<_> = fs::read_dir(folder(target))
        .unwrap_or_else(|e| panic!("no corpus for {}: {e}", target.name))
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    all.sort();
    all
}

#[test]
fn every_file_of_every_corpus() {
    for target in targets() {
        let files = files(&target);
        assert!(files.len() >= 4, "{} has hardly a corpus", target.name);
        for (path, bytes) in files {
            println!("{}", path.display());
            (target.run)(&bytes);
        }
    }
}

#[test]
fn the_corpora_are_those_of_this_wire() {
    let (mut stale, mut misnamed) = (Vec::new(), Vec::new());
    for target in targets() {
        // What a whole conversation says depends on more than the wire: such a file may stay as long as it is taken.
        let by_byte = target.name != "contact_items";
        for (name, bytes) in (target.seeds)() {
            let path = format!("{}/{name}", target.name);
            let committed = fs::read(folder(&target).join(&name)).unwrap_or_default();
            if by_byte && committed != bytes {
                stale.push(path.clone());
            }
            let good = !name.starts_with("bad-");
            if (target.run)(&committed) != good || (target.run)(&bytes) != good {
                misnamed.push(path);
            }
        }
    }
    let refresh = "cargo run --manifest-path fuzz/Cargo.toml --example seed";
    assert!(stale.is_empty(), "out of date, {refresh}: {stale:?}");
    assert!(misnamed.is_empty(), "accepted, or not, against their names, {refresh}: {misnamed:?}");
}

#[test]
fn every_target_has_its_program() {
    let programs: HashSet<_> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let names: HashSet<_> = targets().iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(programs, names);
}

#[test]
fn mutations_break_no_promise() {
    for target in targets() {
        let mut draw = Draw(0x9e37_79b9_7f4a_7c15);
        for (path, bytes) in files(&target) {
            println!("{}", path.display());
            for _ in 0..MUTATIONS {
                (target.run)(&draw.mutated(&bytes));
            }
        }
    }
}

/// xorshift64: repeatable, and good enough to choose where to damage.
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }

    fn mutated(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = bytes.to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(out.len() + 1);
            let interesting = [0, 1, 0x7f, 0x80, 0xff][self.below(5)];
            match self.below(6) {
                0 => out.truncate(at),
                1 => out.insert(at, interesting),
                2 if at < out.len() => out[at] ^= 1 << self.below(8),
                3 if at < out.len() => out[at] = interesting,
                4 if at < out.len() => drop(out.remove(at)),
                _ => out.extend_from_within(at.min(out.len())..),
            }
        }
        out
    }
}
