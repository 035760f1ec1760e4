//! The dialling side against servers that misbehave.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Canned, Echo, ask, framed};
use meow_core::transport::{Addresses, DynTransport, Endpoint};
use meow_core::{ErrorKind, Retry};
use meow_testkit::transport::here;
use meow_testkit::transport::names::Rebinding;
use meow_transport_http::{ClientConfig, Http, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn ok(headers: &str, body: &[u8]) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n";
    [head.as_bytes(), headers.as_bytes(), b"\r\n", body].concat()
}

async fn kind_of(answer: impl Into<Vec<u8>>) -> ErrorKind {
    let server = Canned::start(answer).await;
    ask(&Http::default(), &server.endpoint(), "x").await.unwrap_err().kind()
}

#[tokio::test]
async fn a44_redirects_are_not_followed_and_credentials_stay() {
    let bait = Canned::start(ok("", &[])).await;
    let http = Http::default();
    for status in [301, 302, 303, 307, 308] {
        let answer = format!(
            "HTTP/1.1 {status} Moved\r\nLocation: http://joe:s3cret@{}/\r\nContent-Length: 0\r\n\r\n",
            bait.address
        );
        let server = Canned::start(answer).await;
        let endpoint: Endpoint = format!("http://joe:s3cret@{}", server.address).parse().unwrap();
        let e = ask(&http, &endpoint, "x").await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Refused);
        assert!(e.to_string().contains("redirects are never followed"), "{e}");
        assert!(!format!("{e:?}").contains("s3cret"));
        // The password went to the host that it was for.
        assert!(server.requests.lock().unwrap()[0].contains("authorization: Basic am9lOnMzY3JldA=="));
    }
    assert!(bait.requests.lock().unwrap().is_empty());
    // Neither does it go along to the next host, nor to the same one when the endpoint has none.
    let _ = ask(&http, &bait.endpoint(), "x").await;
    assert!(!bait.requests.lock().unwrap()[0].contains("authorization"));
}

#[tokio::test]
async fn a44_an_address_that_is_not_permitted_is_not_dialled_whatever_it_is_called() {
    let bait = Canned::start(ok("", &[])).await;
    let port = bait.address.port();
    let mut config = ClientConfig::default();
    config.addresses = Addresses::public();
    let strict = Http::new(config.clone(), ServerConfig::default()).unwrap();
    for host in ["127.0.0.1", "localhost", "2130706433", "0177.1", "0x7f000001", "[::ffff:7f00:1]", "0"] {
        let endpoint: Endpoint = format!("http://{host}:{port}/").parse().unwrap();
        let e = ask(&strict, &endpoint, "x").await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Refused, "{host}: {e}");
    }
    assert!(bait.requests.lock().unwrap().is_empty());
    config.addresses = Addresses::public().and("127.0.0.0/8".parse().unwrap());
    let allowed = Http::new(config, ServerConfig::default()).unwrap();
    let _ = ask(&allowed, &bait.endpoint(), "x").await;
    assert_eq!(bait.requests.lock().unwrap().len(), 1);
}

/// Whoever owns a name can have it lead elsewhere between the check and the dial. It is asked once for each connection.
#[tokio::test]
async fn a44_a_name_that_changes_its_answer_leads_nowhere_else() {
    let (good, bad): (IpAddr, IpAddr) = ([127, 0, 0, 1].into(), here::another().unwrap());
    let bait = Canned::start(ok("", &[])).await;
    let port = bait.address.port();
    let trap = std::net::TcpListener::bind((bad, port)).unwrap();
    trap.set_nonblocking(true).unwrap();
    for scheme in ["http", "https"] {
        let name = Rebinding::new([vec![good], vec![bad], vec![bad, good]]);
        let dialled = async || {
            let mut config = ClientConfig::default();
            config.addresses = Addresses::public().and("127.0.0.1".parse().unwrap());
            config.names = name.names();
            let http = Http::new(config, ServerConfig::default()).unwrap();
            let endpoint: Endpoint = format!("{scheme}://cat.example:{port}/").parse().unwrap();
            let before = bait.requests.lock().unwrap().len();
            let kind = ask(&http, &endpoint, "x").await.err().map(|e| e.kind());
            (kind, bait.requests.lock().unwrap().len() - before, name.asked())
        };
        // Only http gets further than being dialled here.
        let (kind, met, asked) = dialled().await;
        assert_eq!((met, asked), (1, 1), "{scheme}: {kind:?}");
        assert_eq!(dialled().await, (Some(ErrorKind::Refused), 0, 2), "{scheme}");
        let (kind, met, asked) = dialled().await;
        assert_eq!((met, asked), (1, 3), "{scheme}: {kind:?}");
    }
    assert!(trap.accept().is_err(), "somebody dialled");
}

