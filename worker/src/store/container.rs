//! Credentials that a container is given by an agent beside it: ECS tasks, EKS pod identity.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Uri;
use object_store::aws::AwsCredential;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::credentials::{Environment, NoCredentials};
use super::error::Answer;
use crate::failure::chain;

/// The agent of ECS, which relative URIs are of.
const ECS: &str = "http://169.254.170.2";
/// Hosts that may be asked without TLS, beside this machine: the agents of ECS and EKS.
const PLAIN: [&str; 3] = ["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];
/// So long before they expire, credentials are fetched anew.
const EARLY: Duration = Duration::from_secs(300);

/// The agent, and what it gave last.
#[derive(Debug)]
pub(super) struct Container {
    url: String,
    token: Token,
    client: reqwest::Client,
    last: Mutex<Option<(Arc<AwsCredential>, Option<Instant>)>>,
}

/// What the agent knows us by.
#[derive(Debug)]
enum Token {
    None,
    /// A variable's value, which does not change.
    Fixed(Secret),
    /// A file, which does: it is read at each request.
    File(String),
}

struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Given {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Option<jiff::Timestamp>,
}

impl Container {
    /// The agent that the environment names; none if it names none. The error is one sentence.
    pub fn of(
        environment: &Environment,
        client: reqwest::Client,
    ) -> Result<Option<Container>, String> {
        let url = match (
            environment.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
            environment.get("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        ) {
            (Some(path), _) => format!("{ECS}/{}", path.trim_start_matches('/')),
            (None, Some(url)) => full(url)?,
            (None, None) => return Ok(None),
        };
        let token = match (
            environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
            environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
        ) {
            (Some(file), _) => Token::File(file),
            (None, Some(token)) => Token::Fixed(Secret(token)),
            (None, None) => Token::None,
        };
        Ok(Some(Container {
            url,
            token,
            client,
            last: Mutex::default(),
        }))
    }

    /// What was given last, while it is good, else what is given now. Runs on the stores' thread.
    pub async fn credential(&self) -> Result<Arc<AwsCredential>, NoCredentials> {
        let mut last = self.last.lock().await;
        if let Some((credential, until)) = &*last
            && until.is_none_or(|until| Instant::now() + EARLY < until)
        {
            return Ok(credential.clone());
        }
        match self.fetch().await {
            Ok((credential, until)) => {
                *last = Some((credential.clone(), until));
                Ok(credential)
            }
            // What is good for some minutes more is better than nothing.
            Err(error) => match &*last {
                Some((credential, Some(until))) if Instant::now() < *until => {
                    Ok(credential.clone())
                }
                _ => Err(error),
            },
        }
    }

    async fn fetch(&self) -> Result<(Arc<AwsCredential>, Option<Instant>), NoCredentials> {
        let failed = |text: String, passing: bool| NoCredentials {
            text: format!("{}: {text}", self.url),
            passing,
        };
        let mut request = self.client.get(&self.url);
        let token = match &self.token {
            Token::None => None,
            Token::Fixed(Secret(token)) => Some(token.clone()),
            Token::File(file) => {
                let text = std::fs::read_to_string(file).map_err(|error| {
                    failed(
                        format!("its token file {file} cannot be read: {error}"),
                        false,
                    )
                })?;
                Some(text.trim_end().to_owned())
            }
        };
        if let Some(token) = token {
            request = request.header(http::header::AUTHORIZATION, token);
        }
        let sent = request.send().await;
        let response = sent.map_err(|error| failed(chain(&error.without_url()), true))?;
        let status = response.status();
        let body = response.bytes().await;
        let body = body.map_err(|error| failed(chain(&error.without_url()), true))?;
        if !status.is_success() {
            let answer = Answer::new(status.as_u16(), &String::from_utf8_lossy(&body));
            let passing = status.is_server_error() || status.as_u16() == 429;
            return Err(failed(answer.to_string(), passing));
        }
        // The body is a secret: what is wrong with it is said without it.
        let given: Given = serde_json::from_slice(&body).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            failed(format!("the answer holds no credentials ({place})"), false)
        })?;
        let until = given.expiration.map(|at| {
            let left = at.duration_since(jiff::Timestamp::now());
            Instant::now() + Duration::try_from(left).unwrap_or_default()
        });
        let credential = AwsCredential {
            key_id: given.access_key_id,
            secret_key: given.secret_access_key,
            token: given.token.filter(|token| !token.is_empty()),
        };
        Ok((Arc::new(credential), until))
    }
}

/// A full URI, if it may be asked: with TLS, or where nobody listens between.
fn full(url: String) -> Result<String, String> {
    let name = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
    let uri: Uri = url
        .parse()
        .map_err(|_| format!("{name} is no URI: found {url:?}"))?;
    let host = uri.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let here = host == "localhost"
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    match uri.scheme_str() {
        Some("https") => Ok(url),
        Some("http") if here || PLAIN.contains(&host) => Ok(url),
        _ => Err(format!(
            "{name}: found {url:?}, expected https, or http to this machine or {}",
            PLAIN.join(" or ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_agents_close_by_are_asked_without_tls() {
        for url in [
            "https://example.net/x",
            "http://127.0.0.1:1/x",
            "http://localhost/x",
            "http://[::1]:80/",
            "http://169.254.170.23/v1/credentials",
            "http://[fd00:ec2::23]/v1",
        ] {
            assert_eq!(full(url.into()).as_deref(), Ok(url));
        }
        for url in [
            "http://example.net/x",
            "http://169.254.170.24/",
            "ftp://localhost",
            "x y",
        ] {
            assert!(full(url.into()).unwrap_err().contains("FULL_URI"), "{url}");
        }
    }

    #[test]
    fn a_container_is_known_by_its_environment() {
        let of = |given: &[(&str, &str)]| {
            let client = crate::store::http::client(None, "caFile").unwrap();
            Container::of(&Environment::of(given), client)
        };
        assert!(of(&[]).unwrap().is_none());
        let ecs = of(&[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/x")]);
        assert_eq!(ecs.unwrap().unwrap().url, "http://169.254.170.2/v2/x");
        let pod = of(&[
            (
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                "http://169.254.170.23/v1",
            ),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "hush"),
        ]);
        assert!(!format!("{:?}", pod.unwrap()).contains("hush"));
    }
}
