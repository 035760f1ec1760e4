//! `meowd run`.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use meow_core::transport::{Addresses, Endpoint, Host};
use meow_core::{Error, ErrorKind, Result};
use meow_server::{Admission, Hop, Relay, RelayHandle, ServerIdentity};
use meow_transport::Transports;
use meow_transport_http::{Account, Http, Identity, Network};
use meow_transport_mqtt::Mqtt;
use meow_transport_serial::Serial;
use meow_transport_udp::Udp;
use zeroize::Zeroizing;

use crate::args::RunArgs;
use crate::data::Data;
use crate::settings::Settings;
use crate::{logs, print};

/// Threads that serve: more would cost memory, and what takes time is on threads of its own.
const WORKERS: usize = 2;
/// Threads that read the store, and one that turns keys.
const BLOCKING: usize = 4;

pub(crate) fn run(args: RunArgs) -> Result<()> {
    let settings = args.settings.over_file(args.config.as_deref())?;
    logs::start(settings.log_format.unwrap_or_default(), settings.log_level.unwrap_or_default())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING)
        .enable_all()
        .build()
        .map_err(|e| Error::new(ErrorKind::System, "cannot start the runtime").with_source(e))?;
    runtime.block_on(serve(&settings))
}

async fn serve(settings: &Settings) -> Result<()> {
    let http = http(settings)?;
    let mut signals = Signals::new()?;
    let data = Data::at(settings.data.clone());
    data.create()?;
    let _lock = data.lock()?;
    let identity = data.identity_or_new()?;
    let store = data.store(&identity)?;
    let transports = Transports::new()
        .with(http)
        .with(udp(settings, &identity))
        .with(mqtt(settings, &identity))
        .with(Serial::new().airtime_in(data.airtime()));
    for url in settings.public_url.iter().flatten() {
        // No client could use it, so it is a slip.
        transports.get(url)?;
    }
    let hop = hop(settings, &data, &transports)?;
    let mut builder = Relay::builder()
        .transports(transports)
        .store(Arc::new(store))
        .identity(identity)
        .limits(settings.limits())
        .admission(settings.admission());
    if let Some(hop) = hop {
        builder = builder.hop(hop);
    }
    for endpoint in listen(settings)? {
        builder = builder.listen(endpoint);
    }
    for url in settings.public_url.iter().flatten() {
        builder = builder.public_url(url.clone());
    }
    let relay = builder.start().await?;
    data.note_reference(relay.reference())?;
    warn(settings, &relay);
    let listening: Vec<String> = relay.local_endpoints().iter().map(Endpoint::to_string).collect();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), data = %data.dir().display(), ?listening, "serving");
    print(format!("ready {}\n", relay.reference()).as_bytes())?;

    signals.stop().await;
    tracing::info!("stopping");
    tokio::select! {
        () = relay.shutdown() => {}
        () = signals.stop() => {
            return Err(Error::new(ErrorKind::System, "stopped at once, as asked for twice; what was confirmed is stored"));
        }
    }
    tracing::info!("stopped");
    Ok(())
}

fn listen(settings: &Settings) -> Result<Vec<Endpoint>> {
    match &settings.listen {
        Some(endpoints) if !endpoints.is_empty() => Ok(endpoints.clone()),
        _ => Ok(vec!["http://127.0.0.1:8080".parse()?]),
    }
}

fn http(settings: &Settings) -> Result<Http> {
    let mut server = settings.http();
    server.identity = match (&settings.tls_cert, &settings.tls_key) {
        (Some(chain), Some(key)) => {
            Some(Identity { chain: read("certificate", chain)?.to_vec(), key: read("private key", key)? })
        }
        (None, None) => None,
        _ => return Err(Error::new(ErrorKind::Usage, "--tls-cert and --tls-key belong together: give both")),
    };
    if let Some(file) = &settings.basic_auth_file {
        server.accounts = accounts(&read("password file", file)?)?;
    }
    server.trusted_proxies = settings.trusted_proxy.clone().map_or_else(loopback, Ok)?;
    Http::new(meow_transport_http::ClientConfig::default(), server)
}

fn udp(settings: &Settings, identity: &ServerIdentity) -> Udp {
    let mut server = settings.udp();
    server.identity = Some(identity.skp().clone());
    Udp::new(meow_transport_udp::ClientConfig::default(), server)
}

