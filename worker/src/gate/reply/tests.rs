//! What the reader of answers takes, what it refuses, and in how many pieces it may come.

use super::*;

/// Reads bytes that come in pieces of a size, and then the connection's end.
fn read(bytes: &[u8], size: usize) -> Result<(Reply, Vec<u8>), Bad> {
    let (mut buffer, mut reader) = (Buffer::default(), Reader::new());
    for piece in bytes.chunks(size) {
        let mut piece = piece;
        while !piece.is_empty() {
            let room = buffer.room();
            let count = room.len().min(piece.len());
            room[..count].copy_from_slice(&piece[..count]);
            buffer.came(count);
            piece = &piece[count..];
            if let Some(reply) = reader.read(&mut buffer)? {
                let body = buffer.filled()[reply.body.clone()].to_vec();
                return Ok((reply, body));
            }
        }
    }
    let reply = reader.end()?;
    let body = buffer.filled()[reply.body.clone()].to_vec();
    Ok((reply, body))
}

/// Status, body, whether the connection may be kept.
fn sound(text: &str) -> (u16, String, bool) {
    let results: Vec<_> = [text.len(), 1, 2, 7, 19]
        .map(|size| {
            let (reply, body) = read(text.as_bytes(), size).unwrap();
            assert!(reply.whole, "{text:?}");
            (reply.status.as_u16(), String::from_utf8(body).unwrap())
        })
        .into();
    assert!(results.iter().all(|it| *it == results[0]), "{text:?}");
    let (reply, _) = read(text.as_bytes(), text.len()).unwrap();
    let (status, body) = results[0].clone();
    (status, body, reply.reusable)
}

#[test]
fn every_kind_of_body_is_read_however_it_comes() {
    let long = "x".repeat(3 * ROOM);
    let large = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{long}",
        long.len()
    );
    let many = long
        .as_bytes()
        .chunks(700)
        .map(|chunk| {
            let text = String::from_utf8_lossy(chunk);
            format!("{:X}\r\n{text}\r\n", chunk.len())
        })
        .collect::<String>();
    let many =
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n{many}0\r\n\r\n");
    for (text, status, body, kept) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            200,
            "abc",
            true,
        ),
        (
            "HTTP/1.1 200\r\ncontent-length:3\r\n\r\nabc",
            200,
            "abc",
            true,
        ),
        (
            "\r\nHTTP/1.1 200 OK\r\ncontent-length: 3, 3\r\nContent-Length: 3\r\n\r\nabc",
            200,
            "abc",
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            200,
            "",
            true,
        ),
        ("HTTP/1.1 204 No\r\n\r\n", 204, "", true),
        (
            "HTTP/1.1 304 No\r\ncontent-length: 9\r\n\r\n",
            304,
            "",
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\nconnection: x, Close\r\ncontent-length: 1\r\n\r\na",
            200,
            "a",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nconnection: close, keep-alive\r\ncontent-length: 1\r\n\r\na",
            200,
            "a",
            false,
        ),
        (
            "HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\na",
            200,
            "a",
            false,
        ),
        (
            "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 1\r\n\r\na",
            200,
            "a",
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\n\r\nto the end",
            200,
            "to the end",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\ncontent-length: 2\r\n\r\nto the end",
            200,
            "to the end",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;a=\"b\"\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
            200,
            "abcde",
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n00a\r\n0123456789\r\n0\r\nx: y\r\nz: a\r\n\r\n",
            200,
            "0123456789",
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n1\r\na\r\n0\r\n\r\n",
            200,
            "a",
            false,
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nno",
            503,
            "no",
            true,
        ),
        (
            "HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n",
            101,
            "",
            false,
        ),
        (&large, 200, &long, true),
        (&many, 200, &long, true),
    ] {
        let shown = &text[..text.len().min(120)];
        assert_eq!(sound(text), (status, body.to_owned(), kept), "{shown:?}");
    }
}

#[test]
fn what_follows_an_answer_spoils_the_connection() {
    for text in [
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab",
        "HTTP/1.1 204 No\r\n\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\nHTTP/1.1",
    ] {
        let (reply, body) = read(text.as_bytes(), text.len()).unwrap();
        assert!(reply.whole && !reply.reusable, "{text:?}");
        assert!(body.is_empty() || body == b"a");
    }
}

