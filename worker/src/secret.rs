//! Secrets where they are read: a file, as a Secret is mounted, or a variable of the environment.
//! Their values appear in no message.

use crate::failure::{Failure, Result};
use crate::plan::SecretSource;

/// The secret's bytes without one trailing line end, never empty. `bad` begins the failure: the
/// object and the field that name the secret.
pub fn read(source: &SecretSource, bad: impl Fn() -> Failure) -> Result<Vec<u8>> {
    let mut bytes = match source {
        SecretSource::File(path) => std::fs::read(path).map_err(|error| {
            bad()
                .found(format!("{}, which cannot be read", place(source)))
                .expected("a secret")
                .cause(&error)
        })?,
        SecretSource::Env(name) => std::env::var_os(name)
            .ok_or_else(|| {
                bad()
                    .found(format!("{}, which is not set", place(source)))
                    .expected("a secret")
            })?
            .into_encoded_bytes(),
    };
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    if bytes.is_empty() {
        return Err(bad()
            .found(format!("{}, which is empty", place(source)))
            .expected("a secret"));
    }
    Ok(bytes)
}

/// Where a secret is, for messages.
pub fn place(source: &SecretSource) -> String {
    match source {
        SecretSource::File(path) => format!("the file {}", path.display()),
        SecretSource::Env(name) => format!("the variable {name}"),
    }
}
