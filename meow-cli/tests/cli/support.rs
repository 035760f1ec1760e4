//! A folder with a relay and some people, each of them a process at a time.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, SystemTime};

use meow::client::{Clock, SystemClock};
use meow::{Client, EnabledTransports, Transports, Unlock};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const PASSWORD: &str = "correct horse";

/// The program under test.
pub(crate) fn meow() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_meow"))
}

/// The relay's program: the one beside ours where it is newer than its sources, else a fresh one.
pub(crate) fn meowd() -> &'static Path {
    static MEOWD: OnceLock<PathBuf> = OnceLock::new();
    MEOWD.get_or_init(|| {
        let folder = meow().parent().unwrap();
        let program = folder.join(format!("meowd{}", std::env::consts::EXE_SUFFIX));
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let sources = [
            "meow-server",
            "meow-core",
            "meow-transport",
            "meow-transport-http",
            "meow-transport-udp",
            "meow-transport-mqtt",
            "meow-transport-serial",
        ];
        let newest = sources.iter().map(|name| newest(&root.join(name).join("src"))).max().unwrap();
        let built = fs::metadata(&program).and_then(|about| about.modified());
        if built.is_ok_and(|built| built >= newest) {
            return program;
        }
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "-p", "meow-server", "--bin", "meowd"]).current_dir(root);
        if folder.ends_with("release") {
            build.arg("--release");
        }
        build.env("CARGO_TARGET_DIR", folder.parent().unwrap());
        assert!(build.status().unwrap().success(), "meowd does not build");
        program
    })
}

fn newest(folder: &Path) -> SystemTime {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let times = entries.map(|entry| match entry.file_type().unwrap().is_dir() {
        true => newest(&entry.path()),
        false => entry.metadata().unwrap().modified().unwrap(),
    });
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A folder that goes away with the test.
pub(crate) struct World {
    folder: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A relay with its data in this folder.
    pub(crate) fn relay(&self, name: &str) -> Relay {
        Relay::start(self.path(name), &["--listen", "http://127.0.0.1:0"])
    }

    /// A relay at a given address.
    pub(crate) fn relay_at(&self, name: &str, listen: &str) -> Relay {
        Relay::start(self.path(name), &["--listen", listen])
    }

    /// A relay with these arguments.
    pub(crate) fn relay_with(&self, name: &str, args: &[&str]) -> Relay {
        Relay::start(self.path(name), args)
    }

    /// The same; the authorities in this file are the only ones that it believes.
    pub(crate) fn relay_trusting(&self, name: &str, authorities: &Path, args: &[&str]) -> Relay {
        let mut command = Command::new(meowd());
        command.env("SSL_CERT_FILE", authorities);
        Relay::start_by(command, self.path(name), args)
    }

    /// Somebody without an identity yet.
    pub(crate) fn nobody(&self, name: &str) -> Person {
        let (home, folder) = (self.path(name), self.folder.path().to_owned());
        Person { home, folder, password: PASSWORD.into(), authorities: None }
    }

    /// Somebody with an identity and a server.
    pub(crate) fn person(&self, name: &str, relay: &Relay) -> Person {
        let person = self.nobody(name);
        person.run(["init", "--server", &relay.reference]).done();
        person
    }

    /// Two people who have exchanged cards and confirmed keys, and nothing else to be told.
    pub(crate) fn pair(&self, relay: &Relay) -> (Person, Person) {
        let (alice, bob) = (self.person("alice", relay), self.person("bob", relay));
        befriend(&alice, &bob);
        (alice, bob)
    }
}

/// Alice gives Bob a card; both end up established.
pub(crate) fn befriend(alice: &Person, bob: &Person) {
    let card = alice.folder.join("card");
    alice.run(["card", "new", "bob", "--out", card.to_str().unwrap()]).done();
    bob.run(["card", "take", card.to_str().unwrap(), "--as", "alice"]).done();
    fs::remove_file(&card).unwrap();
    for person in [alice, bob, alice, bob] {
        person.run(["receive"]).done();
    }
    for (person, other) in [(alice, "bob"), (bob, "alice")] {
        let contacts = person.json(["contacts"]).records;
        let contact = contacts.iter().find(|c| c["contact"] == other).unwrap();
        assert_eq!(contact["status"], "established", "{contact}");
    }
}

/// A running `meowd`, killed when dropped.
pub(crate) struct Relay {
    child: Child,
    data: PathBuf,
    pub(crate) reference: String,
}

impl Relay {
    fn start(data: PathBuf, args: &[&str]) -> Self {
        Self::start_by(Command::new(meowd()), data, args)
    }

    fn start_by(mut command: Command, data: PathBuf, args: &[&str]) -> Self {
        let mut child = command
            .args([OsStr::new("run"), OsStr::new("--data"), data.as_os_str()])
            .args(args)
            .env("MEOWD_LOG_LEVEL", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let limit = Limit::of(&child);
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        drop(limit);
        let reference = line.strip_prefix("ready ").expect("a ready line").trim().to_owned();
        Self { child, data, reference }
    }

    pub(crate) fn url(&self) -> &str {
        self.reference.split_once('#').unwrap().0
    }

    pub(crate) fn fingerprint(&self) -> &str {
        self.reference.split_once("#skp=").unwrap().1
    }

    /// Kills the relay.
    pub(crate) fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, at the same address.
    pub(crate) fn again(&mut self) {
        let reference = self.reference.clone();
        *self = Self::start(self.data.clone(), &["--listen", self.url().trim_end_matches('/')]);
        assert_eq!(self.reference, reference);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // It may have been stopped already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One home and its password.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) home: PathBuf,
    folder: PathBuf,
    pub(crate) password: String,
    /// A file of certificates that the person trusts in the place of the system's.
    pub(crate) authorities: Option<PathBuf>,
}

impl Person {
    /// The program for this person, with an environment of its own.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(meow());
        command.env_clear().env("HOME", &self.folder).env("MEOW_HOME", &self.home);
        command.env("MEOW_PASSWORD", &self.password);
        command.envs(self.authorities.iter().map(|file| ("SSL_CERT_FILE", file)));
        command.current_dir(&self.folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Run {
        Run::of_child(self.command().args(args).spawn().unwrap())
    }

    pub(crate) fn json<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Run {
        let run = Run::of_child(self.command().arg("--json").args(args).spawn().unwrap());
        assert_eq!(run.records.len(), run.out.lines().count(), "every line is an object: {run:#?}");
        run
    }

    /// Runs with something on standard input.
    pub(crate) fn piped<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, input: &[u8]) -> Run {
        let mut child = self.command().args(args).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        Run::of_child(child)
    }

    /// Does something with this home in the library, with a clock that is so many days behind.
    pub(crate) fn days_ago<T>(&self, days: u64, work: impl AsyncFnOnce(Client) -> T) -> T {
        struct Behind(u64);
        impl Clock for Behind {
            fn now_ms(&self) -> u64 {
                SystemClock.now_ms() - self.0 * 24 * 60 * 60 * 1000
            }
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let builder = Client::builder().home(&self.home).transports(Transports::enabled());
            let unlock = Unlock::password(self.password.as_str());
            work(builder.clock(Behind(days)).open(&unlock).await.unwrap()).await
        })
    }

    /// The messages of a log: outgoing, text, delivery.
    pub(crate) fn log(&self, name: &str) -> Vec<(bool, String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let log = self.json(["log", name]).done().records;
        log.iter().map(|m| (m["outgoing"] == true, text(&m["text"]), text(&m["delivery"]))).collect()
    }
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
    /// The lines of standard output that are JSON.
    pub(crate) records: Vec<Value>,
}

impl Run {
    pub(crate) fn of(output: Output) -> Self {
        let out = String::from_utf8(output.stdout).unwrap();
        let records = out.lines().filter_map(|l| serde_json::from_str(l).ok());
        Self {
            code: output.status.code(),
            records: records.collect(),
            err: String::from_utf8(output.stderr).unwrap(),
            out,
        }
    }

    /// Waits for a child, which has to end.
    pub(crate) fn of_child(child: Child) -> Self {
        let _limit = Limit::of(&child);
        Self::of(child.wait_with_output().unwrap())
    }

    /// It ended with this code.
    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// It ended well and had nothing to complain about.
    #[track_caller]
    pub(crate) fn done(self) -> Self {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""), "{self:#?}");
        self
    }

    /// It failed with this code and kind of error (of a run with `--json`), and says so in one line.
    #[track_caller]
    pub(crate) fn failed(self, code: i32, kind: &str) -> Self {
        let run = self.code(code);
        let lines: Vec<&str> = run.err.lines().collect();
        assert_eq!(lines.len(), 1, "{run:#?}");
        let error: Value = serde_json::from_str(lines[0]).unwrap();
        assert_eq!(error["error"], kind, "{run:#?}");
        assert!(error["message"].as_str().unwrap().len() > 10, "{run:#?}");
        run
    }

    /// The only record.
    #[track_caller]
    pub(crate) fn record(&self) -> &Value {
        assert_eq!(self.records.len(), 1, "{self:#?}");
        &self.records[0]
    }

    /// The events of a `receive`, by kind.
    pub(crate) fn events(&self, kind: &str) -> Vec<&Value> {
        self.records.iter().filter(|r| r["event"] == kind).collect()
    }

    /// The texts of the messages of a `receive`.
    pub(crate) fn texts(&self) -> Vec<&str> {
        self.events("message").iter().map(|m| m["text"].as_str().unwrap()).collect()
    }
}

