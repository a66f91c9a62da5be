//! The connection string: read where the plan says, each time that a connection is made, so that
//! a rotated password is picked up. Nothing of it but host, port and database is ever shown.

use std::path::PathBuf;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use worldstream_crds::Reason;

use crate::failure::{Failure, Result};
use crate::plan::SecretSource;
use crate::secret;

/// A connection string, understood.
pub struct Dsn {
    /// What is connected to.
    pub config: Config,
    /// `postgres at host:port, database name`: for messages.
    pub name: String,
    /// `sslrootcert`, if it was given.
    pub root_certificates: Option<PathBuf>,
}

/// Reads it. `CHECKPOINT_DSN_MISSING` if it is nowhere.
pub fn read(source: &SecretSource) -> Result<Dsn> {
    let bytes = secret::read(source, || {
        Failure::new(Reason::CheckpointDsnMissing, "the checkpoint store")
            .field("checkpoints.postgres.dsn")
    })?;
    let bad = |found: String| {
        Failure::new(Reason::StreamFailed, secret::place(source))
            .field("checkpoints.postgres.dsn")
            .found(found)
            .expected("a connection string such as postgres://user:password@host:5432/database?sslmode=verify-full")
    };
    let text = String::from_utf8(bytes).map_err(|_| bad("bytes that are no text".into()))?;
    parse(text.trim()).map_err(bad)
}

/// The parts of a text, or what is wrong with it, without its value.
fn parse(text: &str) -> Result<Dsn, String> {
    let (rest, tls) = take_tls(text)?;
    // The error's text names a key at most, but its cause may repeat a value.
    let mut config: Config = rest
        .parse()
        .map_err(|_| "a text that is no connection string".to_owned())?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err("no host".into());
    }
    if config.get_user().is_none_or(str::is_empty) {
        return Err("no user".into());
    }
    let secure = match tls.mode.as_deref() {
        Some("disable") => false,
        Some("allow" | "prefer" | "require" | "verify-ca" | "verify-full") => true,
        Some(_) => return Err("another sslmode than those of Postgres".into()),
        // What does not leave the machine needs no TLS.
        None => !config.get_hosts().iter().all(is_here) || config.get_hosts().is_empty(),
    };
    config.ssl_mode(match secure {
        true => SslMode::Require,
        false => SslMode::Disable,
    });
    if config.get_application_name().is_none() {
        config.application_name("worldstream");
    }
    Ok(Dsn {
        name: name(&config),
        config,
        root_certificates: tls
            .root_certificates
            .filter(|path| path != "system")
            .map(PathBuf::from),
    })
}

fn is_here(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost"
                || name
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|address| address.is_loopback())
        }
    }
}

fn name(config: &Config) -> String {
    let hosts: Vec<String> = match config.get_hosts() {
        [] => config
            .get_hostaddrs()
            .iter()
            .map(ToString::to_string)
            .collect(),
        hosts => hosts
            .iter()
            .map(|host| match host {
                Host::Tcp(name) => name.clone(),
                Host::Unix(path) => path.display().to_string(),
            })
            .collect(),
    };
    let ports = config.get_ports();
    let hosts: Vec<String> = hosts
        .into_iter()
        .enumerate()
        .map(|(index, host)| {
            let port = ports.get(index).or(ports.first()).copied();
            format!("{host}:{}", port.unwrap_or(5432))
        })
        .collect();
    let database = config.get_dbname().or(config.get_user()).unwrap_or("");
    format!("postgres at {}, database {database}", hosts.join(","))
}

/// What the driver leaves to us.
#[derive(Default)]
struct Tls {
    mode: Option<String>,
    root_certificates: Option<String>,
}

