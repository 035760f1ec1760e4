//! One JSON file per chapter: made, compared, or written.

use std::fs;
use std::path::{Path, PathBuf};

use meow_core::crypto::{CryptoError, Random, SeededRandom};
use serde_json::{Value, json};

/// The vectors of one file, `docs/vectors/NAME.json`.
pub(crate) struct Section {
    name: &'static str,
    about: &'static str,
    cases: Vec<Value>,
}

impl Section {
    /// An empty section; `about` says in one sentence what the cases are.
    pub(crate) fn new(name: &'static str, about: &'static str) -> Self {
        Self { name, about, cases: vec![] }
    }

    /// Adds a case. `fields` is an object; bytes in it are [`hex`].
    pub(crate) fn case(&mut self, name: &str, mut fields: Value) {
        assert!(self.cases.iter().all(|c| c["case"] != name), "{name} stands twice");
        fields.as_object_mut().expect("an object").insert("case".into(), name.into());
        self.cases.push(fields);
    }

    /// Compares with the file, or writes it when `MEOW_WRITE_VECTORS=1`.
    pub(crate) fn check(self) {
        let path = path(self.name);
        let whole = json!({ "version": meow_core::wire::VERSION, "about": self.about, "cases": self.cases });
        if std::env::var("MEOW_WRITE_VECTORS").is_ok_and(|v| v == "1") {
            fs::write(&path, serde_json::to_string_pretty(&whole).unwrap() + "\n").unwrap();
            return;
        }
        let stored = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let stored: Value = serde_json::from_str(&stored).unwrap();
        if stored == whole {
            return;
        }
        let empty = vec![];
        let known = stored["cases"].as_array().unwrap_or(&empty);
        let changed = self.cases.iter().enumerate().find(|(i, case)| known.get(*i) != Some(case));
        let which = changed.map_or("none, but the file".into(), |(_, case)| case["case"].to_string());
        panic!(
            "{} differs from what the code makes; first changed case: {which}. If the protocol is meant to change, \
             write the vectors anew with MEOW_WRITE_VECTORS=1 and say so in CHANGELOG.md.",
            path.display()
        );
    }
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/vectors").join(format!("{name}.json"))
}

/// Bytes as lower-case hexadecimal text.
pub(crate) fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

/// `frame(label, parts)` written from the spec, not from the library.
pub(crate) fn frame(label: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![0];
    for part in [&[label.as_bytes()], parts].concat() {
        out.extend((part.len() as u32).to_be_bytes());
        out.extend(part);
    }
    out
}

/// Randomness that tells what was drawn, in order.
pub(crate) struct Recorder {
    random: SeededRandom,
    drawn: Vec<String>,
}

impl Recorder {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: SeededRandom::new(seed), drawn: vec![] }
    }

    /// The draws since the last call.
    pub(crate) fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.drawn)
    }
}

impl Random for Recorder {
    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), CryptoError> {
        self.random.fill(buffer)?;
        self.drawn.push(hex(&*buffer));
        Ok(())
    }
}
