//! The connection under MQTT: TCP, or TLS 1.3 on a provider that is passed by hand.

use std::io;
use std::sync::Arc;

use meow_core::transport::{Addresses, Endpoint, Host, LookupError, Names};
use rumqttc::MqttOptions;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::{BrokerConfig, Roots};
use crate::error::MqttError;
use crate::prompt::Prompt;

const VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// Reads the roots; those of the system come from files, so this can block for some milliseconds.
fn tls(roots: &Roots) -> Result<Arc<ClientConfig>, MqttError> {
    let mut store = RootCertStore::empty();
    let (native, pem) = match roots {
        Roots::Native => (true, None),
        Roots::Only(pem) => (false, Some(pem)),
        Roots::NativeAnd(pem) => (true, Some(pem)),
    };
    if native {
        // Some of a system's certificates may be broken; it is enough that others are not.
        let found = rustls_native_certs::load_native_certs();
        let (added, _) = store.add_parsable_certificates(found.certs);
        if added == 0 && pem.is_none() {
            return Err(MqttError::NoRoots);
        }
    }
    if let Some(pem) = pem {
        let all: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let all = all.ok().filter(|all| !all.is_empty()).ok_or(MqttError::Pem)?;
        for certificate in all {
            store.add(certificate).map_err(|_| MqttError::Pem)?;
        }
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(VERSIONS)
        .map_err(MqttError::Tls)?
        .with_root_certificates(store)
        .with_no_client_auth();
    // A session ticket would tell a broker which connections come from one client.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

/// Makes the library connect to this endpoint's host, by TLS where the scheme says so.
pub(crate) fn connect_to(
    options: &mut MqttOptions,
    endpoint: &Endpoint,
    config: &BrokerConfig,
) -> Result<(), MqttError> {
    let port = endpoint.port().ok_or(MqttError::Endpoint("the port is missing"))?;
    let host = endpoint.host().ok_or(MqttError::Endpoint("the host is missing"))?.clone();
    let (names, addresses) = (config.names.clone(), config.addresses.clone());
    let place = Arc::new(Place { host, port, names, addresses });
    if endpoint.scheme() == "mqtts" {
        let name = match &place.host {
            Host::Name(name) => ServerName::try_from(name.clone()).map_err(|_| MqttError::Name)?,
            Host::Ip(address) => ServerName::IpAddress((*address).into()),
        };
        let connector = TlsConnector::from(tls(&config.roots)?);
        options.set_socket_connector(move |_, _| {
            let (place, name, connector) = (Arc::clone(&place), name.clone(), connector.clone());
            async move { connector.connect(name, place.connect().await?).await }
        });
    } else {
        options.set_socket_connector(move |_, _| {
            let place = Arc::clone(&place);
            async move { place.connect().await }
        });
    }
    Ok(())
}

/// Where the broker is, and which of its addresses may be dialled.
struct Place {
    host: Host,
    port: u16,
    names: Names,
    addresses: Addresses,
}

impl Place {
    /// Resolves the name each time, and dials no address but those that it asked about.
    async fn connect(&self) -> io::Result<Prompt> {
        let system = |name, port| tokio::net::lookup_host((name, port));
        let found = self.names.permitted(&self.host, self.port, &self.addresses, system).await;
        let found = found.map_err(|e| match e {
            LookupError::Unknown(e) => e,
            _ => io::Error::new(io::ErrorKind::PermissionDenied, Forbidden),
        })?;
        let socket = TcpStream::connect(found.as_slice()).await?;
        socket.set_nodelay(true)?;
        Ok(Prompt::new(socket))
    }
}

/// The rule of addresses allows none of the broker's.
#[derive(Debug, thiserror::Error)]
#[error("not a permitted address")]
struct Forbidden;

/// What a failed connection means.
pub(crate) fn meaning(e: &io::Error) -> MqttError {
    if e.get_ref().is_some_and(|inner| inner.is::<Forbidden>()) {
        return MqttError::Address;
    }
    let tls = e.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(_)) => MqttError::Certificate,
        Some(
            rustls::Error::PeerIncompatible(_)
            | rustls::Error::AlertReceived(rustls::AlertDescription::ProtocolVersion),
        ) => MqttError::TlsVersion,
        _ => MqttError::Unreachable,
    }
}
