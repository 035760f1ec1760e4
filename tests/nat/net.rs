//! Networks of namespaces: a relay in the middle, and people behind routers that translate addresses.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Every namespace of a network.
const ROLES: [&str; 6] = ["alice", "bob", "router0", "router1", "relay", "wan"];

fn run(program: &str, args: &str) -> Result<String, String> {
    let done = Command::new(program).args(args.split_whitespace()).output().map_err(|e| e.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if done.status.success() { Ok(text(&done.stdout)) } else { Err(text(&done.stderr)) }
}

fn ip(args: &str) -> Result<String, String> {
    run("ip", args)
}

/// A network; `None` where this machine makes none.
pub(crate) fn made(build: impl FnOnce(&Net) -> Result<(), String>) -> Option<Net> {
    match Net::new().and_then(|net| build(&net).map(|()| net)) {
        Ok(net) => Some(net),
        Err(e) if std::env::var("MEOW_REQUIRE_SERVICES").is_ok_and(|v| v == "1") => {
            panic!("no namespaces: {e}")
        }
        Err(e) => {
            eprintln!("SKIPPED: this machine makes no network namespaces with nftables: {e}");
            None
        }
    }
}

/// A relay in the middle, and two routers at whose other sides people are.
pub(crate) struct Net {
    name: String,
}

impl Net {
    /// # Errors
    /// What keeps this machine from having such a network.
    fn new() -> Result<Self, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let net = Self { name: format!("meow{}n{number}", std::process::id()) };
        for role in ROLES {
            ip(&format!("netns add {}", net.space(role)))?;
            ip(&format!("-n {} link set lo up", net.space(role)))?;
        }
        let wan = net.space("wan");
        ip(&format!("-n {wan} link add switch type bridge"))?;
        ip(&format!("-n {wan} link set switch up"))?;
        for (n, role) in [(1, "relay"), (2, "router0"), (3, "router1")] {
            let there = net.space(role);
            ip(&format!("-n {wan} link add port{n} type veth peer name wan netns {there}"))?;
            ip(&format!("-n {wan} link set port{n} master switch up"))?;
            ip(&format!("-n {there} addr add 11.0.0.{n}/24 dev wan"))?;
            ip(&format!("-n {there} link set wan up"))?;
        }
        Ok(net)
    }

    /// Everybody behind a router of their own.
    pub(crate) fn behind_routers(&self, masquerade: [&str; 2]) -> Result<(), String> {
        for (n, (role, how)) in [("alice", masquerade[0]), ("bob", masquerade[1])].into_iter().enumerate() {
            let (router, inside) = (self.space(&format!("router{n}")), self.space(role));
            ip(&format!("-n {router} link add lan type veth peer name eth netns {inside}"))?;
            self.inside(role, n, 2)?;
            self.router(n, how)?;
        }
        Ok(())
    }

    /// Both in one home: on a bridge behind one router.
    pub(crate) fn on_one_lan(&self) -> Result<(), String> {
        let router = self.space("router0");
        ip(&format!("-n {router} link add lan type bridge"))?;
        for (n, role) in [(2, "alice"), (3, "bob")] {
            ip(&format!("-n {router} link add {role} type veth peer name eth netns {}", self.space(role)))?;
            ip(&format!("-n {router} link set {role} master lan up"))?;
            self.inside(role, 0, n)?;
        }
        self.router(0, "masquerade")
    }

    /// Keeps the two from each other, and neither from the router, as a wifi with isolated guests does.
    pub(crate) fn cut_lan(&self) -> Result<(), String> {
        for role in ["alice", "bob"] {
            let router = self.space("router0");
            ip(&format!("-n {router} link set dev {role} type bridge_slave isolated on"))?;
        }
        Ok(())
    }

    /// Bytes that a place of the first router has sent: `bob` is towards Bob, `wan` towards everybody else.
    pub(crate) fn sent_to(&self, place: &str) -> u64 {
        let router = self.space("router0");
        let file = format!("/sys/class/net/{place}/statistics/tx_bytes");
        run("ip", &format!("netns exec {router} cat {file}")).unwrap().trim().parse().unwrap()
    }

    fn inside(&self, role: &str, lan: usize, host: u8) -> Result<(), String> {
        let inside = self.space(role);
        ip(&format!("-n {inside} addr add 10.{lan}.0.{host}/24 dev eth"))?;
        ip(&format!("-n {inside} link set eth up"))?;
        ip(&format!("-n {inside} route add default via 10.{lan}.0.1")).map(|_| ())
    }

    fn router(&self, n: usize, how: &str) -> Result<(), String> {
        let router = self.space(&format!("router{n}"));
        ip(&format!("-n {router} addr add 10.{n}.0.1/24 dev lan"))?;
        ip(&format!("-n {router} link set lan up"))?;
        ip(&format!("netns exec {router} sysctl -q -w net.ipv4.ip_forward=1"))?;
        // As at home: out with the router's address, in with nothing that was not asked for.
        let rules = format!(
            "table ip meow {{
                chain out {{ type nat hook postrouting priority 100; oifname \"wan\" {how}; }}
                chain in {{ type filter hook input priority 0; iifname \"wan\" ct state new drop; }}
                chain through {{ type filter hook forward priority 0; iifname \"wan\" ct state new drop; }}
            }}"
        );
        let mut nft = Command::new("ip")
            .args(["netns", "exec", &router, "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .map_err(|e| e.to_string())?;
        std::io::Write::write_all(&mut nft.stdin.take().unwrap(), rules.as_bytes())
            .map_err(|e| e.to_string())?;
        if nft.wait().map_err(|e| e.to_string())?.success() {
            Ok(())
        } else {
            Err("nft refuses the rules".into())
        }
    }

    fn space(&self, role: &str) -> String {
        format!("{}-{role}", self.name)
    }

    /// Starts this program again, in the namespace `place`.
    pub(crate) fn start(&self, place: &str, role: &str, folder: &Path) -> Child {
        Command::new("ip")
            .args(["netns", "exec", &self.space(place)])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "role", "--nocapture"])
            .env("MEOW_NAT_ROLE", role)
            .env("MEOW_NAT_FOLDER", folder)
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for role in ROLES {
            // It may not have come so far.
            let _ = ip(&format!("netns del {}", self.space(role)));
        }
    }
}