/// Kills a child that runs for longer than anything here takes, so that whoever waits for it fails and does not hang. Dropping
/// it calls that off.
pub(crate) struct Limit {
    _called_off: mpsc::Sender<()>,
}

impl Limit {
    const LONGEST: Duration = Duration::from_secs(1200);

    fn of(child: &Child) -> Self {
        let (called_off, calls) = mpsc::channel();
        let pid = child.id().to_string();
        std::thread::spawn(move || {
            if calls.recv_timeout(Self::LONGEST) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("process {pid} has run for {:?}: killed", Self::LONGEST);
                // It may have ended just now.
                let _ = Command::new("kill").args(["-s", "KILL", &pid]).status();
            }
        });
        Self { _called_off: called_off }
    }
}

/// A `meow` that runs beside the test, killed when dropped.
pub(crate) struct Running {
    pub(crate) child: Child,
    lines: BufReader<ChildStdout>,
    _limit: Limit,
}

impl Running {
    pub(crate) fn start<S: AsRef<OsStr>>(person: &Person, args: impl IntoIterator<Item = S>) -> Self {
        Self::of(person.command().arg("--json").args(args))
    }

    pub(crate) fn of(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let _limit = Limit::of(&child);
        Self { child, lines, _limit }
    }

    /// The next line; waits for it.
    pub(crate) fn next(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the program ended, or was ended for having run too long");
        serde_json::from_str(&line).unwrap()
    }

    /// The next event of this kind.
    pub(crate) fn event(&mut self, kind: &str) -> Value {
        loop {
            let event = self.next();
            if event["event"] == kind {
                return event;
            }
        }
    }

    /// Sends a signal by name and gives the exit code, if the program ended by itself.
    pub(crate) fn signal(mut self, name: &str) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
