//! Debian's mosquitto as a process of its own.

use std::fs::{self, Permissions};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

const PLACES: [&str; 3] = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/usr/bin/mosquitto"];
/// What Debian's package brings, where it is not installed from one.
const PACKAGED: &str = "persistence true\npersistence_location /var/lib/mosquitto/\n";
/// Longest that it takes to start on a slow machine.
const STARTS: Duration = Duration::from_secs(60);

/// A mosquitto; ended when dropped.
#[derive(Debug)]
pub struct Mosquitto {
    program: PathBuf,
    address: SocketAddr,
    folder: TempDir,
    child: Child,
}

impl Mosquitto {
    /// Started with what `config` makes of a folder of its own; a listener has to be at `address`. `None` where it is not
    /// installed, which is said on standard error.
    ///
    /// # Errors
    /// What `config` or the system meets, and `NotFound` where it is missing though `MEOW_REQUIRE_SERVICES` is 1.
    pub fn start(
        address: SocketAddr,
        config: impl FnOnce(&Path) -> io::Result<String>,
    ) -> io::Result<Option<Self>> {
        let Some(program) = PLACES.into_iter().map(PathBuf::from).find(|path| path.exists()) else {
            return missing();
        };
        let folder = tempfile::tempdir()?;
        // Started by root it becomes another user, who has to read and write here.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777))?;
        let config = config(folder.path())?;
        readable(folder.path(), "mosquitto.conf", &config)?;
        let child = spawn(&program, folder.path())?;
        let mut broker = Self { program, address, folder, child };
        broker.wait()?;
        Ok(Some(broker))
    }

    /// Without accounts and memory beyond its process.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn plain(address: SocketAddr) -> io::Result<Option<Self>> {
        Self::start(address, |_| Ok(listener(address)))
    }

    /// As Debian's package configures it, with a listener more. Its files go into a folder of the test, and what the
    /// administrator of this machine added stays out.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn packaged(address: SocketAddr) -> io::Result<Option<Self>> {
        Self::start(address, |folder| {
            let packaged = match fs::read_to_string("/etc/mosquitto/mosquitto.conf") {
                Err(e) if e.kind() == io::ErrorKind::NotFound => PACKAGED.to_owned(),
                packaged => packaged?,
            };
            let ours = |line: &&str| !line.starts_with("include_dir") && !line.starts_with("log_dest file");
            let line = |line: &str| match line.split_whitespace().next() {
                Some("persistence_location") => format!("persistence_location {}/\n", folder.display()),
                Some("pid_file") => format!("pid_file {}/mosquitto.pid\n", folder.display()),
                _ => format!("{line}\n"),
            };
            let kept: String = packaged.lines().filter(ours).map(line).collect();
            Ok(kept + &listener(address))
        })
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// What the system meets.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Starts it again with the same configuration.
    ///
    /// # Errors
    /// What the system meets.
    pub fn again(&mut self) -> io::Result<()> {
        self.child = spawn(&self.program, self.folder.path())?;
        self.wait()
    }

    fn wait(&mut self) -> io::Result<()> {
        let began = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("mosquitto does not start: {status}")));
            }
            if began.elapsed() > STARTS {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "mosquitto does not start in time"));
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file in the folder that mosquitto may read whoever it is; gives its path, to be named in the configuration.
///
/// # Errors
/// What the system meets.
pub fn readable(folder: &Path, name: &str, content: &str) -> io::Result<PathBuf> {
    let path = folder.join(name);
    fs::write(&path, content)?;
    fs::set_permissions(&path, Permissions::from_mode(0o644))?;
    Ok(path)
}

fn listener(address: SocketAddr) -> String {
    format!("allow_anonymous true\nlistener {} {}\n", address.port(), address.ip())
}

fn spawn(program: &Path, folder: &Path) -> io::Result<Child> {
    let mut command = Command::new(program);
    command.arg("-c").arg(folder.join("mosquitto.conf"));
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}

#[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
fn missing() -> io::Result<Option<Mosquitto>> {
    if std::env::var("MEOW_REQUIRE_SERVICES").is_ok_and(|value| value == "1") {
        let text = "mosquitto is missing, and MEOW_REQUIRE_SERVICES=1";
        return Err(io::Error::new(io::ErrorKind::NotFound, text));
    }
    eprintln!("SKIPPED: mosquitto is not installed (apt-get install mosquitto)");
    Ok(None)
}
