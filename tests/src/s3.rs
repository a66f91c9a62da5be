//! A real MinIO for a test, how the program reaches it, and what is put into it and taken from it.

use std::future::Future;
use std::path::Path;

use bytes::Bytes;
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::HttpRequest;
use serde_json::{Value, json};
use tempfile::TempDir;
use worldstream::plan::{S3CredentialsPlan, S3Plan, SecretSource};
use worldstream::store::{Expect, Store, s3};
use worldstream_bed::Place;
use worldstream_bed::stores::{MinioOptions, MinioServer, Request};

/// A MinIO that runs. Ended when dropped.
pub struct Minio {
    /// The server, which can be stopped, frozen and started again.
    pub minio: MinioServer,
    /// Where it listens, `http://127.0.0.1:port`, or https.
    pub url: String,
    dir: TempDir,
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
        Self::start_with(MinioOptions::default())
    }

    /// One that speaks https, with an authority of its own.
    pub fn start_tls() -> Minio {
        Self::start_with(MinioOptions {
            tls: true,
            ..MinioOptions::default()
        })
    }

    fn start_with(options: MinioOptions) -> Minio {
        Self::start_at(Place::loopback(), options)
    }

    /// One at a place.
    pub fn start_at(place: Place, options: MinioOptions) -> Minio {
        let minio = MinioServer::start_at(place, options).expect("MinIO starts");
        Minio {
            url: minio.endpoint(),
            minio,
            dir: tempfile::tempdir().expect("a folder for secrets"),
        }
    }

    /// Makes a bucket.
    pub fn bucket(&self, name: &str) {
        self.minio.make_bucket(name).expect("a bucket");
    }

    /// How it is reached, as a plan says it.
    pub fn plan(&self) -> S3Plan {
        let secret = |name: &str, value: &str| {
            let path = self.dir.path().join(name);
            let text = format!("{value}\n");
            // Programs read it meanwhile: it is never half there.
            if std::fs::read_to_string(&path).ok().as_ref() != Some(&text) {
                let beside = tempfile::NamedTempFile::new_in(&self.dir).expect("a secret");
                std::fs::write(beside.path(), text).expect("a secret");
                beside.persist(&path).expect("a secret");
            }
            SecretSource::File(path)
        };
        S3Plan {
            endpoint: Some(self.url.clone()),
            region: Some(self.minio.region.clone()),
            credentials: Some(S3CredentialsPlan {
                access_key_id: secret("id", &self.minio.access_key),
                secret_access_key: secret("secret", &self.minio.secret_key),
                session_token: None,
            }),
            ca_file: self.minio.root_file(),
            ..S3Plan::default()
        }
    }

    /// How it is reached, as a profile says it, `world.s3`.
    pub fn spec(&self) -> Value {
        self.plan();
        let file = |name: &str| json!({"file": self.dir.path().join(name)});
        json!({
            "endpoint": self.url,
            "region": self.minio.region,
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

    /// Takes an object away.
    pub fn delete(&self, bucket: &str, key: &str) {
        let at = s3::below(Default::default(), key);
        wait(self.open(bucket).delete(&at)).expect("it is gone");
    }

    /// Puts all files below a folder into a bucket, made if need be, their paths below a prefix.
    pub fn put_folder(&self, bucket: &str, prefix: &str, folder: &Path) {
        let made = self.minio.make_bucket(bucket).map(drop);
        // It may hold other worlds already.
        if let Err(error) = made {
            let text = error.to_string();
            assert!(text.contains("BucketAlreadyOwnedByYou"), "{text}");
        }
        let bucket = self.minio.bucket(bucket);
        bucket.upload(folder, prefix).expect("a world is put");
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
        let bucket = self.minio.bucket(bucket);
        bucket.make_public().expect("a policy");
    }

    /// A bucket, by the credentials of a session.
    fn open_by(&self, bucket: &str, session: &Session) -> Store {
        let mut plan = self.plan();
        let secret = |name: &str, value: &str| {
            let path = self.dir.path().join(name);
            std::fs::write(&path, value).expect("a secret");
            SecretSource::File(path)
        };
        plan.credentials = Some(S3CredentialsPlan {
            access_key_id: secret("session-id", &session.key_id),
            secret_access_key: secret("session-secret", &session.secret),
            session_token: Some(secret("session-token", &session.token)),
        });
        s3::open(&plan, bucket).expect("a bucket")
    }

    /// Whether a session may read an object that is there.
    pub fn may_read(&self, bucket: &str, key: &str, session: &Session) -> bool {
        let at = s3::below(Default::default(), key);
        matches!(wait(self.open_by(bucket, session).get(&at)), Ok(Some(_)))
    }

    /// Whether a session may write an object.
    pub fn may_write(&self, bucket: &str, key: &str, session: &Session) -> bool {
        let at = s3::below(Default::default(), key);
        let store = self.open_by(bucket, session);
        let put = store.put(&at, Bytes::from_static(b"x"), Expect::Anything);
        wait(put).is_ok()
    }

    /// Credentials for an hour, by MinIO's own token service.
    pub fn session(&self) -> Session {
        self.session_that("")
    }

    /// Credentials for an hour that may read one bucket, and write to another alone.
    pub fn reading_session(&self, bucket: &str, other: &str) -> Session {
        let of = |bucket: &str| {
            [
                format!("arn:aws:s3:::{bucket}"),
                format!("arn:aws:s3:::{bucket}/*"),
            ]
        };
        let reading = ["s3:GetObject", "s3:ListBucket", "s3:GetBucketLocation"];
        let policy = json!({
            "Version": "2012-10-17",
            "Statement": [
                { "Effect": "Allow", "Action": reading, "Resource": of(bucket) },
                { "Effect": "Allow", "Action": ["s3:*"], "Resource": of(other) },
            ],
        });
        let bytes = policy.to_string().into_bytes();
        let encoded: String = bytes.iter().map(|byte| format!("%{byte:02X}")).collect();
        self.session_that(&format!("&Policy={encoded}"))
    }

    fn session_that(&self, more: &str) -> Session {
        let body = format!("Action=AssumeRole&Version=2011-06-15&DurationSeconds=3600{more}");
        let mut request = HttpRequest::new(body.clone().into());
        *request.method_mut() = "POST".parse().expect("a method");
        *request.uri_mut() = format!("{}/", self.url).parse().expect("a URL");
        let form = "application/x-www-form-urlencoded"
            .parse()
            .expect("a value");
        request.headers_mut().insert("content-type", form);
        let credential = AwsCredential {
            key_id: self.minio.access_key.clone(),
            secret_key: self.minio.secret_key.clone(),
            token: None,
        };
        AwsAuthorizer::new(&credential, "sts", &self.minio.region)
            .try_authorize(&mut request, None)
            .expect("a signature");
        let headers = request.headers().iter();
        let headers = headers
            .map(|(name, value)| (name.to_string(), value.to_str().expect("ASCII").to_owned()))
            .collect();
        let request = Request {
            method: "POST".into(),
            target: "/".into(),
            headers,
            body: body.into(),
        };
        let server = &self.minio.server;
        let answer = request.send(&server.place, server.port, self.minio.root.as_deref());
        let answer = answer.expect("MinIO answers").text();
        let tag = |name: &str| {
            let text = answer.split_once(&format!("<{name}>"));
            let text = text.and_then(|(_, rest)| rest.split_once('<'));
            let (text, _) = text.unwrap_or_else(|| panic!("no {name}: {answer}"));
            text.to_owned()
        };
        Session {
            key_id: tag("AccessKeyId"),
            secret: tag("SecretAccessKey"),
            token: tag("SessionToken"),
            expiration: tag("Expiration"),
        }
    }
}

/// Waits on a runtime of its own.
pub fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}