/// What makes the relay a hop. Where a name leads strangers may decide, so it dials public addresses only, and those that
/// the operator allows; a broker's address counts like any other. Serial lines have no addresses. They are those of
/// `serving`: a line is open once, to listen and to dial.
fn hop(settings: &Settings, data: &Data, serving: &Transports) -> Result<Option<Hop>> {
    let (to, allow) = (settings.hop_to.as_deref(), settings.hop_allow.as_deref());
    if settings.hop != Some(true) {
        if settings.names_hops() {
            return Err(Error::new(
                ErrorKind::Usage,
                "--hop-to, --hop-allow and the limits of a hop need --hop",
            ));
        }
        return Ok(None);
    }
    let allow = allow.unwrap_or_default().iter();
    let addresses = allow.fold(Addresses::public(), |rule, network| rule.and(*network));
    let mut http = meow_transport_http::ClientConfig::default();
    http.addresses = addresses.clone();
    let mut udp = meow_transport_udp::ClientConfig::default();
    udp.addresses = addresses.clone();
    let mut mqtt = meow_transport_mqtt::ClientConfig::default();
    mqtt.broker.addresses = addresses;
    // Each of these takes the place of the one that serves, for all its schemes.
    let transports = serving
        .clone()
        .with(Http::new(http, meow_transport_http::ServerConfig::default())?)
        .with(Udp::new(udp, meow_transport_udp::ServerConfig::default()))
        .with(Mqtt::new(mqtt, meow_transport_mqtt::ServerConfig::default()));
    let hop = Hop::new(transports).tags(data.tags()).limits(settings.hop_limits());
    Ok(Some(to.unwrap_or_default().iter().cloned().fold(hop, Hop::to)))
}

fn mqtt(settings: &Settings, identity: &ServerIdentity) -> Mqtt {
    let mut server = settings.mqtt();
    server.identity = Some(identity.skp().clone());
    Mqtt::new(meow_transport_mqtt::ClientConfig::default(), server)
}

/// A proxy on this machine that names its client makes what comes through it foreign, not local.
fn loopback() -> Result<Vec<Network>> {
    let parse = |text: &str| text.parse().map_err(|e| Error::new(ErrorKind::Bug, "a network").with_source(e));
    Ok(vec![parse("127.0.0.0/8")?, parse("::1")?])
}

fn read(what: &str, path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    fs::read(path).map(Zeroizing::new).map_err(|e| {
        let text = format!("cannot read the {what} {}", path.display());
        Error::new(ErrorKind::Usage, text).with_source(e)
    })
}

fn accounts(file: &[u8]) -> Result<Vec<Account>> {
    let wrong = |line: usize| {
        let text = format!("the password file is wrong in line {}: write user:password", line + 1);
        Error::new(ErrorKind::Usage, text)
    };
    let text = std::str::from_utf8(file).map_err(|_| wrong(0))?;
    let mut accounts = Vec::new();
    for (number, line) in
        text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
    {
        let (user, password) = line.split_once(':').ok_or_else(|| wrong(number))?;
        if user.is_empty() || password.is_empty() {
            return Err(wrong(number));
        }
        accounts.push(Account { user: user.to_owned(), password: Zeroizing::new(password.to_owned()) });
    }
    if accounts.is_empty() {
        // An empty list would let everybody in.
        return Err(Error::new(ErrorKind::Usage, "the password file holds no user:password"));
    }
    Ok(accounts)
}

/// Says what an operator may not have meant.
fn warn(settings: &Settings, relay: &RelayHandle) {
    let everywhere = |url: &Endpoint| matches!(url.host(), Some(Host::Ip(ip)) if ip.is_unspecified());
    let here = |url: &Endpoint| match url.host() {
        Some(Host::Ip(ip)) => ip.is_loopback(),
        Some(Host::Name(name)) => name == "localhost",
        None => false,
    };
    let has_address = |url: &Endpoint| matches!(url.scheme(), "http" | "https" | "udp");
    let local = |url: &Endpoint| has_address(url) && (here(url) || everywhere(url));
    if settings.admission() == Admission::Loopback && !relay.local_endpoints().iter().any(local) {
        tracing::warn!(
            "nobody is local where this relay listens, so nobody can open a mailbox without an invitation: hand some out \
             (`meowd invite`), or choose --admission"
        );
    }
    let public = settings.public_url.as_deref().unwrap_or_default();
    if public.is_empty() && relay.local_endpoints().iter().any(everywhere) {
        let shown = IpAddr::from(Ipv4Addr::LOCALHOST);
        tracing::warn!("no --public-url is given, so the reference names {shown}, where others find nothing");
    }
    if public.iter().any(|url| !here(url))
        && relay.local_endpoints().iter().all(here)
        && settings.admission() == Admission::Loopback
    {
        tracing::warn!(
            "this relay seems to be behind a proxy on this machine: see that the proxy sets X-Forwarded-For, or choose \
             --admission invited; otherwise everybody counts as local and may open mailboxes"
        );
    }
}

/// The signals that end the relay.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    fn new() -> Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let wrong = |e| Error::new(ErrorKind::System, "cannot wait for signals").with_source(e);
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(wrong)?,
            interrupt: signal(SignalKind::interrupt()).map_err(wrong)?,
        })
    }

    #[cfg(unix)]
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    #[cfg(not(unix))]
    fn new() -> Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    async fn stop(&mut self) {
        // Where there is no way to be told, only the end of the process ends it.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