impl Tls {
    /// Whether a parameter is one of ours; those of client certificates are refused by name.
    fn take(&mut self, key: &str, value: String) -> Result<bool, String> {
        match key {
            "sslmode" => self.mode = Some(value),
            "sslrootcert" => self.root_certificates = Some(value),
            "sslcert" | "sslkey" | "sslpassword" | "sslcrl" | "service" | "passfile" => {
                return Err(format!("{key}, which is not supported"));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// The text without the parameters of TLS, and these.
fn take_tls(text: &str) -> Result<(String, Tls), String> {
    let mut tls = Tls::default();
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        let Some((before, query)) = text.split_once('?') else {
            return Ok((text.to_owned(), tls));
        };
        let mut kept = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !tls.take(key, unescape(value)?)? {
                kept.push(pair);
            }
        }
        let mark = if kept.is_empty() { "" } else { "?" };
        return Ok((format!("{before}{mark}{}", kept.join("&")), tls));
    }
    let mut kept = String::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (key, value, length) = pair(rest)?;
        if !tls.take(key, value)? {
            kept.push_str(&rest[..length]);
            kept.push(' ');
        }
        rest = rest[length..].trim_start();
    }
    Ok((kept, tls))
}

/// One `key = value` of a keyword string, the value quoted or not, and its length.
fn pair(text: &str) -> Result<(&str, String, usize), String> {
    let wrong = || "a text that is no connection string".to_owned();
    let equals = text.find('=').ok_or_else(wrong)?;
    let key = text[..equals].trim();
    let after = &text[equals + 1..];
    let start = equals + 1 + (after.len() - after.trim_start().len());
    let mut value = String::new();
    let mut chars = text[start..].char_indices().peekable();
    let quoted = chars.next_if(|(_, c)| *c == '\'').is_some();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => value.push(chars.next().ok_or_else(wrong)?.1),
            '\'' if quoted => return Ok((key, value, start + at + 1)),
            c if !quoted && c.is_whitespace() => return Ok((key, value, start + at)),
            c => value.push(c),
        }
    }
    match quoted {
        true => Err(wrong()),
        false => Ok((key, value, text.len())),
    }
}

/// `%2F` as `/`.
fn unescape(text: &str) -> Result<String, String> {
    let wrong = || "an escape that is none".to_owned();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        rest = more;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = rest.get(..2).ok_or_else(wrong)?;
        bytes.extend(const_hex::decode(digits).map_err(|_| wrong())?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_verified_unless_it_is_switched_off_or_the_server_is_here() {
        for (text, secure) in [
            ("postgres://u:p@db.example/c", true),
            ("postgres://u:p@db.example:5433/c?sslmode=prefer", true),
            ("postgresql://u@db.example/c?sslmode=verify-full", true),
            ("postgres://u@db.example/c?sslmode=disable", false),
            ("postgres://u@127.0.0.1/c", false),
            ("postgres://u@localhost/c", false),
            ("postgres://u@[::1]/c", false),
            ("postgres://u@localhost/c?sslmode=require", true),
            ("host=/run/postgresql user=u dbname=c", false),
            ("host=localhost,db.example user=u", true),
            ("host=db.example user=u sslmode = 'disable' dbname=c", false),
            ("hostaddr=10.0.0.1 user=u", true),
        ] {
            let dsn = parse(text).unwrap();
            let required = dsn.config.get_ssl_mode() == SslMode::Require;
            assert_eq!(required, secure, "{text}");
        }
        let dsn = parse("postgres://u@db/c?sslrootcert=%2Fa%20b.pem&connect_timeout=3").unwrap();
        assert_eq!(dsn.root_certificates.unwrap(), PathBuf::from("/a b.pem"));
        assert!(dsn.config.get_connect_timeout().is_some());
        let dsn = parse(r"host=db user=u password='it\'s' sslrootcert='/a b.pem'").unwrap();
        assert_eq!(dsn.config.get_password(), Some(&b"it's"[..]));
        assert_eq!(dsn.root_certificates.unwrap(), PathBuf::from("/a b.pem"));
        assert_eq!(dsn.name, "postgres at db:5432, database u");
    }

    #[test]
    fn a_bad_string_is_refused_without_repeating_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dsn");
        for text in [
            "hunter2",
            "postgres://u:hunter2@host:port/c",
            "postgres://u:hunter2@host/c?sslmode=hunter2",
            "postgres://u:hunter2@host/c?hunter2=1",
            "host=h user=u password='hunter2",
            "host=h user=u hunter2",
            "user=u password=hunter2",
            "host=h password=hunter2",
            "host=h user=u sslkey=hunter2",
            "postgres://u:hunter2@h/c?sslrootcert=%zz",
        ] {
            std::fs::write(&path, text).unwrap();
            let Err(failure) = read(&SecretSource::File(path.clone())) else {
                panic!("{text} was taken");
            };
            let shown = format!("{failure} {failure:?}");
            assert!(!shown.contains("hunter2"), "{shown}");
            assert!(shown.contains("checkpoints.postgres.dsn"), "{shown}");
        }
    }

    #[test]
    fn none_at_all_has_its_own_code() {
        let unset = SecretSource::Env("A_VARIABLE_THAT_IS_NOT_SET".into());
        let Err(failure) = read(&unset) else {
            panic!("it is set");
        };
        assert_eq!(failure.reason(), Reason::CheckpointDsnMissing);
    }
}
