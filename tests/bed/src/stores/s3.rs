//! A bucket of MinIO: what tests put there and look for there, by S3's own requests.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use super::http::{Answer, Request};
use super::minio::MinioServer;
use crate::error::{BedError, Doing as _, Result};

/// A bucket.
#[derive(Debug, Clone, Copy)]
pub struct Bucket<'a> {
    pub(super) server: &'a MinioServer,
    pub(super) name: &'a str,
}

impl Bucket<'_> {
    /// Writes an object.
    pub fn put(&self, key: &str, body: impl Into<Vec<u8>>) -> Result<()> {
        self.ask("PUT", key, "", body.into()).map(drop)
    }

    /// Reads an object.
    pub fn get(&self, key: &str) -> Result<Vec<u8>> {
        Ok(self.ask("GET", key, "", Vec::new())?.body)
    }

    /// Removes an object.
    pub fn delete(&self, key: &str) -> Result<()> {
        self.ask("DELETE", key, "", Vec::new()).map(drop)
    }

    /// The keys below a prefix, at most 1,000, in order.
    pub fn list(&self, prefix: &str) -> Result<Vec<String>> {
        let query = format!("list-type=2&prefix={}", encode(prefix, true));
        let answer = self.ask("GET", "", &query, Vec::new())?.text();
        let keys = answer.split("<Key>").skip(1);
        Ok(keys
            .filter_map(|part| Some(unescape(part.split_once("</Key>")?.0)))
            .collect())
    }

    /// Writes every file below a folder to keys below a prefix.
    pub fn upload(&self, folder: &Path, prefix: &str) -> Result<()> {
        let doing = || format!("uploading {}", folder.display());
        for entry in std::fs::read_dir(folder).doing(doing())? {
            let path = entry.doing(doing())?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let key = match prefix.trim_end_matches('/') {
                "" => name.into_owned(),
                prefix => format!("{prefix}/{name}"),
            };
            if path.is_dir() {
                self.upload(&path, &key)?;
            } else {
                self.put(&key, std::fs::read(&path).doing(doing())?)?;
            }
        }
        Ok(())
    }

    /// Lets everybody read its objects and list it, without credentials.
    pub fn make_public(&self) -> Result<()> {
        let name = self.name;
        let policy = serde_json::json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow",
                "Principal": {"AWS": ["*"]},
                "Action": ["s3:GetObject", "s3:ListBucket", "s3:GetBucketLocation"],
                "Resource": [format!("arn:aws:s3:::{name}"), format!("arn:aws:s3:::{name}/*")],
            }],
        });
        self.ask("PUT", "", "policy=", policy.to_string().into())
            .map(drop)
    }

    pub(super) fn make(&self) -> Result<()> {
        self.ask("PUT", "", "", Vec::new()).map(drop)
    }

    fn ask(&self, method: &str, key: &str, query: &str, body: Vec<u8>) -> Result<Answer> {
        let path = match key {
            "" => format!("/{}", self.name),
            key => format!("/{}/{}", self.name, encode(key, false)),
        };
        let request = sign(&self.server.account(), method, &path, query, body);
        let server = &self.server.server;
        let answer = request.send(&server.place, server.port, self.server.root.as_deref())?;
        if (200..300).contains(&answer.status) {
            Ok(answer)
        } else {
            Err(BedError::new(format!(
                "{method} s3:/{path}: {}: {}",
                answer.status,
                answer.text()
            )))
        }
    }
}

/// Who signs, and for which server.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) access_key: String,
    pub(super) secret_key: String,
    pub(super) region: String,
    /// `address:port`.
    pub(super) host: String,
}

/// Signs a request (AWS Signature Version 4).
pub(super) fn sign(
    account: &Account,
    method: &str,
    path: &str,
    query: &str,
    body: Vec<u8>,
) -> Request {
    let time = timestamp();
    let day = &time[..8];
    let digest = const_hex::encode(Sha256::digest(&body));
    let names = "host;x-amz-content-sha256;x-amz-date";
    let canonical = format!(
        "{method}\n{path}\n{query}\nhost:{}\nx-amz-content-sha256:{digest}\nx-amz-date:{time}\n\n\
         {names}\n{digest}",
        account.host
    );
    let scope = format!("{day}/{}/s3/aws4_request", account.region);
    let text = format!(
        "AWS4-HMAC-SHA256\n{time}\n{scope}\n{}",
        const_hex::encode(Sha256::digest(canonical))
    );
    let key = format!("AWS4{}", account.secret_key).into_bytes();
    let key = [day, &account.region, "s3", "aws4_request"]
        .iter()
        .fold(key, |key, part| hmac(&key, part));
    let signature = const_hex::encode(hmac(&key, &text));
    let target = match query {
        "" => path.to_owned(),
        query => format!("{path}?{query}"),
    };
    Request {
        method: method.to_owned(),
        target,
        headers: vec![
            ("x-amz-date".into(), time.clone()),
            ("x-amz-content-sha256".into(), digest),
            (
                "authorization".into(),
                format!(
                    "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, \
                     Signature={signature}",
                    account.access_key
                ),
            ),
        ],
        body,
    }
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Now, as S3 writes it: 20260102T030405Z.
fn timestamp() -> String {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |it| it.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    format!(
        "{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

/// The date of a day, counted from 1970: years counted from March on, in eras of 400.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

/// Percent-encodes all but what S3 leaves plain; in a query also slashes.
fn encode(text: &str, slashes: bool) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte));
            }
            b'/' if !slashes => encoded.push('/'),
            other => encoded += &format!("%{other:02X}"),
        }
    }
    encoded
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#34;", "\"")
        .replace("&#39;", "'")
        .replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(11_016), (2000, 2, 29));
        assert_eq!(date(11_017), (2000, 3, 1));
        assert_eq!(date(20_454), (2026, 1, 1));
    }

    #[test]
    fn keys_are_encoded() {
        assert_eq!(encode("a b/c=1+ä", false), "a%20b/c%3D1%2B%C3%A4");
        assert_eq!(encode("a/b", true), "a%2Fb");
    }
}