#[tokio::test]
async fn a_link_says_where_its_connection_leads_also_when_the_name_leads_elsewhere_by_now() {
    let server = Echo::start(&Http::default(), "http://127.0.0.1:0").await;
    let there: IpAddr = [127, 0, 0, 1].into();
    let name = Rebinding::new([vec![there]]);
    let mut config = ClientConfig::default();
    config.names = name.names();
    let http = Http::new(config, ServerConfig::default()).unwrap();
    let endpoint: Endpoint = format!("http://cat.example:{}/", server.local.port().unwrap()).parse().unwrap();
    assert_eq!(http.connect(&endpoint).await.unwrap().peer.address, Some(there));
    assert_eq!(ask(&http, &endpoint, "hello").await.unwrap(), "hello");
    name.lead_to(vec![here::another().unwrap()]);
    let before = name.asked();
    assert_eq!(http.connect(&endpoint).await.unwrap().peer.address, Some(there));
    assert_eq!(name.asked(), before, "the connection was kept");
}

#[tokio::test]
async fn pooled_connections_do_not_share_credentials() {
    let server = Echo::start(&Http::default(), "http://joe:s3cret@127.0.0.1:0").await;
    let http = Http::default();
    assert_eq!(ask(&http, &server.local, "hello").await.unwrap(), "hello");
    let bare = server.local.clone().without_credentials();
    assert_eq!(ask(&http, &bare, "x").await.unwrap_err().kind(), ErrorKind::Refused);
}

#[tokio::test]
async fn statuses_become_kinds_and_advice() {
    for (status, kind) in [
        (400, ErrorKind::Refused),
        (401, ErrorKind::Refused),
        (403, ErrorKind::Refused),
        (404, ErrorKind::NotFound),
        (405, ErrorKind::NotFound),
        (411, ErrorKind::Refused),
        (413, ErrorKind::Limit),
        (429, ErrorKind::Limit),
        (431, ErrorKind::Limit),
        (500, ErrorKind::Unreachable),
        (502, ErrorKind::Unreachable),
        (503, ErrorKind::Limit),
        (204, ErrorKind::Refused),
    ] {
        let found = kind_of(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n")).await;
        assert_eq!(found, kind, "{status}");
    }
    let server = Canned::start("HTTP/1.1 503 X\r\nRetry-After: 17\r\nContent-Length: 0\r\n\r\n").await;
    let e = ask(&Http::default(), &server.endpoint(), "x").await.unwrap_err();
    assert_eq!(e.retry(), Retry::After(17));
    let server = Canned::start("HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n").await;
    let e = ask(&Http::default(), &server.endpoint(), "x").await.unwrap_err();
    assert!(e.to_string().contains("user and password"), "{e}");
}

#[tokio::test]
async fn what_is_no_meow_answer_is_malformed() {
    let portal = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\n<ht>";
    assert_eq!(kind_of(portal).await, ErrorKind::Malformed);
    for body in [&[0, 0, 0, 0][..], &[0, 0, 0, 9, 1], &[255; 4], &[0, 0]] {
        let answer = ok(&format!("Content-Length: {}\r\n", body.len()), body);
        assert_eq!(kind_of(answer).await, ErrorKind::Malformed, "{body:?}");
    }
    let huge = ok("Content-Length: 2000000\r\n", &framed(&[1; 30_000]).repeat(70));
    assert_eq!(kind_of(huge).await, ErrorKind::Malformed);
    assert_eq!(kind_of("SSH-2.0-OpenSSH\r\n").await, ErrorKind::Unreachable);
    assert_eq!(kind_of("").await, ErrorKind::Unreachable);
    assert_eq!(kind_of(ok("Content-Length: 100\r\n", &framed(b"abc"))).await, ErrorKind::Unreachable);
}

#[tokio::test]
async fn a40_compressed_answers_are_refused_unread() {
    let answer = ok("Content-Encoding: gzip\r\nContent-Length: 3\r\n", &[0x1f, 0x8b, 8]);
    let server = Canned::start(answer).await;
    let e = ask(&Http::default(), &server.endpoint(), "x").await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Malformed);
    assert!(e.to_string().contains("content encoding"), "{e}");
    assert!(!server.requests.lock().unwrap()[0].to_lowercase().contains("accept-encoding"));
}

