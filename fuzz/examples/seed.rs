//! Writes the corpora from real encodings: `cargo run --manifest-path fuzz/Cargo.toml --example seed`.
//!
//! Files of seeds that are no longer made are left alone, since what a fuzzer found stands beside them.

use std::path::Path;
use std::{fs, io};

fn main() -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for target in meow_fuzz::targets() {
        let folder = corpus.join(target.name);
        fs::create_dir_all(&folder)?;
        for (name, bytes) in (target.seeds)() {
            fs::write(folder.join(name), bytes)?;
        }
    }
    Ok(())
}
