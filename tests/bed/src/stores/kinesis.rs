//! Kinesis: the engine that is inside of LocalStack, over plain HTTP and beside it over TLS.

use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::certs::Authority;
use super::http::Request;
use super::server::Server;
use crate::error::{BedError, Doing as _, Result};
use crate::pins::Kit;
use crate::place::Place;

/// The file of what it keeps.
const KEPT: &str = "streams.json";

/// A Kinesis that runs. Its streams are in its memory, and written to a file soon after each
/// change ([`KinesisServer::kept`]): one that is started again has them.
#[derive(Debug)]
pub struct KinesisServer {
    /// The process.
    pub server: Server,
    /// Where it speaks TLS.
    tls_port: u16,
    /// Its log, its certificate, and what it keeps.
    folder: TempDir,
}

impl KinesisServer {
    /// One on the machine's loopback.
    pub fn start() -> Result<KinesisServer> {
        Self::start_at(Place::loopback())
    }

    /// One at a place.
    pub fn start_at(place: Place) -> Result<KinesisServer> {
        let kit = Kit::Kinesis.ensure()?;
        let folder = tempfile::tempdir().doing("making a folder for Kinesis")?;
        let (port, tls) = (place.free_port()?, place.free_port()?);
        let log = folder.path().join("log");
        let certificate = certificate(&place, folder.path())?;
        let start = {
            let (place, kept) = (place.clone(), folder.path().to_owned());
            move || {
                let package = kit.join("node_modules/kinesis-local");
                let mut command = place.command("node");
                command
                    .arg("--require")
                    .arg(kit.join("listen.js"))
                    .arg(package.join("main.js"))
                    .current_dir(&package)
                    .env("LISTEN", place.address.to_string())
                    .env("SHOULD_PERSIST_DATA", "true")
                    .env("PERSIST_PATH", &kept)
                    .env("PERSIST_FILE_NAME", KEPT)
                    .env("PERSIST_INTERVAL", "250ms")
                    .env("KINESIS_MOCK_PLAIN_PORT", port.to_string())
                    .env("KINESIS_MOCK_TLS_PORT", tls.to_string())
                    .env("KINESIS_MOCK_CERT_PATH", &certificate);
                command
            }
        };
        let ready = {
            let place = place.clone();
            move || request(&place, port, "ListStreams", &json!({})).is_ok()
        };
        Ok(KinesisServer {
            server: Server::start_new(place, port, log, start, ready)?,
            tls_port: tls,
            folder,
        })
    }

    /// Its URL, such as `http://127.0.0.1:4567`.
    pub fn endpoint(&self) -> String {
        format!("http://{}:{}", self.server.place.address, self.server.port)
    }

    /// Its URL over TLS, with a certificate that [`KinesisServer::root_file`]'s authority signed.
    pub fn tls_endpoint(&self) -> String {
        format!("https://{}:{}", self.server.place.address, self.tls_port)
    }

    /// The file of its authority's certificate, as PEM.
    pub fn root_file(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// Whether what it keeps holds this text already: a record's number, say.
    pub fn kept(&self, text: &str) -> bool {
        let kept = std::fs::read_to_string(self.folder.path().join(KEPT));
        kept.is_ok_and(|kept| kept.contains(text))
    }

    /// One request of the API (`PutRecord`, …) with its parameters; the answer.
    pub fn ask(&self, action: &str, parameters: &Value) -> Result<Value> {
        request(&self.server.place, self.server.port, action, parameters)
    }
}

/// Makes a certificate for a place, in the form that the engine reads: gives its file.
fn certificate(place: &Place, folder: &std::path::Path) -> Result<PathBuf> {
    let doing = "making the certificate of Kinesis";
    let [pem, key, both] = ["public.crt", "private.key", "server.json"].map(|it| folder.join(it));
    let names = [place.address.to_string(), "localhost".into()];
    Authority::new()?.write(&names, &pem, &key)?;
    let read = |path: &PathBuf| std::fs::read_to_string(path).doing(doing);
    let text = json!({"server": {"cert": read(&pem)?, "key": read(&key)?}}).to_string();
    std::fs::write(&both, text).doing(doing)?;
    Ok(both)
}

fn request(place: &Place, port: u16, action: &str, parameters: &Value) -> Result<Value> {
    let request = Request {
        method: "POST".into(),
        target: "/".into(),
        headers: vec![
            ("content-type".into(), "application/x-amz-json-1.1".into()),
            ("accept".into(), "application/json".into()),
            ("x-amz-target".into(), format!("Kinesis_20131202.{action}")),
            ("x-amz-date".into(), "20260101T000000Z".into()),
            (
                "authorization".into(),
                // The engine wants a signature of this form and does not check it.
                "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/kinesis/aws4_request, \
                 SignedHeaders=host, Signature=00"
                    .into(),
            ),
        ],
        body: parameters.to_string().into(),
    };
    let answer = request.send(place, port, None)?;
    let text = answer.text();
    if answer.status != 200 {
        return Err(BedError::new(format!(
            "Kinesis {action}: {}: {text}",
            answer.status
        )));
    }
    if text.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&text).doing(format_args!("Kinesis {action}"))
}
