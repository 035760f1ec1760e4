use std::ffi::OsStr;
use std::path::Path;
use std::process::{Output, Stdio};

use meow_core::lane::ServerReference;
use meow_transport::Transports;
use meow_transport_http::Http;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::support::Client;

const MEOWD: &str = env!("CARGO_BIN_EXE_meowd");

pub(crate) fn transports() -> Transports {
    Transports::new().with(Http::default())
}

/// A command of `meowd`, in an environment without any of its variables.
pub(crate) fn meowd<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    clean(Command::new(MEOWD), args)
}

/// The same inside another program, which gets the path of `meowd` and the arguments after its own.
pub(crate) fn inside(program: &str, own: &[&str], args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(own).arg(MEOWD);
    clean(command, args)
}

fn clean<S: AsRef<OsStr>>(mut command: Command, args: impl IntoIterator<Item = S>) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MEOWD_") {
            command.env_remove(name);
        }
    }
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// What a finished command said.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }
}

pub(crate) async fn said(args: &[&str]) -> Said {
    meowd(args).output().await.unwrap().into()
}

/// A running `meowd`.
pub(crate) struct Relay {
    pub(crate) child: Child,
    pub(crate) reference: ServerReference,
}

impl Relay {
    pub(crate) async fn start(dir: &Path, more: &[&str]) -> Self {
        Self::start_at("http://127.0.0.1:0", dir, more).await
    }

    pub(crate) async fn start_at(listen: &str, dir: &Path, more: &[&str]) -> Self {
        let args = [&["run", "--data", dir.to_str().unwrap(), "--listen", listen], more].concat();
        Self::ready(meowd(args)).await
    }

    /// Waits for the one line.
    pub(crate) async fn ready(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).await.unwrap();
        let Some(reference) = line.strip_prefix("ready ") else {
            let mut err = String::new();
            child.stderr.take().unwrap().read_to_string(&mut err).await.unwrap();
            panic!("not ready: {line:?}\n{err}");
        };
        Self { reference: reference.trim_end().parse().unwrap(), child }
    }

    pub(crate) async fn client(&self) -> Client {
        Client::new(&transports(), &self.reference.url, &self.reference.fingerprint).await
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Kills it as hard as it goes.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = std::process::Command::new("kill").args(["-s", name, &self.pid().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Asks it to stop, and returns what it says at last.
    pub(crate) async fn stop(self, name: &str) -> Said {
        self.signal(name);
        self.child.wait_with_output().await.unwrap().into()
    }
}