#[tokio::test]
async fn chunked_and_unbounded_answers_are_read_to_their_end() {
    let chunked = ok("Transfer-Encoding: chunked\r\n", b"3\r\n\0\0\0\r\n4\r\n\x03abc\r\n0\r\n\r\n");
    let to_close = ok("Connection: close\r\n", &framed(b"abc"));
    for answer in [chunked, to_close] {
        let server = Canned::start(answer).await;
        assert_eq!(ask(&Http::default(), &server.endpoint(), "x").await.unwrap(), "abc");
    }
}

#[tokio::test]
async fn a45_an_answer_of_two_lengths_is_refused() {
    for headers in
        ["Content-Length: 7\r\nTransfer-Encoding: chunked\r\n", "Content-Length: 7\r\nContent-Length: 8\r\n"]
    {
        assert_eq!(kind_of(ok(headers, &framed(b"abc"))).await, ErrorKind::Unreachable, "{headers}");
    }
}

#[tokio::test]
async fn a45_what_follows_an_answer_answers_nothing() {
    let first = ok("Content-Length: 7\r\n", &framed(b"abc"));
    let planted = ok("Content-Length: 7\r\n", &framed(b"bad"));
    let server = Canned::start([first, planted].concat()).await;
    let http = Http::default();
    for round in 1..4 {
        assert_eq!(ask(&http, &server.endpoint(), "x").await.unwrap(), "abc");
        assert_eq!(server.requests.lock().unwrap().len(), round, "a connection for each");
    }
}

#[tokio::test]
async fn a45_what_comes_before_the_question_answers_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint: Endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let planted = ok("Content-Length: 7\r\n", &framed(b"bad"));
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut socket, _)) = listener.accept().await {
            socket.write_all(&planted).await.unwrap();
            open.push(socket);
        }
    });
    let http = Http::default();
    for noticed in [true, false] {
        let mut link = common::connect(&http, &endpoint).await;
        if noticed {
            link.tx.closed().await;
        } else {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // Whoever waits for the answer already is told, too.
        let both = async { tokio::join!(link.rx.recv(), link.tx.finish()) };
        let (answer, asked) = tokio::time::timeout(Duration::from_secs(10), both).await.unwrap();
        let (answer, asked) = (answer.unwrap_err(), asked.unwrap_err());
        assert_eq!((answer.retry(), asked.retry()), (Retry::Now, Retry::Now));
    }
}

#[tokio::test]
async fn a45_interim_answers_without_end_are_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint: Endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let interim = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1000);
        while socket.write_all(interim.as_bytes()).await.is_ok() {}
    });
    // Long before the time for an answer is over.
    let http = Http::default();
    let asked = tokio::time::timeout(Duration::from_secs(10), ask(&http, &endpoint, "x"));
    assert_eq!(asked.await.unwrap().unwrap_err().kind(), ErrorKind::Unreachable);
}

#[tokio::test]
async fn an_answer_that_comes_before_the_request_is_taken_is_read() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint: Endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let refusing = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.read_exact(&mut [0; 16]).await.unwrap();
        socket.write_all(b"HTTP/1.1 413 X\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        socket
    });
    let mut config = ClientConfig::default();
    config.limits.max_body = 64 * 1024 * 1024;
    config.limits.max_frames = 10_000;
    let http = Http::new(config, ServerConfig::default()).unwrap();
    let mut link = common::connect(&http, &endpoint).await;
    // More than the system holds for a server that does not read on.
    for _ in 0..1000 {
        link.tx.send(vec![7; 32 * 1024].into()).await.unwrap();
    }
    link.tx.finish().await.unwrap();
    assert_eq!(link.rx.recv().await.unwrap_err().kind(), ErrorKind::Limit);
    drop(refusing.await.unwrap());
}