#[test]
fn what_is_no_answer_is_refused_however_it_comes() {
    let head = "HTTP/1.1 200 OK\r\n";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for (text, words) in [
        ("garbage\r\n\r\n".to_owned(), "no HTTP/1 answer"),
        ("ICY 200 OK\r\n\r\n".to_owned(), "no HTTP/1 answer"),
        ("HTTP/2 200 OK\r\n\r\n".to_owned(), "no HTTP/1 answer"),
        ("HTTP/1.1 2x0 OK\r\n\r\n".to_owned(), "no HTTP/1 answer"),
        ("HTTP/1.1 099 Low\r\n\r\n".to_owned(), "status 99"),
        (format!("{head}a: b\r\n folded\r\n\r\n"), "no HTTP/1 answer"),
        (format!("{head}a b: c\r\n\r\n"), "no HTTP/1 answer"),
        (format!("{head}a : c\r\n\r\n"), "no HTTP/1 answer"),
        (format!("{head}a: \0\r\n\r\n"), "no HTTP/1 answer"),
        (format!("{head}no colon\r\n\r\n"), "no HTTP/1 answer"),
        (
            format!("{head}{}\r\n", "a: b\r\n".repeat(101)),
            "no HTTP/1 answer",
        ),
        (
            format!("{head}a: {}\r\n\r\n", "b".repeat(HEAD_MAX)),
            "a head of more",
        ),
        (
            format!("{head}a: {}", "b".repeat(HEAD_MAX)),
            "a head of more",
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\n".repeat(4_000),
            "a head of more",
        ),
        (
            format!("{head}content-length: 1\r\ncontent-length: 2\r\n\r\nab"),
            "Content-Length",
        ),
        (
            format!("{head}content-length: 1, 2\r\n\r\nab"),
            "Content-Length",
        ),
        (
            format!("{head}content-length: -1\r\n\r\n"),
            "Content-Length",
        ),
        (
            format!("{head}content-length: +1\r\n\r\na"),
            "Content-Length",
        ),
        (
            format!("{head}content-length: 1x\r\n\r\n"),
            "Content-Length",
        ),
        (
            format!("{head}content-length: 99999999999999999999\r\n\r\n"),
            "Content-Length",
        ),
        (format!("{head}content-length:\r\n\r\n"), "Content-Length"),
        (
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
            "HTTP/1.0",
        ),
        (format!("{chunked}x\r\n"), "a chunk's size"),
        (format!("{chunked}-1\r\n"), "a chunk's size"),
        (format!("{chunked}fffffffffffffffff\r\n"), "a chunk's size"),
        (
            format!("{chunked}1;{}", "x".repeat(9_000)),
            "a chunk's size line",
        ),
        (
            format!("{chunked}1\r\nab\r\n0\r\n\r\n"),
            "longer than its size",
        ),
        (
            format!("{chunked}0\r\n{}", "a: b\r\n".repeat(20_000)),
            "trailers",
        ),
        (
            format!("{chunked}0\r\n{}", "a".repeat(2 * HEAD_MAX)),
            "trailers",
        ),
    ] {
        for size in [text.len(), 1_000, 3] {
            let shown = &text[..text.len().min(120)];
            match read(text.as_bytes(), size) {
                Err(Bad::Malformed(what)) => assert!(what.contains(words), "{shown:?}: {what}"),
                other => panic!("{shown:?} in pieces of {size}: {other:?}"),
            }
        }
    }
}

#[test]
fn an_answer_that_is_cut_anywhere_is_none() {
    for text in [
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\na: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\na: b\r\n\r\n",
    ] {
        for cut in 0..text.len() {
            for size in [1, 5, 100] {
                let end = read(&text.as_bytes()[..cut], size);
                assert_eq!(end.unwrap_err(), Bad::Cut, "{:?}", &text[..cut]);
            }
        }
    }
}

#[test]
fn a_body_beyond_the_bound_is_not_read_on() {
    let body = "x".repeat(BODY_MAX + 1);
    let length = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let huge = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
        u64::MAX
    );
    let end = format!("HTTP/1.1 200 OK\r\n\r\n{body}");
    let chunk = format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    let chunks: String = body
        .as_bytes()
        .chunks(1_000)
        .map(|chunk| {
            format!(
                "{:x}\r\n{}\r\n",
                chunk.len(),
                String::from_utf8_lossy(chunk)
            )
        })
        .collect();
    let chunks = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}0\r\n\r\n");
    for text in [length, huge, end, chunk, chunks] {
        for size in [text.len(), 70_001] {
            let (reply, body) = read(text.as_bytes(), size).unwrap();
            assert!(!reply.whole && !reply.reusable);
            assert_eq!(body.len(), BODY_MAX);
        }
    }
}
