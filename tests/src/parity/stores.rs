//! The three stores of a run in parity: pods of the chart, or processes of this machine that the
//! chart leads to by Services.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use worldstream::plan::{S3CredentialsPlan, S3Plan, SecretSource};
use worldstream_bed::stores::{
    KinesisServer, MinioOptions, MinioServer, PostgresOptions, PostgresServer,
};
use worldstream_bed::{Bed, Reached};

use super::Options;

/// The control bus.
pub const STREAM: &str = "fp-bus-control-v1";
const REGION: &str = "us-east-1";

/// Where the stores are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// Pods, of the images that the chart's values name.
    Inside,
    /// Processes of this machine.
    Outside,
}

/// The stores.
pub enum Stores {
    /// Pods, and the ways to them once they are there.
    Inside {
        /// The cluster.
        bed: &'static dyn Bed,
        /// Where they are.
        namespace: String,
        /// What forwards to MinIO and Kinesis.
        ways: std::sync::OnceLock<(Reached, Reached)>,
    },
    /// Processes.
    Outside {
        /// Objects.
        minio: Box<MinioServer>,
        /// The control bus.
        kinesis: Box<KinesisServer>,
        /// Cursors.
        postgres: Box<PostgresServer>,
    },
}

impl Stores {
    /// Starts them, where they are processes.
    pub fn start(bed: &'static dyn Bed, options: &Options) -> Stores {
        if options.stores == Where::Inside {
            return Stores::Inside {
                bed,
                namespace: options.namespace.clone(),
                ways: std::sync::OnceLock::new(),
            };
        }
        let place = bed.place();
        let minio = MinioServer::start_at(place.clone(), MinioOptions::default()).expect("MinIO");
        let kinesis = KinesisServer::start_at(place.clone()).expect("Kinesis");
        let postgres =
            PostgresServer::start_at(place, PostgresOptions::default()).expect("Postgres");
        let stream = json!({"StreamName": STREAM, "ShardCount": 2});
        kinesis.ask("CreateStream", &stream).expect("a stream");
        let about = json!({"StreamName": STREAM});
        crate::inside::until("the stream is there", || {
            let found = kinesis.ask("DescribeStreamSummary", &about);
            found.is_ok_and(|it| it["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE")
        });
        Stores::Outside {
            minio: Box::new(minio),
            kinesis: Box::new(kinesis),
            postgres: Box::new(postgres),
        }
    }

    /// The chart's values that say where they are.
    pub fn values(&self) -> Value {
        let Stores::Outside {
            minio,
            kinesis,
            postgres,
        } = self
        else {
            return json!({"kinesis": {"stream": STREAM}});
        };
        let at = &postgres.server;
        json!({
            "minio": {
                "endpoint": minio.endpoint(),
                "region": minio.region,
                "accessKey": minio.access_key,
                "secretKey": minio.secret_key,
            },
            "kinesis": {"endpoint": kinesis.endpoint(), "stream": STREAM, "region": REGION},
            "postgres": {
                "endpoint": format!("postgres://{}:{}", at.place.address, at.port),
                "user": "owner",
                "password": postgres.password(),
                "database": "worldstream",
            },
        })
    }

    fn ways(&self) -> Option<&(Reached, Reached)> {
        match self {
            Stores::Outside { .. } => None,
            Stores::Inside {
                bed,
                namespace,
                ways,
            } => Some(ways.get_or_init(|| {
                let reach = |service, port| bed.reach(namespace, service, port).expect(service);
                (reach("minio", 9000), reach("kinesis", 4568))
            })),
        }
    }

    /// MinIO as this process reaches it: endpoint, region, key and secret.
    pub fn minio(&self) -> [String; 4] {
        match self {
            Stores::Outside { minio, .. } => [
                minio.endpoint(),
                minio.region.clone(),
                minio.access_key.clone(),
                minio.secret_key.clone(),
            ],
            Stores::Inside { .. } => {
                let at = self.ways().map(|ways| ways.0.address);
                [
                    url(at),
                    REGION.into(),
                    "parity".into(),
                    "parity-secret".into(),
                ]
            }
        }
    }

    /// Kinesis as this process reaches it: endpoint and region.
    pub fn kinesis(&self) -> [String; 2] {
        match self {
            Stores::Outside { kinesis, .. } => [kinesis.endpoint(), REGION.into()],
            Stores::Inside { .. } => [url(self.ways().map(|ways| ways.1.address)), REGION.into()],
        }
    }

    /// Rows of the reference's table of cursors: `output|last row`.
    pub fn cursors(&self) -> Vec<String> {
        let sql = "SELECT output_id, last_row_index FROM wsp_checkpoint ORDER BY output_id";
        let text = match self {
            Stores::Outside { postgres, .. } => postgres.query(sql).expect("the table of cursors"),
            Stores::Inside { bed, namespace, .. } => bed
                .kubectl([
                    "-n",
                    namespace,
                    "exec",
                    "statefulset/postgres",
                    "--",
                    "psql",
                    "-h",
                    "127.0.0.1",
                    "-U",
                    "owner",
                    "-d",
                    "worldstream",
                    "-A",
                    "-t",
                    "-c",
                    sql,
                ])
                .expect("the table of cursors"),
        };
        let lines = text.lines().filter(|line| !line.is_empty());
        lines.map(str::to_owned).collect()
    }

    /// How objects are read; the two files of `folder` get the credentials.
    pub fn s3(&self, folder: &std::path::Path) -> S3Plan {
        let [endpoint, region, key, secret] = self.minio();
        let file = |name: &str, text: String| {
            let path = folder.join(name);
            std::fs::write(&path, text).expect("a file of credentials");
            SecretSource::File(path)
        };
        S3Plan {
            endpoint: Some(endpoint),
            region: Some(region),
            credentials: Some(S3CredentialsPlan {
                access_key_id: file("access-key", key),
                secret_access_key: file("secret-key", secret),
                session_token: None,
            }),
            unavailable_for: Duration::from_secs(60),
            ..S3Plan::default()
        }
    }
}

fn url(address: Option<SocketAddr>) -> String {
    address.map_or_else(String::new, |address| format!("http://{address}"))
}
