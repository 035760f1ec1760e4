//! A server in a process of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

/// A child that serves until this is dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) id: u32,
    /// What it printed behind `ready`.
    pub(crate) said: String,
    _dir: Arc<tempfile::TempDir>,
}

impl Process {
    /// Starts it in this folder, and waits until it is ready.
    pub(crate) fn start(command: &mut Command, dir: Arc<tempfile::TempDir>) -> Self {
        let command = command.current_dir(dir.path()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said = line.trim().strip_prefix("ready ").expect("the server does not start").to_owned();
        Self { id: child.id(), child, said, _dir: dir }
    }
}

/// A file of a process's folder in `/proc`.
pub(crate) fn proc(id: u32, file: &str) -> String {
    std::fs::read_to_string(format!("/proc/{id}/{file}")).unwrap()
}

/// Processor time of a process so far, in microseconds; a tick is 10 ms.
pub(crate) fn cpu_us(id: u32) -> f64 {
    let stat = proc(id, "stat");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) * 10_000.0
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This program again, to serve.
pub(crate) fn own() -> Command {
    Command::new(std::env::current_exe().unwrap())
}

/// On the disk that is built on: a temporary folder may be in memory, where a sync costs nothing.
pub(crate) fn folder() -> Arc<tempfile::TempDir> {
    Arc::new(tempfile::tempdir_in(std::env::current_exe().unwrap().parent().unwrap()).unwrap())
}
