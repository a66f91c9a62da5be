//! The credential: sent, read again once after a 401, and never shown.

use worldstream_crds::{ExitCode, Reason};

use super::*;
use crate::gate::RetryReason;

/// A gate that knows one key, which a test may change.
async fn keyed(key: &Arc<Mutex<String>>) -> Gate {
    let key = key.clone();
    Gate::start(move |_, seen| {
        let given = seen.header("x-ig-api-key").unwrap_or_default();
        if given == *key.lock().unwrap() {
            admit()
        } else {
            answer(401, "", &format!("unknown key {given}"))
        }
    })
    .await
}

fn with_key(gate: &Gate, source: SecretSource) -> GateClient {
    let mut plan = gate.plan();
    plan.auth = AuthPlan::ApiKey(source);
    GateClient::new(&plan).unwrap()
}

#[tokio::test]
async fn each_kind_of_credential_has_its_header() {
    let dir = tempfile::tempdir().unwrap();
    let signed = AuthPlan::SignedToken {
        principal: "world_stream_producer".to_owned(),
        secret: key_file(dir.path(), "s3cr3t\n"),
    };
    for (auth, header, value) in [
        (
            signed,
            "x-ig-service-token",
            Some(
                "st.v1.d29ybGRfc3RyZWFtX3Byb2R1Y2Vy.18c395a99d1c18e2dbec24f3c25709210549bb1ce3b45101d5280061b155d8fd",
            ),
        ),
        (
            AuthPlan::ServiceToken(key_file(dir.path(), "s3cr3t\n")),
            "x-ig-service-token",
            Some("s3cr3t"),
        ),
        (
            AuthPlan::ApiKey(key_file(dir.path(), "s3cr3t\n")),
            "x-ig-api-key",
            Some("s3cr3t"),
        ),
        (AuthPlan::None, "x-ig-api-key", None),
    ] {
        let gate = Gate::answering(Vec::new()).await;
        let mut plan = gate.plan();
        plan.auth = auth;
        taken(push(&GateClient::new(&plan).unwrap(), "{}").await);
        let seen = &gate.seen()[0];
        assert_eq!(seen.header(header), value);
        assert_eq!(
            seen.head.matches("x-ig-").count(),
            usize::from(value.is_some())
        );
    }
}

#[tokio::test]
async fn a_rotated_key_is_read_again_and_used_from_then_on() {
    let dir = tempfile::tempdir().unwrap();
    let key = Arc::new(Mutex::new("one".to_owned()));
    let gate = keyed(&key).await;
    let client = with_key(&gate, key_file(dir.path(), "one"));
    assert_eq!(taken(push(&client, "{}").await).1, 0);

    *key.lock().unwrap() = "two".to_owned();
    key_file(dir.path(), "two\n");
    assert_eq!(taken(push(&client, "{}").await).1, 1);
    assert_eq!(taken(push(&client, "{}").await).1, 0);
    let counts = client.counts();
    assert_eq!(counts.credential_reads, 1);
    assert_eq!(counts.retries_of(RetryReason::Unauthorized), 1);
    assert_eq!(counts.outage, None);

    *key.lock().unwrap() = "three".to_owned();
    key_file(dir.path(), "three");
    assert_eq!(taken(push(&client, "{}").await).1, 1);
    assert_eq!(client.counts().credential_reads, 2);
}

#[tokio::test]
async fn a_second_401_is_a_refusal_and_the_key_is_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let gate = keyed(&Arc::new(Mutex::new("other".to_owned()))).await;
    let mut plan = gate.plan();
    plan.auth = AuthPlan::ApiKey(key_file(dir.path(), "hush-hush"));
    // The 401 is no retry of the policy.
    plan.retry.attempts = 1;
    let client = GateClient::new(&plan).unwrap();
    let failure = failed(push(&client, "{}").await);
    assert_eq!(failure.reason(), Reason::IgPushRejected);
    assert_eq!(failure.exit_code(), ExitCode::Refused);
    let text = format!("{failure} {failure:?}");
    assert!(text.contains("status 401"), "{text}");
    assert!(text.contains("unknown key [credential]"), "{text}");
    assert!(!text.contains("hush"), "{text}");
    assert_eq!(gate.seen().len(), 2);
    assert_eq!(client.counts().credential_reads, 1);
}

#[tokio::test]
async fn a_key_that_is_gone_after_a_401_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let gate = keyed(&Arc::new(Mutex::new("other".to_owned()))).await;
    let client = with_key(&gate, key_file(dir.path(), "hush"));
    std::fs::remove_file(dir.path().join("key")).unwrap();
    let failure = failed(push(&client, "{}").await);
    assert_eq!(failure.reason(), Reason::IgPushRejected);
    let text = failure.to_string();
    assert!(
        text.contains("status 401") && text.contains("gate.auth"),
        "{text}"
    );
    assert!(!text.contains("hush"), "{text}");
    assert_eq!(gate.seen().len(), 1);
}

#[tokio::test]
async fn many_refused_connections_read_the_key_once() {
    const CONNECTIONS: usize = 16;
    let dir = tempfile::tempdir().unwrap();
    let key = Arc::new(Mutex::new("one".to_owned()));
    let gate = keyed(&key).await;
    let client = with_key(&gate, key_file(dir.path(), "one"));
    let stop = Stop::new();
    let mut connections: Vec<_> = (0..CONNECTIONS).map(|_| client.connection()).collect();
    let mut round = async || {
        let pushes = connections
            .iter_mut()
            .map(|connection| connection.push(Bytes::from_static(b"{}"), &stop));
        for end in futures::future::join_all(pushes).await {
            assert!(taken(end).1 <= 1);
        }
    };
    round().await;
    *key.lock().unwrap() = "two".to_owned();
    key_file(dir.path(), "two");
    round().await;
    round().await;
    let counts = client.counts();
    assert_eq!(counts.credential_reads, 1);
    assert!(counts.retries_total() <= CONNECTIONS as u64);
    assert_eq!(counts.connections, CONNECTIONS as u64);
    assert_eq!(
        counts.attempts,
        3 * CONNECTIONS as u64 + counts.retries_total()
    );
}

#[test]
fn a_client_without_a_usable_secret_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    for auth in [
        AuthPlan::ApiKey(key_file(dir.path(), "hush\nhush")),
        AuthPlan::ServiceToken(SecretSource::File(dir.path().join("absent"))),
        AuthPlan::ServiceToken(SecretSource::File(dir.path().to_owned())),
        AuthPlan::SignedToken {
            principal: String::new(),
            secret: SecretSource::File(dir.path().join("key")),
        },
    ] {
        let mut plan = plan("http://gate/v1/ingest/push");
        plan.auth = auth;
        let failure = match GateClient::new(&plan) {
            Ok(_) => panic!("taken: {plan:?}"),
            Err(failure) => failure,
        };
        assert_eq!(failure.reason(), Reason::StreamFailed);
        let text = failure.to_string();
        assert!(
            text.contains("gate.auth") && !text.contains("hush"),
            "{text}"
        );
    }
}
