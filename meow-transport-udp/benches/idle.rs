//! Memory of idle connections: `meowd` beside a bare quinn server, each a process of its own, holding the same clients.
//!
//! `MEOWD=path/to/meowd cargo bench -p meow-transport-udp --bench idle [-- COUNT]` opens COUNT connections (10,000) to each
//! server, one after the other, waits until memory has settled, sees that all of them are still there, and prints the
//! resident memory of the server for each connection. The clients are bare quinn in a third process, which sends from
//! many addresses of the loopback network: a relay takes 128 connections of one. They send nothing but signs of life.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::panic, reason = "a bench")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

#[path = "../tests/common/bare.rs"]
mod bare;

/// Connections from one address, below what a relay allows.
const EACH: usize = 100;
/// Handshakes at once.
const AT_ONCE: usize = 32;
/// Longer than the sign of life of every connection.
const SETTLE: Duration = Duration::from_secs(20);

fn main() {
    // Cargo adds an argument of its own.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["bare"] => runtime().block_on(serve_bare()),
        ["clients", to, count] => runtime().block_on(clients(to.parse().unwrap(), count.parse().unwrap())),
        [] => compare(10_000),
        [count] => compare(count.parse().expect("a number of connections")),
        _ => panic!("give a number of connections, or nothing"),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    // As many as meowd has.
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn compare(count: usize) {
    let meowd = std::env::var_os("MEOWD").expect("MEOWD names the program meowd");
    let debug = Path::new(&meowd).components().any(|part| part.as_os_str() == "debug");
    assert!(!debug, "a debug build takes more memory than what people run: build meowd with --release");
    let data = std::env::temp_dir().join(format!("meow-idle-{}", std::process::id()));
    let bare = measure(Command::new(std::env::current_exe().unwrap()).arg("bare"), count);
    let open = (2 * count).to_string();
    let meow = measure(
        Command::new(Path::new(&meowd))
            .args(["run", "--listen", "udp://127.0.0.1:0", "--max-open", &open, "--data"])
            .arg(&data),
        count,
    );
    std::fs::remove_dir_all(&data).unwrap();
    let each = |(before, after): (f64, f64)| (after - before) / count as f64;
    for (name, kib) in [("bare quinn", bare), ("meowd", meow)] {
        println!(
            "{name}: {:.1} MiB without, {:.1} MiB with {count} idle connections: {:.1} KiB each",
            kib.0 / 1024.0,
            kib.1 / 1024.0,
            each(kib)
        );
    }
    println!("meowd beyond bare quinn: {:.1} KiB for each connection", each(meow) - each(bare));
}

/// Resident memory of a server in KiB, without and with the connections.
fn measure(command: &mut Command, count: usize) -> (f64, f64) {
    let mut server = Process::start(command);
    let ready = server.line();
    let (_, place) = ready.split_once("udp://").unwrap_or_else(|| panic!("not ready: {ready}"));
    let address = place.split(['/', '#']).next().unwrap();
    // What a first connection takes is not counted.
    let first = Process::clients(address, 1);
    let before = server.resident();
    drop(first);
    let mut clients = Process::clients(address, count);
    std::thread::sleep(SETTLE);
    let after = server.resident();
    assert_eq!(clients.count(), count, "some connections are gone");
    (before, after)
}

struct Process {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Process {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    /// The clients, once they are connected.
    fn clients(to: &str, count: usize) -> Self {
        let count = count.to_string();
        let mut this =
            Self::start(Command::new(std::env::current_exe().unwrap()).args(["clients", to, &count]));
        assert_eq!(this.line(), "up");
        this
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// How many connections the clients still have.
    fn count(&mut self) -> usize {
        writeln!(self.child.stdin.as_mut().unwrap()).unwrap();
        self.line().parse().unwrap()
    }

    fn resident(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn serve_bare() {
    let endpoint = bare::server();
    println!("ready udp://{}/", endpoint.local_addr().unwrap());
    let mut held = JoinSet::new();
    while let Some(incoming) = endpoint.accept().await {
        held.spawn(async move {
            let connection = incoming.await.unwrap();
            // Waits for streams, as a server does; none come.
            while connection.accept_bi().await.is_ok() {}
        });
    }
}

async fn clients(to: SocketAddr, count: usize) {
    let (config, turns) = (bare::client(), Arc::new(Semaphore::new(AT_ONCE)));
    let mut dialling = JoinSet::new();
    let mut endpoints = Vec::new();
    for n in 0..count {
        if n % EACH == 0 {
            let [_, _, high, low] = u32::try_from(n / EACH).unwrap().to_be_bytes();
            let from = SocketAddr::from((Ipv4Addr::new(127, 1, high, low + 1), 0));
            endpoints.push(quinn::Endpoint::client(from).unwrap());
        }
        let (endpoint, config, turns) = (endpoints[n / EACH].clone(), config.clone(), Arc::clone(&turns));
        dialling.spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            endpoint.connect_with(config, to, "meow").unwrap().await.unwrap()
        });
    }
    let connections = dialling.join_all().await;
    println!("up");
    let mut line = String::new();
    while std::io::stdin().read_line(&mut line).unwrap() > 0 {
        println!("{}", connections.iter().filter(|connection| connection.close_reason().is_none()).count());
    }
}
