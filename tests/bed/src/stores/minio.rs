//! MinIO: a store of objects, with the whole of S3 that worlds need.

use tempfile::TempDir;

use super::certs::Authority;
use super::s3::{Account, Bucket, sign};
use super::server::Server;
use crate::error::{Doing as _, Result};
use crate::pins::Kit;
use crate::place::Place;

/// How a MinIO is started.
#[derive(Debug, Clone, Default)]
pub struct MinioOptions {
    /// Over TLS, with a certificate of an authority of its own.
    pub tls: bool,
    /// More names that its certificate is for, such as a Service's.
    pub names: Vec<String>,
}

/// A MinIO that runs. Ended when dropped, with everything in it.
#[derive(Debug)]
pub struct MinioServer {
    /// The process.
    pub server: Server,
    /// The id of a key that may do everything.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
    /// The region that it says it is in.
    pub region: String,
    /// The authority's certificate as PEM, where it speaks TLS.
    pub root: Option<String>,
    folder: TempDir,
}

impl MinioServer {
    /// One on the machine's loopback, without TLS.
    pub fn start() -> Result<MinioServer> {
        Self::start_at(Place::loopback(), MinioOptions::default())
    }

    /// One at a place.
    pub fn start_at(place: Place, options: MinioOptions) -> Result<MinioServer> {
        let program = Kit::Minio.program("minio")?;
        let folder = tempfile::tempdir().doing("making a folder for MinIO")?;
        let (data, certs) = (folder.path().join("data"), folder.path().join("certs"));
        for folder in [&data, &certs] {
            std::fs::create_dir(folder).doing(format_args!("making {}", folder.display()))?;
        }
        let root = if options.tls {
            let authority = Authority::new()?;
            let mut names = vec![place.address.to_string(), "localhost".into()];
            names.extend(options.names);
            authority.write(
                &names,
                &certs.join("public.crt"),
                &certs.join("private.key"),
            )?;
            Some(authority.pem)
        } else {
            None
        };
        let (access_key, secret_key) = ("worldstream-test", "secret-of-the-test-bed");
        let region = "eu-test-1";
        let port = place.free_port()?;
        let log = folder.path().join("log");
        let start = {
            let (place, address) = (place.clone(), place.address);
            move || {
                let mut command = place.command(&program);
                command
                    .arg("server")
                    .arg(&data)
                    .arg("--certs-dir")
                    .arg(&certs)
                    .args(["--address", &format!("{address}:{port}")])
                    // The console, which nobody looks at, would listen everywhere.
                    .env("MINIO_BROWSER", "off")
                    .env("MINIO_ROOT_USER", access_key)
                    .env("MINIO_ROOT_PASSWORD", secret_key)
                    .env("MINIO_REGION_NAME", region)
                    .env("MINIO_UPDATE", "off")
                    .env("MINIO_CALLHOME_ENABLE", "off");
                command
            }
        };
        // It answers questions after its health long before it takes requests.
        let ready = {
            let (place, root) = (place.clone(), root.clone());
            let account = Account {
                access_key: access_key.into(),
                secret_key: secret_key.into(),
                region: region.into(),
                host: format!("{}:{port}", place.address),
            };
            move || {
                sign(&account, "GET", "/", "", Vec::new())
                    .send(&place, port, root.as_deref())
                    .is_ok_and(|answer| answer.status == 200)
            }
        };
        Ok(MinioServer {
            server: Server::start_new(place, port, log, start, ready)?,
            access_key: access_key.into(),
            secret_key: secret_key.into(),
            region: region.into(),
            root,
            folder,
        })
    }

    /// Its URL, such as `http://127.0.0.1:9000`.
    pub fn endpoint(&self) -> String {
        let scheme = if self.root.is_some() { "https" } else { "http" };
        format!(
            "{scheme}://{}:{}",
            self.server.place.address, self.server.port
        )
    }

    /// The file of its authority's certificate, where it speaks TLS.
    pub fn root_file(&self) -> Option<std::path::PathBuf> {
        let file = self.folder.path().join("certs/ca.crt");
        self.root.as_ref().map(|_| file)
    }

    /// Makes a bucket.
    pub fn make_bucket<'a>(&'a self, name: &'a str) -> Result<Bucket<'a>> {
        let bucket = self.bucket(name);
        bucket.make()?;
        Ok(bucket)
    }

    pub(super) fn account(&self) -> Account {
        Account {
            access_key: self.access_key.clone(),
            secret_key: self.secret_key.clone(),
            region: self.region.clone(),
            host: format!("{}:{}", self.server.place.address, self.server.port),
        }
    }

    /// A bucket that is there.
    pub fn bucket<'a>(&'a self, name: &'a str) -> Bucket<'a> {
        Bucket { server: self, name }
    }
}
