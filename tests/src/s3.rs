//! A real MinIO for a test, and what is put into it and taken from it.

use std::future::Future;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use bytes::Bytes;
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::HttpRequest;
use serde_json::{Value, json};
use tempfile::TempDir;
use worldstream::plan::{S3CredentialsPlan, S3Plan, SecretSource};
use worldstream::store::{Expect, Store, s3};

use crate::inside::until;

/// Who may do anything there.
pub const USER: &str = "testbed";
/// Its secret.
pub const SECRET: &str = "testbed-secret";

/// A MinIO that runs. Ended when dropped.
pub struct Minio {
    child: Child,
    dir: TempDir,
    address: String,
    /// Where it listens, `http://127.0.0.1:port`, or https.
    pub url: String,
    certificates: bool,
    /// The certificates that it is trusted by.
    roots: Mutex<Option<PathBuf>>,
}

/// Credentials that MinIO gave for an hour.
#[derive(Debug, Clone)]
pub struct Session {
    /// The access key's id.
    pub key_id: String,
    /// Its secret.
    pub secret: String,
    /// The session's token.
    pub token: String,
    /// When it expires, RFC 3339.
    pub expiration: String,
}

impl Minio {
    /// One on a free port.
    pub fn start() -> Minio {
        Self::start_with(None)
    }

    /// One that speaks https, with the certificate and key (PEM) for `127.0.0.1`.
    pub fn start_tls(certificate: &str, key: &str) -> Minio {
        Self::start_with(Some((certificate, key)))
    }

    fn start_with(tls: Option<(&str, &str)>) -> Minio {
        let dir = tempfile::tempdir().expect("a folder for MinIO");
        let certs = dir.path().join("certs");
        std::fs::create_dir_all(&certs).expect("a folder");
        if let Some((certificate, key)) = tls {
            std::fs::write(certs.join("public.crt"), certificate).expect("a file");
            std::fs::write(certs.join("private.key"), key).expect("a file");
        }
        let address = free_address();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let child = spawn(dir.path(), &address);
        let minio = Minio {
            child,
            dir,
            url: format!("{scheme}://{address}"),
            address,
            certificates: tls.is_some(),
            roots: Mutex::default(),
        };
        minio.until_ready();
        minio
    }

    fn until_ready(&self) {
        until("MinIO answers", || match self.certificates {
            // With TLS, that it takes connections: a first request may be tried again.
            true => TcpStream::connect(&self.address).is_ok(),
            false => self
                .raw("GET", "/minio/health/ready", &[], b"")
                .is_some_and(|answer| answer.starts_with("HTTP/1.1 200")),
        });
    }

    /// Makes a bucket.
    pub fn bucket(&self, name: &str) {
        std::fs::create_dir_all(self.dir.path().join("data").join(name)).expect("a bucket");
    }

    /// How it is reached, as a plan says it.
    pub fn plan(&self) -> S3Plan {
        let secret = |name: &str, value: &str| {
            let path = self.dir.path().join(name);
            std::fs::write(&path, format!("{value}\n")).expect("a secret");
            SecretSource::File(path)
        };
        S3Plan {
            endpoint: Some(self.url.clone()),
            credentials: Some(S3CredentialsPlan {
                access_key_id: secret("id", USER),
                secret_access_key: secret("secret", SECRET),
                session_token: None,
            }),
            ca_file: self.roots.lock().expect("nobody panics with it").clone(),
            ..S3Plan::default()
        }
    }

    /// Trusts it by the certificates of this file from now on.
    pub fn trust(&self, roots: &Path) {
        *self.roots.lock().expect("nobody panics with it") = Some(roots.to_owned());
    }

    /// How it is reached, as a profile says it, `world.s3`.
    pub fn spec(&self) -> Value {
        self.plan();
        let file = |name: &str| json!({"file": self.dir.path().join(name)});
        json!({
            "endpoint": self.url,
            "credentials": {"accessKeyId": file("id"), "secretAccessKey": file("secret")},
        })
    }

    /// A bucket of it.
    pub fn open(&self, bucket: &str) -> Store {
        s3::open(&self.plan(), bucket).expect("a bucket")
    }

    /// Puts an object.
    pub fn put(&self, bucket: &str, key: &str, bytes: impl Into<Bytes>) {
        let at = s3::below(Default::default(), key);
        wait(self.open(bucket).put(&at, bytes.into(), Expect::Anything)).expect("it is put");
    }

    /// Puts all files below a folder, their paths below a prefix.
    pub fn put_folder(&self, bucket: &str, prefix: &str, folder: &Path) {
        self.bucket(bucket);
        let store = self.open(bucket);
        for (relative, path) in files(folder) {
            let at = s3::below(Default::default(), &format!("{prefix}/{relative}"));
            let bytes = std::fs::read(path).expect("a file");
            wait(store.put(&at, bytes.into(), Expect::Anything)).expect("it is put");
        }
    }

