//! Pages of HTTP servers, asked without a program: a test that looks several times a second must not
//! start one each time.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// A page of a server at `host:port`; none if it does not answer with 200.
pub fn page(address: &str, path: &str) -> Option<String> {
    ask(address, "GET", path, "")
        .filter(|(status, _)| status == "200")
        .map(|it| it.1)
}

/// The status and the body of an answer; none if there is none.
pub fn ask(address: &str, method: &str, path: &str, body: &str) -> Option<(String, String)> {
    let wait = Duration::from_secs(20);
    let mut stream = TcpStream::connect_timeout(&address.parse().ok()?, wait).ok()?;
    stream.set_read_timeout(Some(wait)).ok()?;
    // As of version 1.0, so that the answer is in one piece.
    let host = address.split(':').next()?;
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {host}\r\n\
         Content-Type: application/merge-patch+json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split_whitespace().nth(1)?;
    Some((status.to_owned(), body.to_owned()))
}
