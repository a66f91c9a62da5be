//! The credentials that AWS's tools find by themselves, with sessions that the real store gave and
//! small endpoints of the test's own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use serde_json::json;
use worldstream_tests::s3::{Minio, Session};
use worldstream_tests::{Finished, GateProcess, PLATFORM_RUN_ID, SCENARIO_RUN_ID, golden, run};

use crate::bed::BUCKET;

const WORLD: &str = "s3://oracle-store/runs/world-a";

/// An endpoint that gives one answer to all; what it was asked is written down.
struct Endpoint {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Endpoint {
    fn start(status: &str, body: String) -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (into, status) = (asked.clone(), status.to_owned());
        // Ends with the test's process.
        std::thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                let mut reader = BufReader::new(client.try_clone().unwrap());
                let (mut head, mut length) = (String::new(), 0);
                while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap_or(0) > 0 {
                    let line = head.lines().last().unwrap_or_default().to_ascii_lowercase();
                    if let Some(value) = line.strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                }
                let _ = reader.take(length).read_to_string(&mut head);
                into.lock().unwrap().push(head);
                let _ = write!(
                    client,
                    "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                );
            }
        });
        Endpoint { url, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Runs the program over world-a with nothing but these variables to say who it is.
fn stream(minio: &Minio, gate: &GateProcess, variables: &[(&str, &str)]) -> Finished {
    let dir = tempfile::tempdir().unwrap();
    let profile = dir.path().join("profile.yaml");
    let document = json!({
        "apiVersion": "worldstream.io/v1alpha1",
        "kind": "StreamProfile",
        "metadata": {"name": "ambient"},
        "spec": {
            "world": {"s3": {
                "endpoint": minio.url,
                "region": minio.minio.region,
                "unavailableFor": "5s",
            }},
            "require": {"gates": "Existence"},
            "producer": {
                "id": "svc:world_stream_producer",
                "allowlist": {"builtIn": "producer_allowlist.txt"},
            },
        },
    });
    std::fs::write(&profile, document.to_string()).unwrap();
    let mut program = run(["run", "--json", "--profile", &profile.display().to_string()])
        .args(["--engine-run-root", WORLD, "--scenario", "baseline_v1"])
        .args(["--platform-run-id", PLATFORM_RUN_ID])
        .args(["--scenario-run-id", SCENARIO_RUN_ID])
        .args(["--speedup", "0", "--gate-url", &gate.url, "--runs-root"])
        .args([dir.path().join("runs").display().to_string()])
        .env("HOME", &dir.path().display().to_string())
        .env("AWS_EC2_METADATA_DISABLED", "true");
    for (name, value) in variables {
        program = program.env(name, value);
    }
    program
        .start()
        .finish_within(std::time::Duration::from_secs(60))
}

fn json_of(session: &Session) -> String {
    json!({
        "AccessKeyId": session.key_id,
        "SecretAccessKey": session.secret,
        "Token": session.token,
        "Expiration": session.expiration,
    })
    .to_string()
}

#[test]
fn each_source_of_aws_is_found() {
    let minio = Minio::start();
    minio.put_folder(BUCKET, "runs/world-a", &golden().join("world-a"));
    let dir = tempfile::tempdir().unwrap();
    let gate = GateProcess::start(dir.path(), &[]);
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let session = minio.session();
    let before = || gate.pushes();
    let mut sent = 0;
    let mut streams = |what: &str, variables: &[(&str, &str)]| {
        let from = before();
        let finished = stream(&minio, &gate, variables);
        assert_eq!(finished.code, Some(0), "{what}: {finished:#?}");
        sent = before() - from;
        assert!(sent > 0, "{what}");
        finished
    };

    streams(
        "the environment",
        &[
            ("AWS_ACCESS_KEY_ID", &session.key_id),
            ("AWS_SECRET_ACCESS_KEY", &session.secret),
            ("AWS_SESSION_TOKEN", &session.token),
        ],
    );

    let shared = file(
        "credentials",
        &format!(
            "[field]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
            minio.minio.access_key, minio.minio.secret_key
        ),
    );
    streams(
        "a profile",
        &[
            ("AWS_SHARED_CREDENTIALS_FILE", &shared),
            ("AWS_PROFILE", "field"),
        ],
    );

    let agent = Endpoint::start("200 OK", json_of(&session));
    let token = file("pod-token", "pod-identity\n");
    let url = format!("{}/v1/credentials", agent.url);
    streams(
        "a container",
        &[
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &token),
        ],
    );
    let asked = agent.asked();
    assert_eq!(asked.len(), 1, "fetched once: {asked:#?}");
    assert!(asked[0].starts_with("GET /v1/credentials "), "{asked:#?}");
    assert!(
        asked[0]
            .to_ascii_lowercase()
            .contains("authorization: pod-identity\r\n")
    );

    let sts = Endpoint::start(
        "200 OK",
        format!(
            "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
             <SessionToken>{}</SessionToken><SecretAccessKey>{}</SecretAccessKey>\
             <AccessKeyId>{}</AccessKeyId><Expiration>{}</Expiration>\
             </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>",
            session.token, session.secret, session.key_id, session.expiration
        ),
    );
    let token = file("web-token", "web-identity");
    streams(
        "a web identity",
        &[
            ("AWS_WEB_IDENTITY_TOKEN_FILE", &token),
            ("AWS_ROLE_ARN", "arn:aws:iam::1:role/streams"),
            ("AWS_ENDPOINT_URL_STS", &sts.url),
        ],
    );
    let asked = sts.asked();
    assert_eq!(asked.len(), 1, "fetched once: {asked:#?}");
    for text in [
        "Action=AssumeRoleWithWebIdentity",
        "WebIdentityToken=web-identity",
        "RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fstreams",
    ] {
        assert!(asked[0].contains(text), "{asked:#?}");
    }
}

