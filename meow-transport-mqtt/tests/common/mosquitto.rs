//! Debian's mosquitto with a listener, one with TLS, and an account where a test wants one.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;

use meow_testkit::mqtt::{self, readable};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

pub(crate) struct Mosquitto {
    pub(crate) port: u16,
    pub(crate) tls_port: u16,
    /// The authority of its certificate.
    pub(crate) authority: Vec<u8>,
    broker: mqtt::Mosquitto,
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Mosquitto {
    /// With an account, it wants that user and password. `None`, loudly, where it is not installed.
    pub(crate) fn start(account: Option<(&str, &str)>) -> Option<Self> {
        Self::configured(account, "")
    }

    /// The same with more lines of configuration.
    pub(crate) fn configured(account: Option<(&str, &str)>, more: &str) -> Option<Self> {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
        let (port, tls_port) = (free_port(), free_port());
        let broker = mqtt::Mosquitto::start((Ipv4Addr::LOCALHOST, port).into(), |folder| {
            let file = |name: &str, content: &str| {
                Ok::<_, std::io::Error>(readable(folder, name, content)?.display().to_string())
            };
            let access = match account {
                None => "allow_anonymous true".to_owned(),
                Some((user, password)) => {
                    let path = file("passwords", &format!("{user}:{password}\n"))?;
                    let hashed = Command::new("mosquitto_passwd").args(["-U", &path]).status()?;
                    assert!(hashed.success());
                    // It is a new file now.
                    readable(folder, "passwords", &std::fs::read_to_string(&path)?)?;
                    format!("allow_anonymous false\npassword_file {path}")
                }
            };
            Ok(format!(
                "{access}\n{more}\nlistener {port} 127.0.0.1\nlistener {tls_port} 127.0.0.1\ncertfile {}\nkeyfile {}\ncafile {}\n",
                file("certificate.pem", &certificate.pem())?,
                file("key.pem", &key.serialize_pem())?,
                file("authority.pem", &authority.pem())?,
            ))
        });
        let authority = authority.pem().into_bytes();
        Some(Self { port, tls_port, authority, broker: broker.unwrap()? })
    }

    pub(crate) fn url(&self, prefix: &str) -> String {
        format!("mqtt://127.0.0.1:{}/{prefix}", self.port)
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.broker.kill().unwrap();
    }

    /// On the same ports, with nothing of what it knew.
    pub(crate) fn again(&mut self) {
        self.broker.again().unwrap();
    }
}
