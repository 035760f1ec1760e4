//! The options of `run`: from the command line and the environment (clap), and from a TOML file under the same names.

use std::fs;
use std::io;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::ValueEnum;
use meow_core::lane::ServerReference;
use meow_core::transport::{AddressBlock, Endpoint};
use meow_core::{Error, ErrorKind, Result};
use meow_server::Admission;
use meow_transport_http::Network;
use serde::{Deserialize, Deserializer};

use crate::units::Bytes;

/// The file that is read from the data folder where no other is named.
const CONFIG_FILE: &str = "meowd.toml";

/// Who may open a mailbox without an invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Admit {
    /// Who asks from this machine
    Loopback,
    /// Nobody
    Invited,
    /// Everybody
    Open,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// Every option. What is not given is `None`, so that sources can be laid over each other.
#[derive(Debug, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Settings {
    /// The folder for key, store and lock; made if it is not there [default: /var/lib/meowd]
    #[arg(long, value_name = "DIR", env = "MEOWD_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// Where to listen: http://ADDRESS:PORT, https://..., udp://... (QUIC), mqtt://BROKER/PREFIX and mqtts://... (through a broker), or serial:///dev/ttyUSB0?baud=57600 (a line or radio); several times, or separated by commas [default: http://127.0.0.1:8080]
    #[arg(long, value_name = "URL", env = "MEOWD_LISTEN", value_delimiter = ',')]
    pub(crate) listen: Option<Vec<Endpoint>>,
    /// How clients reach the relay, where that differs from --listen; the first is the one in the reference
    #[arg(long, value_name = "URL", env = "MEOWD_PUBLIC_URL", value_delimiter = ',')]
    pub(crate) public_url: Option<Vec<Endpoint>>,
    /// Certificate chain for https, PEM
    #[arg(long, value_name = "FILE", env = "MEOWD_TLS_CERT", help_heading = "HTTP")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Private key of the certificate, PEM
    #[arg(long, value_name = "FILE", env = "MEOWD_TLS_KEY", help_heading = "HTTP")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Lets in only who names a user and password of this file: one user:password in each line
    #[arg(long, value_name = "FILE", env = "MEOWD_BASIC_AUTH_FILE", help_heading = "HTTP")]
    pub(crate) basic_auth_file: Option<PathBuf>,
    /// Reverse proxies whose X-Forwarded-For is believed: addresses or blocks like 10.0.0.0/8 [default: 127.0.0.0/8,::1]
    #[arg(
        long,
        value_name = "IP",
        env = "MEOWD_TRUSTED_PROXY",
        value_delimiter = ',',
        help_heading = "HTTP"
    )]
    #[serde(deserialize_with = "texts")]
    pub(crate) trusted_proxy: Option<Vec<Network>>,
    /// Serves as a hop: takes onion packets, and sends them on to the servers of --hop-to [default: no]
    #[arg(long, env = "MEOWD_HOP", num_args = 0..=1, default_missing_value = "true", require_equals = true,
        value_name = "BOOL", help_heading = "Onion chains")]
    pub(crate) hop: Option<bool>,
    /// A server that onion packets may go to: its reference, URL#skp=FINGERPRINT
    #[arg(
        long,
        value_name = "REFERENCE",
        env = "MEOWD_HOP_TO",
        value_delimiter = ',',
        help_heading = "Onion chains"
    )]
    #[serde(deserialize_with = "texts")]
    pub(crate) hop_to: Option<Vec<ServerReference>>,
    /// A network that onion packets may go to though it is not public, as 10.0.0.0/8
    #[arg(
        long,
        value_name = "NETWORK",
        env = "MEOWD_HOP_ALLOW",
        value_delimiter = ',',
        help_heading = "Onion chains"
    )]
    #[serde(deserialize_with = "texts")]
    pub(crate) hop_allow: Option<Vec<AddressBlock>>,
    /// How many times the rate and the memory of an address a server of --hop-to has, when it sends packets on from an address that is known as its own [default: 16]
    #[arg(long, value_name = "N", env = "MEOWD_HOP_SERVER_SHARE", help_heading = "Onion chains")]
    pub(crate) hop_server_share: Option<u32>,
    /// How much the packets under way take in memory at most [default: 16MiB]
    #[arg(long, value_name = "SIZE", env = "MEOWD_HOP_MEMORY", help_heading = "Onion chains")]
    pub(crate) hop_memory: Option<Bytes>,
    /// How many links are held open for an answer [default: 2048]
    #[arg(long, value_name = "N", env = "MEOWD_HOP_HELD", help_heading = "Onion chains")]
    pub(crate) hop_held: Option<u32>,
    /// How many packets are taken for the key of a day: about 35 bytes of memory and 28 on disk each, kept for two days [default: 1000000]
    #[arg(long, value_name = "N", env = "MEOWD_HOP_TAGS", help_heading = "Onion chains")]
    pub(crate) hop_tags: Option<u32>,
    /// Who may open a mailbox without an invitation [default: loopback]
    #[arg(
        long,
        value_name = "WHO",
        env = "MEOWD_ADMISSION",
        value_enum,
        help_heading = "Admission and limits"
    )]
    pub(crate) admission: Option<Admit>,
    /// How much all mail together may take on disk, about [default: 4GiB]
    #[arg(long, value_name = "SIZE", env = "MEOWD_STORE_LIMIT", help_heading = "Admission and limits")]
    pub(crate) store_limit: Option<Bytes>,
    /// How much one mailbox holds [default: 64MiB]
    #[arg(long, value_name = "SIZE", env = "MEOWD_MAILBOX_LIMIT", help_heading = "Admission and limits")]
    pub(crate) mailbox_limit: Option<Bytes>,
    /// How many items one mailbox holds [default: 10000]
    #[arg(long, value_name = "N", env = "MEOWD_MAILBOX_ITEMS", help_heading = "Admission and limits")]
    pub(crate) mailbox_items: Option<u32>,
    /// How many days mail is kept that nobody fetches [default: 30]
    #[arg(long, value_name = "N", env = "MEOWD_KEEP_DAYS", help_heading = "Admission and limits")]
    pub(crate) keep_days: Option<u16>,
    /// How many seconds a pull is held open at most; less than a proxy's patience [default: 50]
    #[arg(long, value_name = "N", env = "MEOWD_HOLD_SECS", help_heading = "Admission and limits")]
    pub(crate) hold_secs: Option<u16>,
    /// How many requests may be open at once, held pulls included [default: 4096]
    #[arg(long, value_name = "N", env = "MEOWD_MAX_OPEN", help_heading = "Admission and limits")]
    pub(crate) max_open: Option<u32>,
    /// How many requests are worked on at once [default: 512]
    #[arg(long, value_name = "N", env = "MEOWD_MAX_ACTIVE", help_heading = "Admission and limits")]
    pub(crate) max_active: Option<u32>,
    /// How many of them may be of one address; this machine is exempt [default: 64]
    #[arg(long, value_name = "N", env = "MEOWD_ACTIVE_PER_ADDRESS", help_heading = "Admission and limits")]
    pub(crate) active_per_address: Option<u32>,
    /// How many QUIC connections one address may have open [default: 128]
    #[arg(
        long,
        value_name = "N",
        env = "MEOWD_CONNECTIONS_PER_ADDRESS",
        help_heading = "Admission and limits"
    )]
    pub(crate) connections_per_address: Option<NonZeroU32>,
    /// How many requests one address may make in a second, on average; this machine is exempt [default: 50]
    #[arg(long, value_name = "N", env = "MEOWD_RATE", help_heading = "Admission and limits")]
    pub(crate) rate: Option<u32>,
    /// How many requests one address may make at once after a pause [default: 200]
    #[arg(long, value_name = "N", env = "MEOWD_BURST", help_heading = "Admission and limits")]
    pub(crate) burst: Option<u32>,
    /// How many requests may come in a second, on average, through one --listen that shows no addresses (a broker, a line), from all its clients together [default: 2000]
    #[arg(long, value_name = "N", env = "MEOWD_LISTENER_RATE", help_heading = "Admission and limits")]
    pub(crate) listener_rate: Option<u32>,
    /// How many may come there at once after a pause [default: 8000]
    #[arg(long, value_name = "N", env = "MEOWD_LISTENER_BURST", help_heading = "Admission and limits")]
    pub(crate) listener_burst: Option<u32>,
    /// How many requests one client of a broker may make in a second, on average; four times as many at once [default: 100]
    #[arg(long, value_name = "N", env = "MEOWD_CHANNEL_RATE", help_heading = "Admission and limits")]
    pub(crate) channel_rate: Option<NonZeroU32>,
    /// How many sessions are kept, about 8 KiB each; 0 grants none [default: 4096]
    #[arg(long, value_name = "N", env = "MEOWD_SESSIONS", help_heading = "Admission and limits")]
    pub(crate) sessions: Option<u32>,
    /// How many sessions one address may have; this machine is exempt [default: 256]
    #[arg(long, value_name = "N", env = "MEOWD_SESSIONS_PER_ADDRESS", help_heading = "Admission and limits")]
    pub(crate) sessions_per_address: Option<u32>,
    /// How many seconds a session lasts [default: 86400]
    #[arg(long, value_name = "SECONDS", env = "MEOWD_SESSION_TIME", help_heading = "Admission and limits")]
    pub(crate) session_time: Option<u32>,
    /// How many mailboxes may be shown as present, about 1.5 KiB each; 0 shows none [default: 4096]
    #[arg(long, value_name = "N", env = "MEOWD_PRESENCES", help_heading = "Admission and limits")]
    pub(crate) presences: Option<u32>,
    /// How many of them one address may have; this machine is exempt [default: 256]
    #[arg(
        long,
        value_name = "N",
        env = "MEOWD_PRESENCES_PER_ADDRESS",
        help_heading = "Admission and limits"
    )]
    pub(crate) presences_per_address: Option<u32>,
    /// How many seconds requests may take to end when the relay stops [default: 10]
    #[arg(long, value_name = "N", env = "MEOWD_STOP_SECS", help_heading = "Admission and limits")]
    pub(crate) stop_secs: Option<u16>,
    /// How logs are written [default: text]
    #[arg(long, value_name = "FORMAT", env = "MEOWD_LOG_FORMAT", value_enum, help_heading = "Logs")]
    pub(crate) log_format: Option<LogFormat>,
    /// What is logged at least [default: info]
    #[arg(long, value_name = "LEVEL", env = "MEOWD_LOG_LEVEL", value_enum, help_heading = "Logs")]
    pub(crate) log_level: Option<LogLevel>,
}

