//! Certificates and versions.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use common::{Echo, ask, certificate, tls};
use meow_core::ErrorKind;
use meow_core::transport::{DynTransport, Endpoint};
use meow_transport_http::{ClientConfig, Http, Identity, Roots, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn at(server: &Echo, host: &str) -> Endpoint {
    server.local.expose().replacen("127.0.0.1", host, 1).parse().unwrap()
}

#[tokio::test]
async fn a_custom_root_is_believed_and_nothing_else() {
    let (client, server) = tls();
    let both = Http::new(client, server).unwrap();
    let server = Echo::start(&both, "https://127.0.0.1:0").await;
    assert_eq!(ask(&both, &at(&server, "localhost"), "hello").await.unwrap(), "hello");
    assert_eq!(ask(&both, &server.local, "hello").await.unwrap(), "hello");
    // Another root, and the system's.
    let mut other = ClientConfig::default();
    other.roots = Roots::Only(certificate(&["localhost"]).0);
    for client in [other, ClientConfig::default()] {
        let http = Http::new(client, ServerConfig::default()).unwrap();
        let e = ask(&http, &server.local, "x").await.unwrap_err();
        // A system without any roots refuses earlier.
        assert!(matches!(e.kind(), ErrorKind::WrongPeer | ErrorKind::System), "{e:?}");
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_a_wrong_peer() {
    let (pem, identity) = certificate(&["elsewhere.example"]);
    let mut client = ClientConfig::default();
    client.roots = Roots::Only(pem);
    let mut server = ServerConfig::default();
    server.identity = Some(identity);
    let http = Http::new(client, server).unwrap();
    let server = Echo::start(&http, "https://127.0.0.1:0").await;
    for host in ["localhost", "127.0.0.1"] {
        assert_eq!(ask(&http, &at(&server, host), "x").await.unwrap_err().kind(), ErrorKind::WrongPeer);
    }
}

#[tokio::test]
async fn bad_identities_are_refused_at_once() {
    let (_, good) = certificate(&["localhost"]);
    let (_, other) = certificate(&["localhost"]);
    for identity in [
        Identity { chain: Vec::new(), key: good.key.clone() },
        Identity { chain: good.chain.clone(), key: b"nonsense".to_vec().into() },
        Identity { chain: good.chain.clone(), key: other.key },
    ] {
        let mut server = ServerConfig::default();
        server.identity = Some(identity);
        assert_eq!(Http::new(ClientConfig::default(), server).unwrap_err().kind(), ErrorKind::Usage);
    }
    let listened = DynTransport::listen(&Http::default(), &"https://127.0.0.1:0".parse().unwrap()).await;
    let e = listened.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Usage);
    assert!(e.to_string().contains("certificate"), "{e}");
    assert!(!format!("{good:?}").contains("PRIVATE"));
}

/// A TLS 1.2 ClientHello with the suites that every 1.2 server of today has, and no supported_versions.
fn client_hello_12() -> Vec<u8> {
    let suites = [0xc0, 0x2f, 0xc0, 0x30, 0xc0, 0x2b, 0xc0, 0x2c, 0xcc, 0xa8, 0xcc, 0xa9];
    let groups = [0, 10, 0, 6, 0, 4, 0, 29, 0, 23];
    let signatures = [0, 13, 0, 8, 0, 6, 4, 3, 8, 4, 4, 1];
    let extensions = [&groups[..], &signatures].concat();
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(0);
    body.extend((suites.len() as u16).to_be_bytes());
    body.extend(suites);
    body.extend([1, 0]);
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let mut handshake = vec![1, 0];
    handshake.extend((body.len() as u16).to_be_bytes());
    handshake.extend(body);
    let mut record = vec![22, 3, 1];
    record.extend((handshake.len() as u16).to_be_bytes());
    record.extend(handshake);
    record
}

#[tokio::test]
async fn a_tls_12_client_is_refused() {
    let (client, server) = tls();
    let server = Echo::start(&Http::new(client, server).unwrap(), "https://127.0.0.1:0").await;
    let mut socket = TcpStream::connect(server.address()).await.unwrap();
    socket.write_all(&client_hello_12()).await.unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    // One fatal alert: protocol_version.
    assert_eq!(answer, [21, 3, 3, 0, 2, 2, 70]);
}

#[tokio::test]
async fn a_client_offers_tls_13_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap()).parse().unwrap();
    let (client, server) = tls();
    let http = Http::new(client, server).unwrap();
    let serve = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut hello = vec![0; 4096];
        let count = socket.read(&mut hello).await.unwrap();
        // A 1.2 server would now answer with a ServerHello of 1.2 and a suite of that version.
        let mut body = vec![3, 3];
        body.extend([9; 32]);
        body.extend([0, 0xc0, 0x2f, 0, 0, 0]);
        let mut record = vec![22, 3, 3, 0, body.len() as u8 + 4, 2, 0, 0, body.len() as u8];
        record.extend(body);
        socket.write_all(&record).await.unwrap();
        hello.truncate(count);
        hello
    };
    let (hello, answered) = tokio::join!(serve, ask(&http, &endpoint, "x"));
    // supported_versions (43) with one version: 0x0304.
    assert!(hello.windows(7).any(|bytes| bytes == [0, 43, 0, 3, 2, 3, 4]));
    let e = answered.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unreachable);
    assert!(e.to_string().contains("TLS 1.3"), "{e}");
}

#[tokio::test]
async fn a45_a_slow_handshake_is_cut_off() {
    let (client, mut server) = tls();
    server.handshake_timeout = Duration::from_millis(50);
    let server = Echo::start(&Http::new(client, server).unwrap(), "https://127.0.0.1:0").await;
    let mut socket = TcpStream::connect(server.address()).await.unwrap();
    socket.write_all(&[22, 3, 1]).await.unwrap();
    assert_eq!(common::read_to_close(&mut socket).await, "");
}

#[tokio::test]
async fn a_cut_connection_does_not_end_an_answer_without_a_length() {
    use rustls_pki_types::pem::PemObject;
    let (pem, identity) = certificate(&["127.0.0.1"]);
    let chain = vec![rustls_pki_types::CertificateDer::from_pem_slice(&identity.chain).unwrap()];
    let key = rustls_pki_types::PrivateKeyDer::from_pem_slice(&identity.key).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let tls = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint: Endpoint = format!("https://{}", listener.local_addr().unwrap()).parse().unwrap();
    let mut client = ClientConfig::default();
    client.roots = Roots::Only(pem);
    let http = Http::new(client, ServerConfig::default()).unwrap();
    for cut in [false, true] {
        let serve = async {
            let mut stream = tls.accept(listener.accept().await.unwrap().0).await.unwrap();
            stream.read_exact(&mut [0; 16]).await.unwrap();
            let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n";
            stream.write_all(&[&head[..], &common::framed(b"abc")].concat()).await.unwrap();
            stream.flush().await.unwrap();
            if cut {
                // The end of TCP, which anyone on the way can make, without that of TLS.
                stream.get_mut().0.shutdown().await.unwrap();
            } else {
                stream.shutdown().await.unwrap();
            }
        };
        let ((), answered) = tokio::join!(serve, ask(&http, &endpoint, "x"));
        match answered {
            Ok(text) => assert!(!cut && text == "abc"),
            Err(e) => assert!(cut && e.kind() == ErrorKind::Unreachable, "{e:?}"),
        }
    }
}
