//! ATTACKS 21 and 45 over raw sockets: smuggled, slow, oversized and unread.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Echo, ask, framed, post, raw, statuses};
use meow_core::transport::Link;
use meow_transport_http::{ClientConfig, Http, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

/// After this long, what a test waits for does not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Times short enough for a test, that honest clients on loopback still keep.
fn impatient() -> Http {
    let mut config = ServerConfig::default();
    config.stall_timeout = Duration::from_millis(300);
    config.body_timeout = Duration::from_millis(300);
    Http::new(ClientConfig::default(), config).unwrap()
}

/// A server that notes every frame it is given, and answers without frames.
async fn noting(http: &Http) -> (std::net::SocketAddr, Arc<Mutex<Vec<Vec<u8>>>>) {
    let mut listener = common::listen(http, "http://127.0.0.1:0").await;
    let address = listener.local().authority().parse().unwrap();
    let frames = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&frames);
    tokio::spawn(async move {
        while let Ok(Some(mut link)) = listener.accept().await {
            while let Ok(Some(frame)) = link.rx.recv().await {
                noted.lock().unwrap().push(frame.to_vec());
            }
            let _ = link.tx.finish().await;
        }
    });
    (address, frames)
}

/// `headers` are those that state a length, or hide one; the body holds a whole second request.
fn ambiguous(headers: &str) -> Vec<u8> {
    let inner = post(b"SMUGGLED", "");
    let chunked = [b"0\r\n\r\n", &inner[..]].concat();
    let head =
        format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n{headers}\r\n");
    [head.as_bytes(), &chunked].concat()
}

#[tokio::test]
async fn a45_request_smuggling_corpus() {
    let (address, frames) = noting(&impatient()).await;
    // Each is refused, and the connection is closed before the second request is looked at.
    for headers in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: identity\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked, identity\r\nContent-Length: 5\r\n",
        "Transfer-Encoding:\x0bchunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding : chunked\r\nContent-Length: 5\r\n",
        " Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "X: a\r\n Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "X: a\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "X: a\rTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 6\r\nContent-Length: 5\r\n",
        "Content-Length: 5\nContent-Length: 6\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 5\x00\r\n",
        "Content-Length: \r\n",
        "Content-Length: 18446744073709551621\r\n",
        "Content-Length: 99999999999999999999999\r\n",
        "Content-Length : 5\r\n",
        "Content-Length\r\n",
        "X\x00: y\r\nContent-Length: 5\r\n",
        "X y: z\r\nContent-Length: 5\r\n",
        ": y\r\nContent-Length: 5\r\n",
        "Host: y\r\nContent-Length: 5\r\n",
        "",
    ] {
        let text = raw(address, &ambiguous(headers)).await;
        let found = statuses(&text);
        assert!(matches!(found[..], [400 | 411 | 413]), "{headers:?} gave {found:?}");
        assert!(frames.lock().unwrap().is_empty(), "{headers:?}");
    }
    // The body is what its one length says, and what is wrong with its frames ends the connection too.
    for headers in
        ["Content-Length: 5\r\n", "Content-Length: 5\r\nContent-Length: 5\r\n", "content-length:5\r\n"]
    {
        assert_eq!(statuses(&raw(address, &ambiguous(headers)).await), [413], "{headers:?}");
    }
    assert!(frames.lock().unwrap().is_empty());
    // Chunk sizes that overflow or lie never matter: chunked requests are refused by their header.
    for size in ["FFFFFFFFFFFFFFFF", "10000000000000001", "-1", "0x5", "5;x=\n", "5\n"] {
        let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        let text =
            raw(address, &[head.as_bytes(), size.as_bytes(), b"\r\n", &post(b"SMUGGLED", "")].concat()).await;
        assert_eq!(statuses(&text), [411], "{size:?}");
    }
    assert!(frames.lock().unwrap().is_empty());
    // Honest pipelining is two requests.
    let two = [post(b"one", ""), post(b"two", "Connection: close\r\n")].concat();
    assert_eq!(statuses(&raw(address, &two).await), [200, 200]);
    assert_eq!(*frames.lock().unwrap(), [b"one".to_vec(), b"two".to_vec()]);
}