    /// The object's bytes; none if there is none.
    pub fn get(&self, bucket: &str, key: &str) -> Option<Bytes> {
        let at = s3::below(Default::default(), key);
        wait(self.open(bucket).get(&at))
            .expect("it can be asked for")
            .map(|(bytes, _)| bytes)
    }

    /// The keys below a prefix, sorted.
    pub fn keys(&self, bucket: &str, prefix: &str) -> Vec<String> {
        let at = s3::below(Default::default(), prefix);
        let found = wait(self.open(bucket).walk(&at)).expect("a list");
        let mut keys: Vec<_> = found.iter().map(|it| it.location.to_string()).collect();
        keys.sort();
        keys
    }

    /// Lets everybody read a bucket.
    pub fn open_to_all(&self, bucket: &str) {
        let policy = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow",
            "Principal": {"AWS": ["*"]},
            "Action": ["s3:GetObject", "s3:ListBucket"],
            "Resource": [format!("arn:aws:s3:::{bucket}"), format!("arn:aws:s3:::{bucket}/*")],
        }]});
        let target = format!("/{bucket}?policy=");
        self.signed("PUT", "s3", &target, &policy.to_string());
    }

    /// Credentials for an hour, by MinIO's own token service.
    pub fn session(&self) -> Session {
        let body = "Action=AssumeRole&Version=2011-06-15&DurationSeconds=3600";
        let answer = self.signed("POST", "sts", "/", body);
        let tag = |name: &str| {
            let text = answer.split_once(&format!("<{name}>"));
            let text = text.and_then(|(_, rest)| rest.split_once('<'));
            text.unwrap_or_else(|| panic!("no {name}: {answer}")).0.to_owned()
        };
        Session {
            key_id: tag("AccessKeyId"),
            secret: tag("SecretAccessKey"),
            token: tag("SessionToken"),
            expiration: tag("Expiration"),
        }
    }

    fn signed(&self, method: &str, service: &str, target: &str, body: &str) -> String {
        let mut request = HttpRequest::new(body.to_owned().into());
        *request.method_mut() = method.parse().expect("a method");
        *request.uri_mut() = format!("{}{target}", self.url).parse().expect("a URL");
        let form = "application/x-www-form-urlencoded".parse().expect("a value");
        request.headers_mut().insert("content-type", form);
        let credential = AwsCredential {
            key_id: USER.into(),
            secret_key: SECRET.into(),
            token: None,
        };
        AwsAuthorizer::new(&credential, service, "us-east-1")
            .try_authorize(&mut request, None)
            .expect("a signature");
        let headers: Vec<(String, String)> = request
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().expect("ASCII").to_owned()))
            .collect();
        let answer = self.raw(method, target, &headers, body.as_bytes());
        let answer = answer.expect("MinIO answers");
        assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
        answer
    }

    /// Sends it a signal by name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(status.success());
    }

    /// Ends it and waits for its end; what it holds stays.
    pub fn kill(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be awaited");
    }

    /// Starts it again where it was.
    pub fn start_again(&mut self) {
        self.child = spawn(self.dir.path(), &self.address);
        self.until_ready();
    }

    fn raw(
        &self,
        method: &str,
        target: &str,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Option<String> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        let mut head = format!(
            "{method} {target} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n",
            self.address,
            body.len()
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).ok()?;
        stream.write_all(body).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        Some(String::from_utf8_lossy(&answer).into_owned())
    }
}

impl Drop for Minio {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(dir: &Path, address: &str) -> Child {
    let data = dir.join("data");
    std::fs::create_dir_all(&data).expect("a folder");
    let program = std::env::var_os("WORLDSTREAM_MINIO").expect("MinIO's program");
    Command::new(program)
        .arg("server")
        .arg(&data)
        .args(["--address", address, "--quiet", "--certs-dir"])
        .arg(dir.join("certs"))
        .env("MINIO_ROOT_USER", USER)
        .env("MINIO_ROOT_PASSWORD", SECRET)
        .env("MINIO_BROWSER", "off")
        .env("MINIO_UPDATE", "off")
        .env("HOME", dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("MinIO starts")
}

fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").to_string()
}

/// All files below a folder, by their path relative to it.
fn files(folder: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    let mut open = vec![(String::new(), folder.to_owned())];
    while let Some((prefix, folder)) = open.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("a name in UTF-8");
            let relative = format!("{prefix}{name}");
            match entry.file_type().expect("a type").is_dir() {
                true => open.push((format!("{relative}/"), entry.path())),
                false => found.push((relative, entry.path())),
            }
        }
    }
    found
}

/// Waits on a runtime of its own.
pub fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}
