//! A bucket in S3, or in a store that speaks its language.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::{HttpConnector as _, HttpRequestBody};
use object_store::path::{Path, PathPart};
use object_store::signer::Signer as _;
use object_store::{ClientOptions, RetryConfig};
use worldstream_crds::Reason;

use super::credentials::{self, Environment};
use super::http::{self, Connector};
use super::{Bounds, Remote, Store};
use crate::failure::{Failure, Result};
use crate::plan::S3Plan;

/// How a URI of S3 begins.
pub const SCHEME: &str = "s3://";

/// A bucket and a prefix in it: `s3://bucket/prefix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The bucket.
    pub bucket: String,
    /// What keys begin with.
    pub prefix: Path,
}

/// What a URI of S3 names; none if it is none, or names no bucket. Names of folders are taken as
/// they are, doubled slashes as one.
pub fn locate(uri: &str) -> Option<Location> {
    let (bucket, rest) = match uri.strip_prefix(SCHEME)?.split_once('/') {
        Some((bucket, rest)) => (bucket, rest),
        None => (uri.strip_prefix(SCHEME)?, ""),
    };
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if bucket.is_empty() || !bucket.chars().all(good) {
        return None;
    }
    Some(Location {
        bucket: bucket.to_owned(),
        prefix: below(Path::default(), rest),
    })
}

/// The path of `relative` below another: segments as they are, but for what no object can be
/// called (`..`, control characters), which is escaped and so names nothing outside.
pub fn below(base: Path, relative: &str) -> Path {
    relative
        .split('/')
        .filter(|segment| !segment.is_empty())
        .fold(base, |path, segment| match PathPart::parse(segment) {
            Ok(part) => path.join(part),
            Err(_) => path.join(segment),
        })
}

/// Opens a bucket; nothing is sent yet.
///
/// # Errors
/// `STREAM_FAILED` for `world.s3`: certificates or credentials that cannot be read, and where no
/// credentials are to be found at all.
pub fn open(plan: &S3Plan, bucket: &str) -> Result<Store> {
    let (bucket, remote, _) = connect(plan, bucket)?;
    Ok(Store {
        objects: Arc::new(bucket),
        remote: Some(remote),
    })
}

/// Makes a bucket; false if it is there already.
///
/// # Errors
/// As [`open`], and `STREAM_FAILED` where the store does not make it.
pub async fn make_bucket(plan: &S3Plan, bucket: &str) -> Result<bool> {
    let (objects, remote, connector) = connect(plan, bucket)?;
    let region = Environment::of_process("world.s3").region(plan.region.as_deref())?;
    let failed = || Failure::new(Reason::StreamFailed, format!("{SCHEME}{bucket}"));
    let client = connector.connect(&ClientOptions::new());
    let client = client.map_err(|error| failed().cause(&error))?;
    let objects = Arc::new(objects);
    let store = Store {
        objects: objects.clone(),
        remote: Some(remote),
    };
    // The oldest region is the one that is meant where none is said.
    let body = match region.as_str() {
        "us-east-1" => String::new(),
        region => format!(
            "<CreateBucketConfiguration><LocationConstraint>{region}</LocationConstraint>\
             </CreateBucketConfiguration>"
        ),
    };
    let generic = |error| object_store::Error::Generic {
        store: "S3",
        source: error,
    };
    let made = store.tried(|| async {
        let url = objects
            .signed_url(::http::Method::PUT, &Path::default(), SIGNED_FOR)
            .await?;
        let request = ::http::Request::put(url.as_str())
            .body(HttpRequestBody::from(body.clone()))
            .map_err(|error| generic(Box::new(error)))?;
        let answer = client.execute(request).await;
        let answer = answer.map_err(|error| generic(Box::new(error)))?;
        // A conflict: there is one of this name.
        Ok(answer.status().is_success())
    });
    made.await.map_err(|error| error.explain(failed()))
}

/// How long a request that is signed in its URL may be under way.
const SIGNED_FOR: Duration = Duration::from_secs(60);

/// The bucket as `object_store` knows it, what is needed to try again, and its connections.
fn connect(plan: &S3Plan, bucket: &str) -> Result<(AmazonS3, Remote, Connector)> {
    let connector = Connector {
        client: http::client(plan.ca_file.as_deref(), "world.s3.caFile")?,
        io: http::io()?,
    };
    let environment = Environment::of_process("world.s3");
    let region = environment.region(plan.region.as_deref())?;
    let endpoint = plan
        .endpoint
        .clone()
        .or_else(|| environment.first(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]));
    let path_style = plan
        .path_style
        .unwrap_or(endpoint.is_some() || bucket.contains('.'));
    // With a name as host, the endpoint must hold it.
    let (host, place) = match &endpoint {
        None => (None, format!("AWS S3 in {region}, bucket {bucket}")),
        Some(url) => {
            let url = url.trim_end_matches('/');
            let host = match (path_style, url.split_once("://")) {
                (false, Some((scheme, host))) => format!("{scheme}://{bucket}.{host}"),
                _ => url.to_owned(),
            };
            (Some(host), format!("{url}, bucket {bucket}"))
        }
    };
    let mut builder = AmazonS3Builder::new()
        .with_http_connector(connector.clone())
        .with_bucket_name(bucket)
        .with_region(&region)
        .with_virtual_hosted_style_request(!path_style)
        // Tried again here and nowhere else, so that there is one bound and one count.
        .with_retry(RetryConfig {
            max_retries: 0,
            ..RetryConfig::default()
        });
    if let Some(host) = host {
        builder = builder.with_config(AmazonS3ConfigKey::Endpoint, host);
    }
    let credentials = match plan.anonymous {
        true => {
            builder = builder.with_skip_signature(true);
            "an anonymous request".to_owned()
        }
        false => {
            let found =
                credentials::find(plan.credentials.as_ref(), &environment, &region, &connector)?;
            builder = builder.with_credentials(found.provider);
            format!("credentials of {}", found.source)
        }
    };
    let bucket = builder.build().map_err(|error| {
        Failure::new(Reason::StreamFailed, place.clone())
            .field("world.s3")
            .cause(&error)
    })?;
    let remote = Remote {
        io: connector.io.clone(),
        bounds: Bounds {
            attempts: plan.attempts,
            within: plan.unavailable_for,
        },
        place: place.into(),
        credentials: credentials.into(),
        away: Arc::default(),
    };
    Ok((bucket, remote, connector))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_is_a_bucket_and_a_prefix() {
        for (uri, bucket, prefix) in [
            ("s3://b", "b", ""),
            ("s3://b/", "b", ""),
            (
                "s3://oracle-store/runs/wörld-c",
                "oracle-store",
                "runs/wörld-c",
            ),
            ("s3://b//x/y z/", "b", "x/y z"),
            ("s3://b/a%20b", "b", "a%20b"),
        ] {
            let found = locate(uri).unwrap();
            assert_eq!(
                (found.bucket.as_str(), found.prefix.as_ref()),
                (bucket, prefix)
            );
        }
        for uri in [
            "s3://",
            "s3:///x",
            "/b/x",
            "s3://b?x=1/y",
            "http://b/x",
            "s3://ü/x",
        ] {
            assert_eq!(locate(uri), None, "{uri}");
        }
    }

    #[test]
    fn a_path_leaves_no_folder() {
        let path = below(Path::from("w"), "../x");
        assert_eq!(path.as_ref(), "w/%2E%2E/x");
    }
}