#[tokio::test]
async fn a45_odd_request_lines_and_versions() {
    let (address, frames) = noting(&impatient()).await;
    let rest = "\r\nHost: x\r\nContent-Type: application/octet-stream\r\nContent-Length: 0\r\n\r\n";
    for (line, statuses_expected) in [
        ("POST / HTTP/1.0", &[505][..]),
        ("POST / HTTP/0.9", &[400]),
        ("POST / HTTP/2.0", &[400]),
        ("POST / HTTP/1.1 HTTP/1.1", &[400]),
        ("POST /", &[400]),
        ("POST", &[400]),
        ("PO ST / HTTP/1.1", &[400]),
        ("POST /\x00 HTTP/1.1", &[400]),
        ("CONNECT x:1 HTTP/1.1", &[404]),
        ("POST * HTTP/1.1", &[404]),
        ("PRI * HTTP/2.0", &[400]),
    ] {
        let text = raw(address, format!("{line}{rest}").as_bytes()).await;
        assert_eq!(statuses(&text.replace("HTTP/1.0 ", "HTTP/1.1 ")), statuses_expected, "{line:?}");
    }
    assert!(frames.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a45_slow_headers() {
    let server = Echo::start(&impatient(), "http://127.0.0.1:0").await;
    let mut socket = TcpStream::connect(server.address()).await.unwrap();
    let request = post(b"x", &"X-Padding: zzzzzzzzzzzzzzzzzzzzzz\r\n".repeat(40));
    let mut sent = 0;
    for byte in request.chunks(1) {
        if socket.write_all(byte).await.is_err() {
            break;
        }
        sent += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
        if sent % 20 == 0 {
            // Others are served meanwhile.
            assert_eq!(ask(&Http::default(), &server.local, "hello").await.unwrap(), "hello");
        }
    }
    assert!(sent < request.len(), "a header that never ends was waited for");
    // Saying nothing at all, and nothing more after a request, end in the same way.
    assert_eq!(raw(server.address(), b"").await, "");
    assert_eq!(statuses(&raw(server.address(), &post(b"x", "")).await), [200]);
}

#[tokio::test]
async fn a45_slow_body() {
    let server = Echo::start(&impatient(), "http://127.0.0.1:0").await;
    let request = post(&[1; 1000], "");
    let (start, rest) = request.split_at(200);
    let (mut read, mut write) = TcpStream::connect(server.address()).await.unwrap().into_split();
    write.write_all(start).await.unwrap();
    let trickle = async {
        for byte in rest.chunks(1) {
            if write.write_all(byte).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        std::future::pending::<()>().await
    };
    let text = tokio::select! {
        text = common::read_to_close(&mut read) => text,
        () = trickle => String::new(),
    };
    assert_eq!(statuses(&text), [408]);
    // A body that stops half-way, too.
    assert_eq!(statuses(&raw(server.address(), start).await), [408]);
}

#[tokio::test]
async fn a45_oversized_bodies_and_headers() {
    let (address, frames) = noting(&impatient()).await;
    let octets = "Content-Type: application/octet-stream\r\n";
    // Refused by their stated length, before a byte of them is taken.
    for length in ["1048577", "1000000000000"] {
        let head = format!("POST / HTTP/1.1\r\nHost: x\r\n{octets}Content-Length: {length}\r\n\r\n");
        assert_eq!(statuses(&raw(address, head.as_bytes()).await), [413], "{length}");
    }
    let many = framed(b"x").repeat(1025);
    for body in [framed(&[1; 33_793]), many, [255; 8].to_vec()] {
        let head = format!("POST / HTTP/1.1\r\nHost: x\r\n{octets}Content-Length: {}\r\n\r\n", body.len());
        assert_eq!(statuses(&raw(address, &[head.as_bytes(), &body].concat()).await), [413]);
    }
    for extra in ["X: y\r\n".repeat(200), format!("X: {}\r\n", "y".repeat(17_000)), "y".repeat(200_000)] {
        assert_eq!(statuses(&raw(address, &post(b"x", &extra)).await), [431], "{} bytes", extra.len());
    }
    let line = format!("POST /{} HTTP/1.1\r\n\r\n", "y".repeat(17_000));
    assert!(matches!(statuses(&raw(address, line.as_bytes()).await)[..], [414 | 431]));
    assert!(frames.lock().unwrap().is_empty());
}

/// A connection of HTTP/2 over TLS, as a browser-grade client would open it.
async fn h2(
    http_pem: &[u8],
    address: std::net::SocketAddr,
) -> hyper::client::conn::http2::SendRequest<http_body_util::Full<bytes::Bytes>> {
    use rustls_pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls_pki_types::CertificateDer::from_pem_slice(http_pem).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let socket = TcpStream::connect(address).await.unwrap();
    let name = "localhost".try_into().unwrap();
    let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap();
    let executor = hyper_util::rt::TokioExecutor::new();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn h2_request(
    address: std::net::SocketAddr,
    frame: &[u8],
) -> http::Request<http_body_util::Full<bytes::Bytes>> {
    http::Request::post(format!("https://{address}/"))
        .header("content-type", "application/octet-stream")
        .body(framed(frame).into())
        .unwrap()
}

#[tokio::test]
async fn http2_carries_many_exchanges_on_one_connection() {
    use http_body_util::BodyExt;
    let (pem, identity) = common::certificate(&["localhost"]);
    let mut config = ServerConfig::default();
    config.identity = Some(identity);
    let server =
        Echo::start(&Http::new(ClientConfig::default(), config).unwrap(), "https://127.0.0.1:0").await;
    let mut sender = h2(&pem, server.address()).await;
    // Refusals go over it too, and from here on the client knows the server's settings.
    let response = sender.send_request(h2_request(server.address(), b"")).await.unwrap();
    assert_eq!(response.status(), 400);
    let mut exchanges = tokio::task::JoinSet::new();
    for number in 0..150u8 {
        let (mut sender, address) = (sender.clone(), server.address());
        exchanges.spawn(async move {
            let frame = vec![number; 10_000];
            sender.ready().await.unwrap();
            let response = sender.send_request(h2_request(address, &frame)).await.unwrap();
            assert_eq!(response.status(), 200);
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), framed(&frame));
        });
    }
    while let Some(done) = exchanges.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn a45_http2_rapid_reset() {
    let (pem, identity) = common::certificate(&["localhost"]);
    let mut config = ServerConfig::default();
    config.identity = Some(identity);
    config.max_streams = 16;
    let http = Http::new(ClientConfig::default(), config).unwrap();
    let mut listener = common::listen(&http, "https://127.0.0.1:0").await;
    let address = listener.local().authority().parse().unwrap();
    let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now_open, peak) = (Arc::clone(&open), Arc::clone(&most));
    tokio::spawn(async move {
        while let Ok(Some(mut link)) = listener.accept().await {
            let open = Arc::clone(&now_open);
            peak.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::spawn(async move {
                let asked = link.rx.recv().await;
                if asked.is_ok_and(|frame| frame.as_deref() == Some(b"hello")) {
                    answer(&mut link).await;
                } else {
                    link.tx.closed().await;
                }
                open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    let mut attacker = h2(&pem, address).await;
    for _ in 0..5_000 {
        if attacker.ready().await.is_err() {
            // The server has had enough of it.
            break;
        }
        let sent = attacker.send_request(h2_request(address, b"reset"));
        tokio::select! {
            biased;
            _ = sent => {}
            () = tokio::task::yield_now() => {}
        }
    }
    // Whoever else comes is served, and what was reset is let go.
    let mut honest = h2(&pem, address).await;
    let response = honest.send_request(h2_request(address, b"hello")).await.unwrap();
    assert_eq!(response.status(), 200);
    let let_go = async {
        while open.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, let_go).await.expect("the links of exchanges that were reset end");
    let most = most.load(Ordering::SeqCst);
    assert!(most <= 2 * 16 + 1, "{most} exchanges were held at once");
}

async fn answer(link: &mut Link) {
    link.tx.send("hello".into()).await.unwrap();
    link.tx.finish().await.unwrap();
}

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// File descriptors that this process may open.
fn descriptors() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    line.split_whitespace().nth(3).unwrap().parse().unwrap_or(usize::MAX)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a21_clients_that_do_not_read() {
    const CLIENTS: usize = 1000;
    const BUDGET: usize = 16 * 1024 * 1024;
    assert!(descriptors() > 2 * CLIENTS + 100, "this test needs more file descriptors: ulimit -n 4096");
    let mut config = ServerConfig::default();
    config.max_buffered = BUDGET;
    config.stall_timeout = Duration::from_secs(2);
    let http = Http::new(ClientConfig::default(), config).unwrap();
    let mut listener = common::listen(&http, "http://127.0.0.1:0").await;
    let local = listener.local().clone();
    let refused = Arc::new(AtomicUsize::new(0));
    let full = Arc::clone(&refused);
    // No answer goes out before the budget is full: how much of one the kernel takes off our hands is its own affair.
    let (release, held) = watch::channel(false);
    tokio::spawn(async move {
        while let Ok(Some(mut link)) = listener.accept().await {
            let (full, mut held) = (Arc::clone(&full), held.clone());
            tokio::spawn(async move {
                if link.rx.recv().await.is_ok_and(|frame| frame.as_deref() == Some(b"hello")) {
                    return answer(&mut link).await;
                }
                // As much as an answer can hold, or as the server lets us have.
                for _ in 0..30 {
                    if link.tx.send(vec![7; 33_000].into()).await.is_err() {
                        full.fetch_add(1, Ordering::SeqCst);
                        return;
                    }
                }
                held.wait_for(|released| *released).await.unwrap();
                let _ = link.tx.finish().await;
            });
        }
    });
    let before = resident();
    let mut clients = Vec::new();
    let mut peak = 0;
    for number in 0..CLIENTS {
        let mut socket = TcpStream::connect(local.authority()).await.unwrap();
        socket.write_all(&post(b"much", "")).await.unwrap();
        clients.push(socket);
        if number % 50 == 0 {
            peak = peak.max(resident());
        }
    }
    let until_full = async {
        while refused.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, until_full).await.expect("the budget refuses some of them");
    peak = peak.max(resident());
    release.send(true).unwrap();
    // Those that stall are cut off, and then others are served again.
    let served = async {
        while ask(&Http::default(), &local, "hello").await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, served).await.expect("others are served again");
    peak = peak.max(resident());
    let grown = peak.saturating_sub(before);
    // Answers in the budget, once more for buffers that grow by doubling, and 32 KiB for each connection. Unbounded,
    // it would be a gigabyte.
    assert!(grown < 2 * BUDGET + CLIENTS * 32 * 1024, "{} MiB for clients that do not read", grown >> 20);
    let ends = async {
        let mut sink = vec![0; 65536];
        for socket in &mut clients {
            while socket.read(&mut sink).await.is_ok_and(|count| count > 0) {}
        }
    };
    timeout(PATIENCE, ends).await.expect("every connection ends");
}
