//! Debian's mosquitto with the configuration that its package brings, and a listener.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// What the package brings, where it is not installed from one.
const DEFAULT: &str = "persistence true\npersistence_location /var/lib/mosquitto/\n";

/// A broker of its own process; ended when dropped.
pub(crate) struct Mosquitto {
    child: Child,
    _folder: TempDir,
}

impl Mosquitto {
    /// `None`, loudly, where it is not installed; a failure where services are required.
    pub(crate) fn start(address: Ipv4Addr, port: u16) -> Option<Self> {
        let places = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/usr/bin/mosquitto"];
        let Some(program) = places.into_iter().map(PathBuf::from).find(|path| path.exists()) else {
            let required = std::env::var("MEOW_REQUIRE_SERVICES").is_ok_and(|value| value == "1");
            assert!(!required, "mosquitto is missing, and MEOW_REQUIRE_SERVICES=1");
            eprintln!("SKIPPED: mosquitto is not installed (apt-get install mosquitto)");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        // Started by root it becomes another user, who has to read and write here.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let packaged = fs::read_to_string("/etc/mosquitto/mosquitto.conf").unwrap_or(DEFAULT.to_owned());
        // Its files go into a folder of the test. What the administrator of this machine added stays out.
        let ours = |line: &&str| !line.starts_with("include_dir") && !line.starts_with("log_dest file");
        let mut config: Vec<String> = packaged.lines().filter(ours).map(str::to_owned).collect();
        for line in &mut config {
            for (option, name) in [("persistence_location", ""), ("pid_file", "mosquitto.pid")] {
                if line.split_whitespace().next() == Some(option) {
                    *line = format!("{option} {}/{name}", folder.path().display());
                }
            }
        }
        config.push(format!("allow_anonymous true\nlistener {port} {address}\n"));
        let file = folder.path().join("mosquitto.conf");
        fs::write(&file, config.join("\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let mut command = Command::new(program);
        let child = command.arg("-c").arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut broker = Self { child, _folder: folder };
        let began = Instant::now();
        while TcpStream::connect((address, port)).is_err() {
            let ended = broker.child.try_wait().unwrap();
            assert!(ended.is_none() && began.elapsed() < Duration::from_secs(30), "mosquitto does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(broker)
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