#[test]
fn a_source_that_gives_nothing_is_named() {
    let minio = Minio::start();
    minio.bucket(BUCKET);
    let dir = tempfile::tempdir().unwrap();
    let gate = GateProcess::start(dir.path(), &[]);
    let refused = |code: i32, variables: &[(&str, &str)], texts: &[&str]| {
        let finished = stream(&minio, &gate, variables).expect(code);
        for text in texts {
            assert!(finished.stderr.contains(text), "no {text:?}: {finished:#?}");
        }
        finished
    };
    refused(10, &[], &["no credentials", "world.s3.credentials"]);
    refused(
        10,
        &[("AWS_ACCESS_KEY_ID", "half")],
        &["one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"],
    );
    refused(
        10,
        &[("AWS_PROFILE", "absent")],
        &["AWS_PROFILE", "absent", "neither file of AWS profiles"],
    );
    refused(
        10,
        &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://example.net/x")],
        &["AWS_CONTAINER_CREDENTIALS_FULL_URI", "expected https"],
    );
    let sts = Endpoint::start(
        "403 Forbidden",
        "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not yours</Message></Error>\
         </ErrorResponse>"
            .into(),
    );
    let token = dir.path().join("web-token");
    std::fs::write(&token, "a-secret-token").unwrap();
    let finished = refused(
        10,
        &[
            ("AWS_WEB_IDENTITY_TOKEN_FILE", &token.display().to_string()),
            ("AWS_ROLE_ARN", "arn:x"),
            ("AWS_ENDPOINT_URL_STS", &sts.url),
        ],
        &["the web identity of arn:x", "403 AccessDenied (not yours)"],
    );
    assert!(!finished.stderr.contains("a-secret-token"), "{finished:#?}");
    // An agent that cannot for now is waited for, within the bound.
    let agent = Endpoint::start("503 Service Unavailable", String::new());
    refused(
        13,
        &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &agent.url)],
        &["503", "of at most 5s"],
    );
    assert!(agent.asked().len() > 1);
}
