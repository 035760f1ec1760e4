use bytes::BytesMut;
use http::StatusCode;

use super::head::MAX_LINES;
use super::*;

/// What one connection's bytes are read as, arriving in parts of this size: the head, the body, and what is left over.
fn read(bytes: &[u8], part: usize) -> Result<(Head, Vec<u8>, usize), ResponseError> {
    let (mut reader, mut arrived) = (Reader::default(), BytesMut::new());
    let (mut head, mut body, mut parts) = (None, Vec::new(), bytes.chunks(part));
    loop {
        if head.is_none() {
            head = reader.head(&mut arrived)?;
        }
        while let Some(piece) = reader.piece(&mut arrived)? {
            body.extend_from_slice(&piece);
        }
        if reader.ended() {
            return Ok((head.unwrap(), body, arrived.len() + parts.map(<[u8]>::len).sum::<usize>()));
        }
        match parts.next() {
            Some(part) => arrived.extend_from_slice(part),
            None => reader.closed()?,
        }
    }
}

fn body(headers: &str, body: &[u8]) -> Result<(Vec<u8>, usize), ResponseError> {
    let bytes = [b"HTTP/1.1 200 OK\r\n", headers.as_bytes(), b"\r\n", body].concat();
    let whole = read(&bytes, bytes.len()).map(|(_, body, left)| (body, left));
    for part in [1, 2, 3, 7, 50] {
        assert_eq!(read(&bytes, part).map(|(_, body, left)| (body, left)), whole, "parts of {part}");
    }
    whole
}

#[test]
fn bodies_end_where_they_say() {
    let long = vec![7; COPIED * 3];
    assert_eq!(body("Content-Length: 3\r\n", b"abcdef"), Ok((b"abc".to_vec(), 3)));
    assert_eq!(body("content-length: 0\r\n", b"x"), Ok((vec![], 1)));
    assert_eq!(body(&format!("Content-Length: {}\r\n", long.len()), &long), Ok((long.clone(), 0)));
    let chunks = b"3;x=y\r\nabc\r\n0a\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\nrest";
    assert_eq!(body("Transfer-Encoding: Chunked\r\n", chunks), Ok((b"abc0123456789".to_vec(), 4)));
    assert_eq!(body("", b"all of it"), Ok((b"all of it".to_vec(), 0)));
}

#[test]
fn a45_a_length_that_can_be_read_in_two_ways_is_refused() {
    for headers in [
        "Content-Length: 3\r\nContent-Length: 3\r\n",
        "Content-Length: 3, 3\r\n",
        "Content-Length: +3\r\n",
        "Content-Length: -1\r\n",
        "Content-Length:\r\n",
        "Content-Length: 0x3\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\n",
    ] {
        assert_eq!(body(headers, b"3\r\nabc\r\n0\r\n\r\n"), Err(ResponseError::Length), "{headers}");
    }
    let old = b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(read(old, 9).unwrap_err(), ResponseError::Length);
}

#[test]
fn what_is_no_response_is_refused() {
    use ResponseError as E;
    let chunked = "Transfer-Encoding: chunked\r\n";
    assert_eq!(body(chunked, b"3\r\nabcd\r\n0\r\n\r\n"), Err(E::Chunk));
    assert_eq!(body(chunked, b"fffffffffffffffff\r\n"), Err(E::Syntax));
    for line in ["-1\r\n", "\r\n\r\n", ";x\r\n\r\n", " \r\n\r\n", "0;x\ny\r\n\r\n", "0;x\r\r\n\r\n"] {
        assert_eq!(body(chunked, line.as_bytes()), Err(E::Syntax), "{line:?}");
    }
    assert_eq!(body(chunked, &[b"3;", &[b'x'; MAX_HEAD][..]].concat()), Err(E::HeadTooLong));
    let padded = format!("1;{}\r\na\r\n", "x".repeat(MAX_HEAD / 10));
    assert_eq!(body(chunked, format!("{}0\r\n\r\n", padded.repeat(9)).as_bytes()), Ok((vec![b'a'; 9], 0)));
    assert_eq!(body(chunked, padded.repeat(11).as_bytes()), Err(E::HeadTooLong));
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(MAX_HEAD / 25 + 1);
    assert_eq!(read(interim.as_bytes(), 1000).unwrap_err(), E::HeadTooLong);
    for cut in [&b"3"[..], b"3\r\nab", b"3\r\nabc\r\n", b"3\r\nabc\r\n0\r\n"] {
        assert_eq!(body(chunked, cut), Err(E::Truncated));
    }
    assert_eq!(body("Content-Length: 3\r\n", b"ab"), Err(E::Truncated));
    assert_eq!(body(&"A: b\r\n".repeat(MAX_LINES + 1), b""), Err(E::HeadTooLong));
    assert_eq!(body(&format!("A: {}\r\n", "b".repeat(MAX_HEAD)), b""), Err(E::HeadTooLong));
    for (bytes, error) in [
        (&b"SSH-2.0-OpenSSH\r\n"[..], E::Syntax),
        (b"", E::Truncated),
        (b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", E::Syntax),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", E::Switch),
    ] {
        assert_eq!(read(bytes, 5).unwrap_err(), error);
    }
}

#[test]
fn heads_say_what_counts() {
    let bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n\
        HTTP/1.1 503 Busy\r\nRetry-After: 17\r\nContent-Type: application/octet-stream\r\n\
        Content-Type: text/html\r\nContent-Encoding: identity\r\nContent-Length: 0\r\n\r\n";
    let head =
        Head { status: StatusCode::SERVICE_UNAVAILABLE, retry_after: Some(17), octets: false, encoded: true };
    for part in [1, 10, 500] {
        assert_eq!(read(bytes, part), Ok((head, vec![], 0)));
    }
}

#[test]
fn connections_are_kept_where_both_sides_know_the_end() {
    for (version, headers, keeps) in [
        ("1.1", "Content-Length: 0", true),
        ("1.1", "Transfer-Encoding: chunked", true),
        ("1.1", "Content-Length: 0\r\nConnection: x, Close", false),
        ("1.1", "A: b", false),
        ("1.0", "Content-Length: 0\r\nConnection: keep-alive", false),
    ] {
        let mut reader = Reader::default();
        let bytes = format!("HTTP/{version} 200 OK\r\n{headers}\r\n\r\n");
        reader.head(&mut bytes.as_bytes().into()).unwrap().unwrap();
        assert_eq!(reader.keeps(), keeps, "{headers}");
    }
}
