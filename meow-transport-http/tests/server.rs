//! The listening side: who is let in, who is said to be there, and what happens when a side goes away.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::net::IpAddr;
use std::time::Duration;

use common::{Echo, ask, post, raw, statuses};
use meow_core::transport::{DynTransport, Endpoint};
use meow_core::{ErrorKind, Retry};
use meow_transport_http::{Account, ClientConfig, Http, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn with(change: impl FnOnce(&mut ServerConfig)) -> Http {
    let mut config = ServerConfig::default();
    change(&mut config);
    Http::new(ClientConfig::default(), config).unwrap()
}

#[tokio::test]
async fn only_accounts_are_let_in() {
    let account = Account { user: "joe".to_owned(), password: "s3cret".to_owned().into() };
    let server = Echo::start(&with(|c| c.accounts = vec![account]), "http://ann:b%3Ac%20d@127.0.0.1:0").await;
    let http = Http::default();
    let with_user =
        |user: &str| -> Endpoint { format!("http://{user}{}", server.address()).parse().unwrap() };
    for good in ["joe:s3cret@", "ann:b%3Ac%20d@"] {
        assert_eq!(ask(&http, &with_user(good), "hello").await.unwrap(), "hello");
    }
    for bad in ["", "joe@", "joe:@", "joe:s3cre@", "joe:s3crett@", "ann:s3cret@", "Joe:s3cret@", ":s3cret@"] {
        let e = ask(&http, &with_user(bad), "x").await.unwrap_err();
        assert_eq!((e.kind(), e.retry()), (ErrorKind::Refused, Retry::Never), "{bad}");
    }
    for header in [
        "Authorization: Basic\r\n",
        "Authorization: Basic !!!\r\n",
        "Authorization: Basic am9l\r\n",
        "Authorization: Bearer am9lOnMzY3JldA==\r\n",
        "Authorization: Basic am9lOnMzY3JldA==\r\nAuthorization: Basic am9lOnMzY3JldA==\r\n",
    ] {
        assert_eq!(statuses(&raw(server.address(), &post(b"x", header)).await), [401], "{header}");
    }
    let good = "Authorization: basic am9lOnMzY3JldA==\r\nConnection: close\r\n";
    assert_eq!(statuses(&raw(server.address(), &post(b"x", good)).await), [200]);
}

#[tokio::test]
async fn a_user_with_a_colon_is_refused() {
    let account = Account { user: "a:b".to_owned(), password: "c".to_owned().into() };
    let http = with(|c| c.accounts = vec![account]);
    let listened = DynTransport::listen(&http, &"http://127.0.0.1:0".parse().unwrap()).await;
    assert_eq!(listened.unwrap_err().kind(), ErrorKind::Usage);
}

#[tokio::test]
async fn only_well_formed_posts_to_the_path_are_served() {
    let server = Echo::start(&Http::default(), "http://127.0.0.1:0/meow").await;
    let octets = "Content-Type: application/octet-stream\r\n";
    for (line, headers, status) in [
        ("POST /meow", octets, 200),
        ("POST /", octets, 404),
        ("POST /meow/", octets, 404),
        ("POST /meow?x=1", octets, 404),
        ("POST /MEOW", octets, 404),
        ("GET /meow", octets, 405),
        ("PUT /meow", octets, 405),
        ("OPTIONS /meow", octets, 405),
        ("POST /meow", "Content-Type: text/plain\r\n", 415),
        ("POST /meow", "", 415),
    ] {
        let request =
            format!("{line} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n");
        let text = raw(server.address(), request.as_bytes()).await;
        assert_eq!(statuses(&text), [status], "{line} {headers}");
        assert!(!text.to_lowercase().contains("server:"), "{text}");
    }
    let e = ask(&Http::default(), &format!("http://{}/other", server.address()).parse().unwrap(), "x").await;
    assert_eq!(e.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a40_compressed_requests_are_refused_unread() {
    let server = Echo::start(&Http::default(), "http://127.0.0.1:0").await;
    for encoding in ["gzip", "deflate", "br", "zstd", "identity", "gzip, gzip"] {
        let text = raw(server.address(), &post(b"x", &format!("Content-Encoding: {encoding}\r\n"))).await;
        assert_eq!(statuses(&text), [415], "{encoding}");
    }
    let text = raw(server.address(), &post(b"x", "Accept-Encoding: gzip\r\nConnection: close\r\n")).await;
    assert_eq!(statuses(&text), [200]);
    assert!(!text.to_lowercase().contains("content-encoding"), "{text}");
}

#[tokio::test]
async fn the_forwarded_address_counts_from_listed_proxies_only() {
    let loopback: IpAddr = "127.0.0.1".parse().unwrap();
    for (proxies, header, address) in [
        (&[][..], "X-Forwarded-For: 1.2.3.4\r\n", loopback),
        (&["10.0.0.0/8"], "X-Forwarded-For: 1.2.3.4\r\n", loopback),
        (&["127.0.0.1"], "", loopback),
        (&["127.0.0.1"], "X-Forwarded-For: 6.6.6.6, 1.2.3.4\r\n", "1.2.3.4".parse().unwrap()),
        (
            &["127.0.0.1"],
            "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 1.2.3.4\r\n",
            "1.2.3.4".parse().unwrap(),
        ),
        (&["127.0.0.1"], "Forwarded: for=1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\n", loopback),
    ] {
        let http = with(|c| c.trusted_proxies = proxies.iter().map(|text| text.parse().unwrap()).collect());
        let mut listener = common::listen(&http, "http://127.0.0.1:0").await;
        let mut socket = TcpStream::connect(listener.local().authority()).await.unwrap();
        socket.write_all(&post(b"x", header)).await.unwrap();
        let link = listener.accept().await.unwrap().unwrap();
        assert_eq!(link.peer.address, Some(address), "{proxies:?} {header}");
    }
}

#[tokio::test]
async fn a_link_dropped_without_an_answer_is_a_server_error() {
    let mut listener = common::listen(&Http::default(), "http://127.0.0.1:0").await;
    let address = listener.local().authority().parse().unwrap();
    let request = post(b"x", "");
    let (text, ()) = tokio::join!(raw(address, &request), async { drop(listener.accept().await) });
    assert_eq!(statuses(&text), [500]);
}

#[tokio::test]
async fn a_client_that_leaves_during_a_long_poll_is_noticed() {
    let mut listener = common::listen(&Http::default(), "http://127.0.0.1:0").await;
    let mut socket = TcpStream::connect(listener.local().authority()).await.unwrap();
    socket.write_all(&post(b"x", "")).await.unwrap();
    let mut link = listener.accept().await.unwrap().unwrap();
    link.tx.send("early".into()).await.unwrap();
    drop(socket);
    link.tx.closed().await;
    assert_eq!(link.tx.send("late".into()).await.unwrap_err().kind(), ErrorKind::Unreachable);
    assert_eq!(link.tx.finish().await.unwrap_err().kind(), ErrorKind::Unreachable);
}

#[tokio::test]
async fn what_waits_when_a_listener_closes_is_told_to_come_back() {
    let mut listener = common::listen(&Http::default(), "http://127.0.0.1:0").await;
    let mut socket = TcpStream::connect(listener.local().authority()).await.unwrap();
    socket.write_all(&post(b"x", "")).await.unwrap();
    // An idle connection must not hold up the closing.
    let mut idle = TcpStream::connect(listener.local().authority()).await.unwrap();
    idle.write_all(&post(b"y", "")).await.unwrap();
    let mut served = listener.accept().await.unwrap().unwrap();
    served.tx.finish().await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    listener.close().await.unwrap();
    let (one, other) = tokio::join!(common::read_to_close(&mut socket), common::read_to_close(&mut idle));
    let mut found = [statuses(&one), statuses(&other)];
    found.sort();
    assert_eq!(found, [[200], [503]]);
    assert!(listener.accept().await.unwrap().is_none());
}

#[tokio::test]
async fn closing_does_not_wait_for_ever() {
    let http = with(|c| c.drain = Duration::from_millis(50));
    let mut listener = common::listen(&http, "http://127.0.0.1:0").await;
    let mut socket = TcpStream::connect(listener.local().authority()).await.unwrap();
    socket.write_all(&post(b"x", "")).await.unwrap();
    let mut link = listener.accept().await.unwrap().unwrap();
    listener.close().await.unwrap();
    link.tx.closed().await;
    assert_eq!(common::read_to_close(&mut socket).await, "");
}

#[tokio::test]
async fn a_dropped_listener_stops_serving() {
    let listener = common::listen(&Http::default(), "http://127.0.0.1:0").await;
    let endpoint = listener.local().clone();
    drop(listener);
    // The port is free again as soon as the task has gone.
    for _ in 0..500 {
        if let Ok(listener) = DynTransport::listen(&Http::default(), &endpoint).await {
            assert_eq!(listener.local(), &endpoint);
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the port is still in use");
}

#[tokio::test]
async fn a_taken_port_is_a_system_error() {
    let listener = common::listen(&Http::default(), "http://127.0.0.1:0").await;
    let e = DynTransport::listen(&Http::default(), listener.local()).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::System);
}

#[tokio::test]
async fn a_full_queue_of_links_sheds_load() {
    let mut listener = common::listen(&with(|c| c.max_waiting = 1), "http://127.0.0.1:0").await;
    let address = listener.local().authority().parse().unwrap();
    let mut first = TcpStream::connect(listener.local().authority()).await.unwrap();
    first.write_all(&post(b"one", "Connection: close\r\n")).await.unwrap();
    // Refused once the first one has taken the only place.
    while statuses(&raw(address, &post(b"two", "")).await) != [503] {}
    let mut link = listener.accept().await.unwrap().unwrap();
    link.tx.finish().await.unwrap();
    drop(link);
    assert_eq!(statuses(&common::read_to_close(&mut first).await), [200]);
}

#[tokio::test]
async fn a_full_budget_sheds_load_and_recovers() {
    let http = with(|c| c.max_buffered = 10_000);
    let server = Echo::start(&http, "http://127.0.0.1:0").await;
    let big = vec![1; 20_000];
    assert_eq!(statuses(&raw(server.address(), &post(&big, "")).await), [503]);
    // Fits as a request, but not together with its echo.
    assert_eq!(statuses(&raw(server.address(), &post(&big[..6_000], "")).await), [500]);
    for _ in 0..10 {
        let text = raw(server.address(), &post(&big[..4_000], "Connection: close\r\n")).await;
        assert_eq!(statuses(&text), [200]);
    }
}

#[tokio::test]
async fn connections_beyond_the_cap_wait_their_turn() {
    let server = Echo::start(&with(|c| c.max_connections = 1), "http://127.0.0.1:0").await;
    let mut first = TcpStream::connect(server.address()).await.unwrap();
    first.write_all(&post(b"one", "")).await.unwrap();
    let mut byte = [0];
    first.read_exact(&mut byte).await.unwrap();
    let mut second = TcpStream::connect(server.address()).await.unwrap();
    second.write_all(&post(b"two", "Connection: close\r\n")).await.unwrap();
    tokio::select! {
        _ = second.read_exact(&mut byte) => panic!("served beside the first"),
        () = tokio::time::sleep(Duration::from_millis(100)) => {}
    }
    drop(first);
    assert!(common::read_to_close(&mut second).await.contains("two"));
}