/// A list of texts, each parsed.
fn texts<'de, D, T>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: std::fmt::Display>,
{
    let texts = Vec::<String>::deserialize(deserializer)?;
    let parsed: Result<Vec<T>, _> = texts.iter().map(|text| text.parse()).collect();
    parsed.map(Some).map_err(serde::de::Error::custom)
}

/// Takes each field from the first that has it.
macro_rules! layered {
    ($over:ident, $under:ident: $($field:ident)*) => {
        Settings { $($field: $over.$field.or($under.$field)),* }
    };
}

impl Settings {
    /// These settings over those of the file: the one named, or else the one in the data folder.
    ///
    /// # Errors
    /// `Usage` for a file that does not parse or holds an unknown key.
    pub(crate) fn over_file(self, named: Option<&Path>) -> Result<Self> {
        let file = match (named, &self.data) {
            (Some(path), _) => Some(read(path)?),
            (None, Some(data)) => read_if_there(&data.join(CONFIG_FILE))?,
            (None, None) => read_if_there(&Path::new(crate::data::DEFAULT).join(CONFIG_FILE))?,
        };
        let Some(file) = file else { return Ok(self) };
        Ok(layered!(self, file:
            data hop hop_to hop_allow hop_server_share hop_memory hop_held hop_tags listen public_url tls_cert tls_key
            basic_auth_file trusted_proxy admission store_limit mailbox_limit mailbox_items keep_days hold_secs max_open
            max_active active_per_address connections_per_address rate burst listener_rate listener_burst channel_rate
            sessions sessions_per_address session_time presences presences_per_address stop_secs log_format log_level
        ))
    }

    pub(crate) fn admission(&self) -> Admission {
        match self.admission {
            Some(Admit::Loopback) | None => Admission::Loopback,
            Some(Admit::Invited) => Admission::Invited,
            Some(Admit::Open) => Admission::Open,
        }
    }
}

fn read(path: &Path) -> Result<Settings> {
    read_if_there(path)?.ok_or_else(|| {
        let text = format!("there is no configuration file {}", path.display());
        Error::new(ErrorKind::Usage, text)
    })
}

fn read_if_there(path: &Path) -> Result<Option<Settings>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => {
            let text = format!("cannot read the configuration file {}", path.display());
            return Err(Error::new(ErrorKind::System, text).with_source(e));
        }
    };
    toml::from_str(&text).map(Some).map_err(|e| {
        // The parser's own text repeats lines of the file, which may hold a password.
        let line =
            e.span().map_or(1, |span| text.bytes().take(span.start).filter(|b| *b == b'\n').count() + 1);
        let text =
            format!("the configuration file {} is wrong in line {line}: {}", path.display(), e.message());
        Error::new(ErrorKind::Usage, text)
    })
}
