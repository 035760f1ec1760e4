//! TLS 1.3 and nothing older, on a provider that is passed by hand: no process-wide default is read or set.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::{Identity, Roots};
use crate::error::HttpError;

const VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Reads the roots; those of the system come from files, so this can block for some milliseconds.
pub(crate) fn client(roots: &Roots) -> Result<Arc<ClientConfig>, HttpError> {
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
            return Err(HttpError::NoRoots);
        }
    }
    if let Some(pem) = pem {
        for certificate in certificates(pem)? {
            store.add(certificate).map_err(HttpError::Certificate)?;
        }
    }
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .map_err(HttpError::Tls)?
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A session ticket would tell a server which connections come from one client.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

pub(crate) fn server(identity: &Identity) -> Result<Arc<ServerConfig>, HttpError> {
    let key = PrivateKeyDer::from_pem_slice(&identity.key).map_err(|_| HttpError::Pem("private key"))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .map_err(HttpError::Tls)?
        .with_no_client_auth()
        .with_single_cert(certificates(&identity.chain)?, key)
        .map_err(HttpError::Certificate)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, HttpError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    all.ok().filter(|all| !all.is_empty()).ok_or(HttpError::Pem("certificate"))
}