#[tokio::test]
async fn a_silent_server_runs_into_the_answer_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = ClientConfig::default();
    config.answer_timeout = Duration::from_millis(50);
    let http = Http::new(config, ServerConfig::default()).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let e = ask(&http, &endpoint, "x").await.unwrap_err();
    assert_eq!((e.kind(), e.retry()), (ErrorKind::Unreachable, Retry::Now));
    assert!(e.to_string().contains("allow more time"), "{e}");
}

#[tokio::test]
async fn the_connections_of_one_host_are_bounded() {
    let server = Echo::start(&Http::default(), "http://127.0.0.1:0").await;
    let mut config = ClientConfig::default();
    config.connections_per_host = 2;
    config.connect_timeout = Duration::from_millis(50);
    let http = Http::new(config, ServerConfig::default()).unwrap();
    let held = (common::connect(&http, &server.local).await, common::connect(&http, &server.local).await);
    let e = DynTransport::connect(&http, &server.local).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Limit);
    drop(held);
    ask(&http, &server.local, "x").await.unwrap();
}

/// Passes connections on to another address, and counts them: opened, and open.
async fn counter(to: std::net::SocketAddr) -> (Endpoint, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let (opened, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (Arc::clone(&opened), Arc::clone(&open));
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            counts.0.fetch_add(1, Ordering::SeqCst);
            counts.1.fetch_add(1, Ordering::SeqCst);
            let open = Arc::clone(&counts.1);
            tokio::spawn(async move {
                let mut far = TcpStream::connect(to).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    (endpoint, opened, open)
}

#[tokio::test]
async fn connections_are_kept_alive_and_reused() {
    let server = Echo::start(&Http::default(), "http://127.0.0.1:0").await;
    let (endpoint, opened, _) = counter(server.address()).await;
    let http = Http::default();
    for number in 0..50 {
        assert_eq!(ask(&http, &endpoint, &number.to_string()).await.unwrap(), number.to_string());
    }
    assert_eq!(opened.load(Ordering::SeqCst), 1);
    // A link that is dropped with its answer unread takes its connection along.
    let mut link = common::connect(&http, &endpoint).await;
    link.tx.finish().await.unwrap();
    drop(link);
    ask(&http, &endpoint, "x").await.unwrap();
    assert_eq!(opened.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let server = Echo::start(&Http::default(), "http://127.0.0.1:0").await;
    let (endpoint, opened, open) = counter(server.address()).await;
    let mut config = ClientConfig::default();
    config.idle_timeout = Duration::from_millis(50);
    let http = Http::new(config, ServerConfig::default()).unwrap();
    ask(&http, &endpoint, "x").await.unwrap();
    while open.load(Ordering::SeqCst) > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    ask(&http, &endpoint, "x").await.unwrap();
    assert_eq!(opened.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_not_used_again() {
    let mut config = ServerConfig::default();
    config.stall_timeout = Duration::from_millis(50);
    let server =
        Echo::start(&Http::new(ClientConfig::default(), config).unwrap(), "http://127.0.0.1:0").await;
    let (endpoint, opened, open) = counter(server.address()).await;
    let http = Http::default();
    for round in 1..4 {
        ask(&http, &endpoint, "x").await.unwrap();
        assert_eq!(opened.load(Ordering::SeqCst), round);
        // The client's end stays open until the pool looks; the counter sees the server's end go.
        let mut waited = 0;
        while open.load(Ordering::SeqCst) > 0 && waited < 100 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            waited += 1;
        }
    }
}

#[tokio::test]
async fn a_task_without_budget_still_sees_that_a_connection_was_closed() {
    let server = Canned::start(ok("Content-Length: 7\r\n", &framed(b"abc"))).await;
    let http = Http::default();
    ask(&http, &server.endpoint(), "x").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    while tokio::task::coop::has_budget_remaining() {
        tokio::task::coop::consume_budget().await;
    }
    assert_eq!(ask(&http, &server.endpoint(), "x").await.unwrap(), "abc");
}
