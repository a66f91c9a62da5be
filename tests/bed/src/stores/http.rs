//! One HTTP/1.1 request on a connection of its own: what tests ask stores for.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};

use crate::error::{BedError, Doing as _, Result};
use crate::place::Place;

/// A request.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// GET, PUT, …
    pub method: String,
    /// Path with query, percent-encoded.
    pub target: String,
    /// Headers but `host`, `connection` and `content-length`.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Request {
    /// Sends it to a port of a place; with `root`, an authority's certificate as PEM, over TLS.
    pub fn send(&self, place: &Place, port: u16, root: Option<&str>) -> Result<Answer> {
        let host = format!("{}:{port}", place.address);
        let doing = format!("{} {host}{}", self.method, self.target);
        let stream = place.connect(port)?;
        let patience = Some(Duration::from_secs(60));
        stream.set_read_timeout(patience).doing(&doing)?;
        stream.set_write_timeout(patience).doing(&doing)?;
        let answer = match root {
            None => self.over(stream, &host),
            Some(root) => self.over(tls(stream, place, root)?, &host),
        };
        parse(&answer.doing(&doing)?).ok_or_else(|| BedError::new(format!("{doing}: no answer")))
    }

    fn over(&self, mut stream: impl Read + Write, host: &str) -> std::io::Result<Vec<u8>> {
        let mut head = format!(
            "{} {} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n",
            self.method,
            self.target,
            self.body.len()
        );
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        stream.write_all(head.as_bytes())?;
        stream.write_all(&self.body)?;
        stream.flush()?;
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            // Some servers end a connection without the end of TLS.
            Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => Err(error),
            _ => Ok(answer),
        }
    }
}

fn tls(
    stream: TcpStream,
    place: &Place,
    root: &str,
) -> Result<rustls::StreamOwned<rustls::ClientConnection, TcpStream>> {
    let doing = "speaking TLS";
    let mut roots = rustls::RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(root.as_bytes()).doing(doing)?;
    roots.add(root).doing(doing)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .doing(doing)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::from(place.address);
    let client = rustls::ClientConnection::new(Arc::new(config), name).doing(doing)?;
    Ok(rustls::StreamOwned::new(client, stream))
}

fn parse(answer: &[u8]) -> Option<Answer> {
    let end = answer.windows(4).position(|it| it == b"\r\n\r\n")?;
    let (head, body) = (answer.get(..end)?, answer.get(end + 4..)?);
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let chunked = head
        .lines()
        .any(|line| line.starts_with("transfer-encoding:") && line.ends_with("chunked"));
    let body = if chunked {
        unchunk(body)?
    } else {
        body.to_vec()
    };
    Some(Answer { status, body })
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|it| it == b"\r\n")?;
        let length = std::str::from_utf8(rest.get(..end)?).ok()?;
        let length = length.split(';').next()?.trim();
        let length = usize::from_str_radix(length, 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        let from = end + 2;
        body.extend(rest.get(from..from + length)?);
        rest = rest.get(from + length + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let plain = parse(b"HTTP/1.1 404 Not Found\r\nServer: x\r\n\r\nno").unwrap();
        assert_eq!((plain.status, plain.text().as_str()), (404, "no"));
        let chunked =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n";
        assert_eq!(parse(chunked).unwrap().text(), "abcd");
        assert_eq!(parse(b""), None);
    }
}
