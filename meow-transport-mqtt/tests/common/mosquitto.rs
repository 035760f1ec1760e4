//! Debian's mosquitto as a process of its own, with its defaults and listeners on free ports.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

pub(crate) struct Mosquitto {
    pub(crate) port: u16,
    /// Of the listener with TLS, where there is one.
    pub(crate) tls_port: u16,
    /// The authority of its certificate.
    pub(crate) authority: Vec<u8>,
    program: PathBuf,
    folder: TempDir,
    child: Child,
}

/// The program, or a loud word that a test is skipped; where services are required, a failure.
fn program() -> Option<PathBuf> {
    let places = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/usr/bin/mosquitto"];
    let found = places.into_iter().map(PathBuf::from).find(|path| path.exists());
    if found.is_none() {
        let required = std::env::var("MEOW_REQUIRE_SERVICES").is_ok_and(|value| value == "1");
        assert!(!required, "mosquitto is missing, and MEOW_REQUIRE_SERVICES=1");
        eprintln!("SKIPPED: mosquitto is not installed (apt-get install mosquitto)");
    }
    found
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Mosquitto {
    /// With an account, it wants that user and password.
    pub(crate) fn start(account: Option<(&str, &str)>) -> Option<Self> {
        let program = program()?;
        let folder = tempfile::tempdir().unwrap();
        // Started by root it becomes another user, who has to read these.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
        let file = |name: &str, content: &str| {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            path.display().to_string()
        };
        let (port, tls_port) = (free_port(), free_port());
        let access = match account {
            None => "allow_anonymous true".to_owned(),
            Some((user, password)) => {
                let path = file("passwords", &format!("{user}:{password}\n"));
                let hashed = Command::new("mosquitto_passwd").args(["-U", &path]).status().unwrap();
                assert!(hashed.success());
                fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
                format!("allow_anonymous false\npassword_file {path}")
            }
        };
        let config = format!(
            "{access}\nset_tcp_nodelay true\nlistener {port} 127.0.0.1\nlistener {tls_port} 127.0.0.1\ncertfile {}\nkeyfile {}\ncafile {}\n",
            file("certificate.pem", &certificate.pem()),
            file("key.pem", &key.serialize_pem()),
            file("authority.pem", &authority.pem()),
        );
        file("mosquitto.conf", &config);
        let child = spawn(&program, &folder);
        let authority = authority.pem().into_bytes();
        let mosquitto = Self { port, tls_port, authority, program, folder, child };
        mosquitto.wait();
        Some(mosquitto)
    }

    pub(crate) fn url(&self, prefix: &str) -> String {
        format!("mqtt://127.0.0.1:{}/{prefix}", self.port)
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// On the same ports, with nothing of what it knew.
    pub(crate) fn again(&mut self) {
        self.child = spawn(&self.program, &self.folder);
        self.wait();
    }

    fn wait(&self) {
        let began = Instant::now();
        while TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], self.port))).is_err() {
            assert!(began.elapsed() < Duration::from_secs(30), "mosquitto does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn spawn(program: &PathBuf, folder: &TempDir) -> Child {
    Command::new(program)
        .arg("-c")
        .arg(folder.path().join("mosquitto.conf"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
