//! Machines on one bridge, what they run, and what is seen of them.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::{Person, Run, Running, meowd};

/// All packets but what the kernel says by itself on any network: ARP, neighbours and routers of IPv6, its groups.
const ALL: &str = "not arp and not (ip6[6] == 58 and ip6[40] >= 133 and ip6[40] <= 136) \
                   and not (ip6[6] == 0 and ip6[40] == 58 and (ip6[48] == 143 or ip6[48] >= 130 and ip6[48] <= 132))";

/// All namespaces of a test on one bridge; they go when it ends.
pub(super) struct Net {
    pub(super) prefix: String,
    pub(super) names: Vec<String>,
}

pub(super) fn run(program: &str, args: &[&str]) {
    let done = Command::new(program).args(args).output().unwrap();
    assert!(done.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&done.stderr));
}

impl Net {
    /// `None`, said aloud, where this machine has no namespaces or lacks the tools.
    pub(super) fn new() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        // Tests run side by side in one process.
        let prefix = format!("meow{}n{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let tools = ["ip", "nft", "tcpdump"].into_iter().filter(|tool| {
            let there =
                Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
            !there.is_ok_and(|status| status.success()) && Command::new(tool).arg("-V").output().is_err()
        });
        let missing: Vec<_> = tools.collect();
        let hub = format!("{prefix}hub");
        let made = Command::new("ip").args(["netns", "add", &hub]).output();
        if !missing.is_empty() || !made.is_ok_and(|done| done.status.success()) {
            assert!(
                std::env::var_os("MEOW_REQUIRE_SERVICES").is_none(),
                "this test needs root for network namespaces, and ip, nft and tcpdump: {missing:?} missing"
            );
            eprintln!(
                "SKIPPED: needs root for network namespaces, and ip, nft and tcpdump: {missing:?} missing"
            );
            return None;
        }
        let net = Self { prefix, names: vec![hub.clone()] };
        run("ip", &["-n", &hub, "link", "add", "br0", "type", "bridge"]);
        run("ip", &["-n", &hub, "link", "set", "br0", "up"]);
        Some(net)
    }

    /// A machine of this name at 10.77.0.`last`.
    pub(super) fn machine(&mut self, name: &str, last: u8) -> Machine {
        let (hub, name) = (format!("{}hub", self.prefix), format!("{}{name}", self.prefix));
        let (port, address) = (format!("v{last}"), format!("10.77.0.{last}"));
        run("ip", &["netns", "add", &name]);
        self.names.push(name.clone());
        run(
            "ip",
            &["-n", &name, "link", "add", "eth0", "type", "veth", "peer", "name", &port, "netns", &hub],
        );
        run("ip", &["-n", &hub, "link", "set", &port, "master", "br0", "up"]);
        run("ip", &["-n", &name, "addr", "add", &format!("{address}/24"), "dev", "eth0"]);
        run("ip", &["-n", &name, "link", "set", "lo", "up"]);
        run("ip", &["-n", &name, "link", "set", "eth0", "up"]);
        Machine { name, address }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in &self.names {
            // Processes in it were killed before; a namespace that stays is an empty name.
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

pub(super) struct Machine {
    pub(super) name: String,
    pub(super) address: String,
}

impl Machine {
    /// A program on this machine, in this environment and no other.
    pub(super) fn command(&self, like: &Command) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(like.get_program()).args(like.get_args());
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command.envs(like.get_envs().filter_map(|(key, value)| Some((key, value?))));
        if let Some(folder) = like.get_current_dir() {
            command.current_dir(folder);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// `meow` for this person on this machine.
    pub(super) fn meow<S: AsRef<OsStr>>(&self, person: &Person, args: impl IntoIterator<Item = S>) -> Run {
        Run::of(self.command(person.command().arg("--json").args(args)).output().unwrap())
    }

    /// `meow receive --follow` of this person, dialled by contacts at a port of this machine.
    pub(super) fn listen(&self, person: &Person) -> Running {
        let mut command = person.command();
        command
            .args(["--json", "receive", "--follow", "--listen"])
            .arg(format!("udp://{}:41325", self.address));
        Running::of(&mut self.command(&command))
    }

    /// `meow receive --follow` of this person.
    pub(super) fn follow(&self, person: &Person) -> Running {
        let mut command = person.command();
        command.args(["--json", "receive", "--follow"]);
        Running::of(&mut self.command(&command))
    }

    /// From now on nothing leaves this machine for these; what was dropped before may.
    pub(super) fn cut(&self, from: &[&Machine]) {
        let nft = |args: &[&str]| run("ip", &[&["netns", "exec", &self.name, "nft"], args].concat());
        nft(&["add", "table", "ip", "cut"]);
        nft(&["flush", "table", "ip", "cut"]);
        nft(&["add", "chain", "ip", "cut", "out", "{ type filter hook output priority 0 ; }"]);
        for machine in from {
            nft(&["add", "rule", "ip", "cut", "out", "ip", "daddr", &machine.address, "reject"]);
        }
    }

    pub(super) fn watch(&self, folder: &Path) -> Capture {
        self.watch_what("inout", folder)
    }

    /// What leaves this machine alone: others may not know yet that it does not answer.
    pub(super) fn watch_leaving(&self, folder: &Path) -> Capture {
        self.watch_what("out", folder)
    }

    fn watch_what(&self, way: &str, folder: &Path) -> Capture {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let file = folder.join(format!("{}.{}.capture", self.name, NEXT.fetch_add(1, Ordering::Relaxed)));
        let mut child = Command::new("ip")
            .args(["netns", "exec", &self.name, "tcpdump", "--immediate-mode", "-i", "eth0"])
            .args(["-Q", way, "-nn", "-l", "-q", "-t", ALL])
            .stdout(File::create(&file).unwrap())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It says so once it listens.
        let mut said = String::new();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        while !said.contains("listening on") {
            said.clear();
            assert!(lines.read_line(&mut said).unwrap() > 0, "tcpdump ended");
        }
        // Whatever else it says goes nowhere, and must not stop it.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Capture { child, file, own: self.address.clone() }
    }
}

/// What passes a machine's interface.
pub(super) struct Capture {
    pub(super) child: Child,
    pub(super) file: PathBuf,
    pub(super) own: String,
}

impl Capture {
    /// With whom the machine exchanged packets so far: `IP 10.77.0.1.40000 > 10.77.0.21.8080: tcp 100`. What is no packet of
    /// IPv4 from one to another stands there as it is.
    pub(super) fn met(&self) -> BTreeSet<String> {
        let text = fs::read_to_string(&self.file).unwrap();
        let host = |end: &str| end.trim_end_matches(':').split('.').take(4).collect::<Vec<_>>().join(".");
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let ends = whole.lines().flat_map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["IP", from, ">", to, ..] => vec![host(from), host(to)],
            _ => vec![line.to_owned()],
        });
        ends.filter(|host| *host != self.own).collect()
    }
}

impl Capture {
    /// From whom the machine got packets of a chain: what servers ask each other for the directory is shorter.
    pub(super) fn chains_from(&self) -> BTreeSet<String> {
        let text = fs::read_to_string(&self.file).unwrap();
        let from = text.lines().filter_map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let [_, from, ">", _, "tcp", payload] = words[..] else { return None };
            (payload.parse::<u64>().unwrap() > 1000).then(|| from.rsplit_once('.').unwrap().0.to_owned())
        });
        from.filter(|host| *host != self.own).collect()
    }

    /// Lengths of the udp datagrams that this machine sent to that one.
    pub(super) fn datagrams_to(&self, other: &Machine) -> Vec<u64> {
        self.sent_to(
            other,
            |rest| if let ["UDP,", "length", length] = rest { length.parse().ok() } else { None },
        )
    }

    /// Lengths of what this machine sent to that one over tcp, without any headers.
    pub(super) fn payloads_to(&self, other: &Machine) -> Vec<u64> {
        self.sent_to(other, |rest| if let ["tcp", payload] = rest { payload.parse().ok() } else { None })
    }

    pub(super) fn sent_to(&self, other: &Machine, length: impl Fn(&[&str]) -> Option<u64>) -> Vec<u64> {
        let ends = [&self.own, &other.address].map(|address| format!("{address}."));
        let text = fs::read_to_string(&self.file).unwrap();
        let lengths = text.lines().filter_map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let [_, from, ">", to, rest @ ..] = &words[..] else { return None };
            let sent = from.starts_with(&ends[0]) && to.starts_with(&ends[1]);
            sent.then(|| length(rest)).flatten()
        });
        lengths.collect()
    }

    /// Bytes that went to these machines over tcp and bytes that came from them, with the headers of IP and TCP.
    pub(super) fn bytes(&self, with: &[&Machine]) -> [u64; 2] {
        self.bytes_where(with, false)
    }

    /// The same over udp too.
    pub(super) fn all_bytes(&self, with: &[&Machine]) -> [u64; 2] {
        self.bytes_where(with, true)
    }

    fn bytes_where(&self, with: &[&Machine], udp: bool) -> [u64; 2] {
        let mut bytes = [0, 0];
        for line in fs::read_to_string(&self.file).unwrap().lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            let (from, to, payload, each, head) = match words[..] {
                [_, from, ">", to, "tcp", payload, ..] => (from, to, payload, 1448, 52),
                [_, from, ">", to, "UDP,", "length", length] if udp => (from, to, length, 1472, 28),
                _ => continue,
            };
            let is = |end: &str, address: &str| end.starts_with(&format!("{address}."));
            if !with.iter().any(|other| is(from, &other.address) || is(to, &other.address)) {
                continue;
            }
            let (came, payload) = (!is(from, &self.own), payload.parse::<u64>().unwrap());
            // Here a segment can be longer than on any wire: it is cut there.
            bytes[usize::from(came)] += payload + head * payload.div_ceil(each).max(1);
        }
        bytes
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A relay on a machine of its own.
pub(super) struct Relay {
    pub(super) child: Child,
    pub(super) reference: String,
}

impl Relay {
    pub(super) fn start(on: &Machine, data: &Path, more: &[String]) -> Self {
        Self::listening(on, data, &format!("http://{}:8080", on.address), more, None)
    }

    /// One that listens there, and trusts these authorities in the place of the system's.
    pub(super) fn listening(
        on: &Machine,
        data: &Path,
        listen: &str,
        more: &[String],
        authorities: Option<&Path>,
    ) -> Self {
        let mut like = Command::new(meowd());
        like.args([OsStr::new("run"), OsStr::new("--data"), data.as_os_str()]);
        like.args(["--listen", listen, "--admission", "open"]).args(more).env("MEOWD_LOG_LEVEL", "error");
        like.envs(authorities.map(|file| ("SSL_CERT_FILE", file)));
        let mut command = on.command(&like);
        let mut child = command.stderr(Stdio::inherit()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let reference = line.strip_prefix("ready ").expect("a ready line").trim().to_owned();
        Self { child, reference }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
