//! Who may push: keys and token secret are files, read again when they change, so that rotating
//! them can be tried.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use sha2::{Digest, Sha256};
use worldstream_crds::Reason;

use crate::failure::{Failure, Result};

/// A file that was written less than this long ago is read at every push: two writes within the
/// file system's resolution look alike.
const SETTLED: Duration = Duration::from_millis(100);

/// Who a push comes from, as the receipt's `actor` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// `disabled`, `api_key` or `service_token`.
    pub mode: &'static str,
    /// Who it is: the token's principal, a digest of the key (never the key), or `ANONYMOUS`.
    pub principal: String,
}

/// What a push is let in by.
#[derive(Debug)]
pub struct Auth {
    keys: Option<Watched>,
    secret: Option<Watched>,
}

impl Auth {
    /// Lets in by a key of the file `keys` or a token signed with the secret in `secret`; with
    /// neither, everybody.
    ///
    /// Errors: a file cannot be read, holds no key, or the secret is empty.
    pub fn new(keys: Option<&Path>, secret: Option<&Path>) -> Result<Self> {
        let open = |path: &Path| Watched::open(path);
        let auth = Auth {
            keys: keys.map(open).transpose()?,
            secret: secret.map(open).transpose()?,
        };
        if let Some(file) = &auth.keys
            && keys_in(&file.text()).next().is_none()
        {
            return Err(file.failure("no key", "an API key a line"));
        }
        if let Some(file) = &auth.secret
            && secret_in(&file.text()).is_empty()
        {
            return Err(file.failure("nothing", "the secret that tokens are signed with"));
        }
        Ok(auth)
    }

    /// Who is behind the headers; none: nobody who may push.
    pub fn actor(&self, headers: &HeaderMap) -> Option<Actor> {
        if self.keys.is_none() && self.secret.is_none() {
            return Some(Actor {
                mode: "disabled",
                principal: "ANONYMOUS".into(),
            });
        }
        self.by_key(headers).or_else(|| self.by_token(headers))
    }

    fn by_key(&self, headers: &HeaderMap) -> Option<Actor> {
        let given = headers.get("x-ig-api-key")?.to_str().ok()?;
        let text = self.keys.as_ref()?.text();
        keys_in(&text).any(|key| key == given).then(|| Actor {
            mode: "api_key",
            principal: format!("key-{}", &const_hex::encode(Sha256::digest(given))[..12]),
        })
    }

    fn by_token(&self, headers: &HeaderMap) -> Option<Actor> {
        let token = headers.get("x-ig-service-token")?.to_str().ok()?;
        let (principal, signature) = token.strip_prefix("st.v1.")?.split_once('.')?;
        let principal = String::from_utf8(URL_SAFE_NO_PAD.decode(principal).ok()?).ok()?;
        let signature = const_hex::decode(signature).ok()?;
        let text = self.secret.as_ref()?.text();
        let mut mac = Hmac::<Sha256>::new_from_slice(secret_in(&text).as_bytes()).ok()?;
        mac.update(b"v1|");
        mac.update(principal.as_bytes());
        mac.verify_slice(&signature).ok()?;
        Some(Actor {
            mode: "service_token",
            principal,
        })
    }
}

/// A key a line; empty lines and lines that begin with `#` are none.
fn keys_in(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// One trailing newline is not part of the secret.
fn secret_in(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

/// A small text file that is read again when it changes.
#[derive(Debug)]
struct Watched {
    path: PathBuf,
    last: Mutex<Reading>,
}

#[derive(Debug)]
struct Reading {
    stamp: Option<Stamp>,
    text: String,
}

#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    length: u64,
    inode: u64,
}

impl Watched {
    fn open(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|error| {
            Failure::new(Reason::StreamFailed, path.display().to_string()).cause(&error)
        })?;
        Ok(Watched {
            path: path.to_path_buf(),
            last: Mutex::new(Reading { stamp: None, text }),
        })
    }

    /// What the file holds now; if it cannot be read, what it held before.
    fn text(&self) -> String {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = self.stamp();
        if stamp.is_none() || stamp != last.stamp {
            match fs::read_to_string(&self.path) {
                Ok(text) => *last = Reading { stamp, text },
                Err(error) => tracing::warn!(
                    path = %self.path.display(),
                    "cannot be read, what it held before stays in force: {error}"
                ),
            }
        }
        last.text.clone()
    }

    /// None if the file is so new that another write may not show.
    fn stamp(&self) -> Option<Stamp> {
        use std::os::unix::fs::MetadataExt;
        let meta = fs::metadata(&self.path).ok()?;
        let modified = meta.modified().ok()?;
        let settled = modified.elapsed().is_ok_and(|age| age > SETTLED);
        settled.then_some(Stamp {
            modified,
            length: meta.len(),
            inode: meta.ino(),
        })
    }

    fn failure(&self, found: &str, expected: &str) -> Failure {
        Failure::new(Reason::StreamFailed, self.path.display().to_string())
            .found(found)
            .expected(expected)
    }
}
