//! Standard output: records, as text for people or as JSON for programs.

use std::io::{self, Write};

use serde::Serialize;

use crate::exit::{Failure, system};

/// Something that a command prints: as one JSON object on a line of its own, or as text.
pub(crate) trait Record: Serialize {
    /// For people. What others wrote in it has been made safe for a terminal. May have several lines.
    fn text(&self) -> String;
}

/// Standard output in one of the two forms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) json: bool,
}

impl Output {
    /// Prints a record. When this returns it has left the program.
    pub(crate) fn put(self, record: &impl Record) -> Result<(), Failure> {
        if self.json {
            let line = serde_json::to_string(record)
                .map_err(|e| system("the output cannot be encoded", io::Error::other(e)))?;
            self.write(&line)
        } else {
            self.write(&record.text())
        }
    }

    fn write(self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        let done =
            out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
        done.map_err(|e| match e.kind() {
            io::ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => system("standard output cannot be written", e).into(),
        })
    }
}
