//! Machines of their own for the parts of a bench: network namespaces on one bridge, which need root and the tool `ip`.

use std::process::Command;

/// Namespaces on one bridge; they go when it does.
pub(crate) struct Net {
    prefix: String,
    names: Vec<String>,
}

fn ip(args: &[&str]) {
    let done = Command::new("ip").args(args).output().expect("the tool ip");
    assert!(done.status.success(), "ip {args:?} needs root: {}", String::from_utf8_lossy(&done.stderr));
}

impl Net {
    pub(crate) fn new() -> Self {
        let prefix = format!("meowbench{}", std::process::id());
        let hub = format!("{prefix}hub");
        ip(&["netns", "add", &hub]);
        let net = Self { prefix, names: vec![hub.clone()] };
        ip(&["-n", &hub, "link", "add", "br0", "type", "bridge"]);
        ip(&["-n", &hub, "link", "set", "br0", "up"]);
        net
    }

    /// A machine at 10.78.0.`last`, joined to the others by a pair of virtual interfaces.
    pub(crate) fn machine(&mut self, last: u8) -> Machine {
        let hub = format!("{}hub", self.prefix);
        let (name, port) = (format!("{}m{last}", self.prefix), format!("v{last}"));
        let address = format!("10.78.0.{last}");
        ip(&["netns", "add", &name]);
        self.names.push(name.clone());
        ip(&["-n", &name, "link", "add", "eth0", "type", "veth", "peer", "name", &port, "netns", &hub]);
        ip(&["-n", &hub, "link", "set", &port, "master", "br0", "up"]);
        ip(&["-n", &name, "addr", "add", &format!("{address}/24"), "dev", "eth0"]);
        ip(&["-n", &name, "link", "set", "lo", "up"]);
        ip(&["-n", &name, "link", "set", "eth0", "up"]);
        Machine { name, address }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in &self.names {
            // What ran there was ended before; a namespace that stays is an empty name.
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

pub(crate) struct Machine {
    name: String,
    pub(crate) address: String,
}

impl Machine {
    /// This program on this machine. The tool takes the program's place, so both are one process.
    pub(crate) fn own(&self) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(std::env::current_exe().unwrap());
        command
    }
}
