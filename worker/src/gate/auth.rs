//! How we say who we are: the header of a request, made from a secret that is read at the start
//! and again after a 401, and that never appears in a message (contracts section 5).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use http::header::{HeaderName, HeaderValue};
use sha2::Sha256;
use worldstream_crds::Reason;

use crate::failure::{Failure, Result};
use crate::plan::{AuthPlan, SecretSource};
use crate::secret;

/// The header of an API key.
pub const API_KEY: HeaderName = HeaderName::from_static("x-ig-api-key");
/// The header of a service token.
pub const SERVICE_TOKEN: HeaderName = HeaderName::from_static("x-ig-service-token");

/// A header that says who we are. Its value is not shown, by `Debug` neither.
#[derive(Clone)]
pub struct Credential {
    /// The header's name.
    pub name: HeaderName,
    /// Its value, marked sensitive.
    pub value: HeaderValue,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({})", self.name)
    }
}

/// Reads the secret of the plan and makes the header of it; none without auth.
///
/// # Errors
/// `STREAM_FAILED` for `gate.auth` of `object` where the secret is missing, unreadable or empty,
/// or cannot stand in a header. The message never holds its value.
pub fn credential(plan: &AuthPlan, object: &str) -> Result<Option<Credential>> {
    let (name, text) = match plan {
        AuthPlan::None => return Ok(None),
        AuthPlan::ApiKey(source) => (API_KEY, header_text(source, object)?),
        AuthPlan::ServiceToken(source) => (SERVICE_TOKEN, header_text(source, object)?),
        AuthPlan::SignedToken { principal, secret } => {
            if principal.is_empty() {
                return Err(bad(object)
                    .found("an empty principal")
                    .expected("the principal that the token is for"));
            }
            let secret = secret::read(secret, || bad(object))?;
            (SERVICE_TOKEN, sign(principal, &secret))
        }
    };
    let mut value = HeaderValue::try_from(text).map_err(|_| {
        bad(object)
            .found("a secret that cannot stand in a header")
            .expected("visible ASCII characters")
    })?;
    value.set_sensitive(true);
    Ok(Some(Credential { name, value }))
}

/// `st.v1.<base64url(principal), unpadded>.<hex HMAC-SHA256 with the secret over "v1|" +
/// principal>`.
pub fn sign(principal: &str, secret: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(b"v1|");
    mac.update(principal.as_bytes());
    format!(
        "st.v1.{}.{}",
        URL_SAFE_NO_PAD.encode(principal),
        const_hex::encode(mac.finalize().into_bytes())
    )
}

/// A secret that is sent as it is: what a server would trim or read in some charset of its own is
/// refused here, where the reason can be told.
fn header_text(source: &SecretSource, object: &str) -> Result<String> {
    let wrong = |found: &str| {
        bad(object)
            .found(format!("{} with {found}", secret::place(source)))
            .expected("visible ASCII characters")
    };
    let bytes = secret::read(source, || bad(object))?;
    if bytes.first() == Some(&b' ') || bytes.last() == Some(&b' ') {
        return Err(wrong("white space at its ends"));
    }
    if bytes.contains(&b'\n') {
        return Err(wrong("several lines"));
    }
    if !bytes.iter().all(|byte| (b' '..=b'~').contains(byte)) {
        return Err(wrong("a character that cannot stand in a header"));
    }
    String::from_utf8(bytes).map_err(|_| wrong("bytes that are no text"))
}

fn bad(object: &str) -> Failure {
    Failure::new(Reason::StreamFailed, object).field("gate.auth")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};

    const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/vectors.json");

    fn file(dir: &Path, content: &[u8]) -> PathBuf {
        let path = dir.join("secret");
        std::fs::write(&path, content).unwrap();
        path
    }

    fn key(content: &[u8]) -> Result<Option<Credential>> {
        let dir = tempfile::tempdir().unwrap();
        let source = SecretSource::File(file(dir.path(), content));
        credential(&AuthPlan::ApiKey(source), "the gate")
    }

    #[test]
    fn service_tokens_are_those_of_the_reference() {
        let vectors: serde_json::Value =
            serde_json::from_slice(&std::fs::read(VECTORS).unwrap()).unwrap();
        let vectors = vectors["service_token"].as_array().unwrap();
        assert!(vectors.len() >= 3);
        let dir = tempfile::tempdir().unwrap();
        for vector in vectors {
            let text = |field: &str| vector[field].as_str().unwrap();
            let secret = format!("{}\n", text("secret"));
            let plan = AuthPlan::SignedToken {
                principal: text("principal").to_owned(),
                secret: SecretSource::File(file(dir.path(), secret.as_bytes())),
            };
            let made = credential(&plan, "the gate").unwrap().unwrap();
            assert_eq!(made.name, SERVICE_TOKEN);
            assert_eq!(made.value, text("expect"));
        }
    }

    #[test]
    fn keys_are_read_whole_but_for_one_line_end() {
        for (content, value) in [
            (&b"k3y"[..], "k3y"),
            (b"k3y\n", "k3y"),
            (b"k3y\r\n", "k3y"),
            (b"two words", "two words"),
        ] {
            let made = key(content).unwrap().unwrap();
            assert_eq!(made.name, API_KEY);
            assert_eq!(made.value, value);
        }
        assert!(credential(&AuthPlan::None, "the gate").unwrap().is_none());
        let path = SecretSource::Env("PATH".to_owned());
        let made = credential(&AuthPlan::ServiceToken(path), "the gate");
        assert_eq!(
            made.unwrap().unwrap().value,
            std::env::var("PATH").unwrap().as_str()
        );
    }

    #[test]
    fn a_bad_secret_is_named_and_its_value_is_not() {
        for content in [
            &b"hush\nhush\n"[..],
            b"hush\n\n",
            b" hush",
            b"hush ",
            b"hush\x07",
            b"hush\tx",
            "hüsh".as_bytes(),
            b"hush\xff",
            b"",
            b"\n",
        ] {
            let failure = key(content).unwrap_err();
            let text = format!("{failure} {failure:?}");
            assert_eq!(failure.reason(), Reason::StreamFailed);
            assert!(text.contains("gate.auth"), "{text}");
            assert!(!text.contains("hush") && !text.contains("sh\\"), "{text}");
        }
        let absent = SecretSource::File(PathBuf::from("/absent/key"));
        let failure = credential(&AuthPlan::ApiKey(absent), "the gate").unwrap_err();
        assert!(failure.to_string().contains("/absent/key"), "{failure}");
        let unset = SecretSource::Env("A_VARIABLE_THAT_IS_NOT_SET".to_owned());
        let failure = credential(&AuthPlan::ApiKey(unset), "the gate").unwrap_err();
        assert!(failure.to_string().contains("not set"), "{failure}");
    }

    #[test]
    fn debug_shows_no_secret() {
        let made = key(b"hush").unwrap().unwrap();
        assert!(!format!("{made:?} {:?}", made.value).contains("hush"));
    }
}
