//! TLS 1.3 inside QUIC. The server proves its Skp as a raw public key (RFC 7250): there is no certificate and no
//! authority, and the fingerprint in a server reference says which key is the right one.

use std::sync::Arc;

use meow_core::crypto::{SigningKey, VerifyKey};
use meow_core::request::fingerprint;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature_with_raw_key};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, PeerIncompatible, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use zeroize::Zeroizing;

use crate::error::UdpError;

/// The application protocol that both sides name in the handshake.
const ALPN: &[u8] = b"meow/0";
const VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// DER before the 32 bytes of an Ed25519 public key (RFC 8410, section 4).
const PUBLIC_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// DER before the 32 bytes of an Ed25519 private key (RFC 8410, section 7).
const PRIVATE_HEAD: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

pub(crate) fn server(skp: &SigningKey) -> Result<Arc<QuicServerConfig>, UdpError> {
    let private = Zeroizing::new([PRIVATE_HEAD.as_slice(), skp.seed().as_slice()].concat());
    let key = aws_lc_rs::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(private.as_slice()))
        .map_err(UdpError::Tls)?;
    let public = [PUBLIC_HEAD.as_slice(), skp.public().as_bytes()].concat();
    let proof = Arc::new(CertifiedKey::new(vec![CertificateDer::from(public)], key));
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .map_err(UdpError::Tls)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(proof)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(Arc::new(QuicServerConfig::try_from(config).map_err(UdpError::Suite)?))
}

pub(crate) fn client() -> Result<Arc<QuicClientConfig>, UdpError> {
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .map_err(UdpError::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnySkp(provider())))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A session ticket would tell a server which connections come from one client.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(QuicClientConfig::try_from(config).map_err(UdpError::Suite)?))
}

/// The fingerprint of the Skp that the far side has proved.
pub(crate) fn proved(connection: &quinn::Connection) -> Option<[u8; 32]> {
    let identity = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    Some(fingerprint(&skp(identity.first()?)?))
}

fn skp(proof: &CertificateDer<'_>) -> Option<VerifyKey> {
    let key: &[u8; 32] = proof.strip_prefix(&PUBLIC_HEAD)?.try_into().ok()?;
    VerifyKey::from_bytes(key).ok()
}

/// Takes any Ed25519 key whose owner signs the handshake. Which one it was stands in the link's
/// [`Peer`](meow_core::transport::Peer): whoever dials compares it with the server it wants.
#[derive(Debug)]
struct AnySkp(Arc<CryptoProvider>);

impl ServerCertVerifier for AnySkp {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match skp(end_entity) {
            Some(_) => Ok(ServerCertVerified::assertion()),
            None => Err(rustls::CertificateError::BadEncoding.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        proof: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let key = SubjectPublicKeyInfoDer::from(proof.as_ref());
        verify_tls13_signature_with_raw_key(message, &key, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
