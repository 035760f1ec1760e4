//! QUIC by quinn alone, set up as this crate sets it up but for its own rules: what benches measure beside, and what tests
//! misbehave with. Keys are not checked.
#![allow(dead_code, reason = "each user uses some of it")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use meow_core::crypto::{SigningKey, SystemRandom};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, Endpoint, TransportConfig, VarInt};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};

pub(crate) const ALPN: &[u8] = b"meow/0";
const PUBLIC_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const PRIVATE_HEAD: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The limits of connections.
pub(crate) fn transport() -> TransportConfig {
    let window = VarInt::from_u32(256 * 1024);
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(Duration::from_secs(40).try_into().unwrap()))
        .keep_alive_interval(Some(Duration::from_secs(15)))
        .max_concurrent_bidi_streams(VarInt::from_u32(256))
        .datagram_receive_buffer_size(None)
        .receive_window(window)
        .stream_receive_window(window)
        .send_window(window.into_inner());
    transport
}

/// A server on a free port of the loopback interface.
pub(crate) fn server() -> Endpoint {
    server_with(Arc::new(transport()))
}

/// The same with other limits.
pub(crate) fn server_with(transport: Arc<TransportConfig>) -> Endpoint {
    let key = SigningKey::generate(&mut SystemRandom).unwrap();
    serving(raw_key(&key, &key), ALPN, transport)
}

/// A server that shows one key and signs with another one, or the same.
pub(crate) fn raw_key(shown: &SigningKey, signs: &SigningKey) -> rustls::ServerConfig {
    let private = [PRIVATE_HEAD.as_slice(), signs.seed().as_slice()].concat();
    let signing = aws_lc_rs::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(private)).unwrap();
    let public = [PUBLIC_HEAD.as_slice(), shown.public().as_bytes()].concat();
    let proof = Arc::new(CertifiedKey::new(vec![CertificateDer::from(public)], signing));
    tls().with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(proof)))
}

/// TLS of a server that has yet to say who it is.
pub(crate) fn tls() -> rustls::ConfigBuilder<rustls::ServerConfig, rustls::server::WantsServerCert> {
    rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
}

/// On a free port of the loopback interface.
pub(crate) fn serving(
    mut tls: rustls::ServerConfig,
    alpn: &[u8],
    transport: Arc<TransportConfig>,
) -> Endpoint {
    tls.alpn_protocols = vec![alpn.to_vec()];
    tls.send_tls13_tickets = 0;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    config.transport_config(transport);
    Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap()
}

/// How a client dials.
pub(crate) fn client() -> quinn::ClientConfig {
    client_with(rustls::client::Resumption::disabled())
}

/// The same with what it remembers of servers.
pub(crate) fn client_with(resumption: rustls::client::Resumption) -> quinn::ClientConfig {
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.resumption = resumption;
    tls.enable_early_data = true;
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    config.transport_config(Arc::new(transport()));
    config
}

/// A connection from a socket of its own.
pub(crate) async fn connect(config: &quinn::ClientConfig, to: SocketAddr) -> Connection {
    let local = if to.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
    let endpoint = Endpoint::client(local.parse().unwrap()).unwrap();
    endpoint.connect_with(config.clone(), to, "meow").unwrap().await.unwrap()
}

#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        unreachable!("TLS 1.3 only")
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
