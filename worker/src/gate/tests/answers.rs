//! What each answer leads to, row by row of the contract's table.

use std::time::{Duration, SystemTime};

use worldstream_crds::{ExitCode, Reason};

use super::*;
use crate::gate::RetryReason;

#[tokio::test]
async fn every_decision_is_taken_at_once() {
    for (text, decision) in [
        ("ADMIT", Decision::Admit),
        ("DUPLICATE", Decision::Duplicate),
        ("QUARANTINE", Decision::Quarantine),
    ] {
        let body = format!(r#"{{"receipt":{{"decision":"X"}},"decision":"{text}"}}"#);
        let gate = Gate::answering(vec![answer(200, "", &body)]).await;
        assert_eq!(taken(push(&gate.client(), "{}").await), (Some(decision), 0));
        assert_eq!(gate.seen().len(), 1);
    }
}

#[tokio::test]
async fn what_passes_is_tried_again_and_then_taken() {
    for (act, reason) in [
        (answer(408, "", ""), RetryReason::Status408),
        (answer(429, "", "slow down"), RetryReason::Status429),
        (answer(500, "", "{}"), RetryReason::Status5xx),
        (answer(503, "", ""), RetryReason::Status5xx),
        (answer(599, "", ""), RetryReason::Status5xx),
        (answer(200, "", ""), RetryReason::NoDecision),
        (answer(204, "", ""), RetryReason::NoDecision),
        (answer(200, "", "not JSON"), RetryReason::NoDecision),
        (answer(200, "", "{}"), RetryReason::NoDecision),
        (
            answer(200, "", r#"{"decision":"PERHAPS"}"#),
            RetryReason::NoDecision,
        ),
        (
            answer(302, "location: /elsewhere\r\n", ""),
            RetryReason::Redirect,
        ),
        (
            answer(307, "location: http://127.0.0.1:1/\r\n", ""),
            RetryReason::Redirect,
        ),
        (
            raw("ICY 200 OK\r\n\r\n", Then::Hang),
            RetryReason::Malformed,
        ),
    ] {
        let gate = Gate::answering(vec![act.clone(), act.clone()]).await;
        let client = gate.client();
        let end = push(&client, "{\"n\":1}").await;
        assert_eq!(taken(end), (Some(Decision::Admit), 2), "{act:?}");
        let counts = client.counts();
        assert_eq!(counts.retries_of(reason), 2, "{act:?}: {counts:?}");
        assert_eq!(counts.retries_total(), 2);
        assert_eq!(counts.attempts, 3);
        assert_eq!(counts.outage, None);
        let seen = gate.seen();
        assert_eq!(seen.len(), 3);
        for request in seen {
            assert_eq!(request.body, b"{\"n\":1}");
            assert!(request.head.starts_with("POST /v1/ingest/push HTTP/1.1"));
        }
    }
}

#[tokio::test]
async fn a_refusal_ends_it_with_status_and_body() {
    for status in [400, 403, 404, 405, 409, 413, 415, 422, 451, 499] {
        let gate = Gate::answering(vec![answer(status, "", "SCHEMA_FAIL\r\nx")]).await;
        let client = gate.client();
        let failure = failed(push(&client, "{}").await);
        assert_eq!(failure.reason(), Reason::IgPushRejected);
        assert_eq!(failure.exit_code(), ExitCode::Refused);
        let text = failure.to_string();
        assert!(text.contains(&format!("status {status}")), "{text}");
        assert!(text.contains("SCHEMA_FAIL"), "{text}");
        assert!(text.contains(&gate.url()), "{text}");
        assert_eq!(gate.seen().len(), 1);
        assert_eq!(client.counts().retries_total(), 0);
    }
}

#[tokio::test]
async fn attempts_are_bounded_and_told() {
    let gate = Gate::start(|_, _| answer(503, "", "tired")).await;
    let client = gate.client();
    let failure = failed(push(&client, "{}").await);
    assert_eq!(failure.reason(), Reason::IgPushRetryExhausted);
    assert_eq!(failure.exit_code(), ExitCode::Unavailable);
    let text = failure.to_string();
    assert!(text.contains("5 attempts in "), "{text}");
    assert!(text.contains("status 503: tired"), "{text}");
    assert!(text.contains("status_5xx"), "{text}");
    assert_eq!(gate.seen().len(), 5);
    assert_eq!(
        client.counts().outage.unwrap().reason,
        RetryReason::Status5xx
    );
}

#[tokio::test]
async fn time_bounds_it_instead_where_the_plan_says_so() {
    let gate = Gate::start(|_, _| answer(503, "retry-after: 3600\r\n", "")).await;
    let mut plan = gate.plan();
    plan.retry.attempts = 1;
    plan.retry.unavailable_for = Some(Duration::from_millis(60));
    let failure = failed(push(&GateClient::new(&plan).unwrap(), "{}").await);
    assert_eq!(failure.reason(), Reason::IgPushRetryExhausted);
    // The first, and one when the time was over, that Retry-After could not put off further.
    assert_eq!(gate.seen().len(), 2);

    let gate = Gate::start(|number, _| {
        if number < 9 {
            answer(503, "", "")
        } else {
            admit()
        }
    })
    .await;
    let mut plan = gate.plan();
    plan.retry.unavailable_for = Some(Duration::from_secs(600));
    let end = push(&GateClient::new(&plan).unwrap(), "{}").await;
    assert_eq!(taken(end), (Some(Decision::Admit), 9));
}

#[tokio::test]
async fn an_answer_without_a_decision_is_taken_where_the_profile_says_so() {
    for act in [
        answer(200, "", ""),
        answer(204, "", ""),
        answer(200, "", "ok"),
        answer(303, "location: /elsewhere\r\n", ""),
    ] {
        let gate = Gate::answering(vec![act]).await;
        let mut plan = gate.plan();
        plan.require_decision = false;
        let client = GateClient::new(&plan).unwrap();
        assert_eq!(taken(push(&client, "{}").await), (None, 0));
        // A decision that is there counts all the same.
        assert_eq!(taken(push(&client, "{}").await), (Some(Decision::Admit), 0));
        assert_eq!(gate.seen().len(), 2);
    }
}

#[tokio::test]
async fn retry_after_holds_the_next_attempt_back_in_both_forms() {
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(600));
    for (status, value) in [(429, "600".to_owned()), (503, date)] {
        let headers = format!("retry-after: {value}\r\n");
        let gate = Gate::start(move |_, _| answer(status, &headers, "")).await;
        let mut plan = gate.plan();
        plan.retry.base = Duration::ZERO;
        let client = GateClient::new(&plan).unwrap();
        let (stop, mut connection) = (Stop::new(), client.connection());
        // Without the pause five attempts would be over long before the stop.
        let (end, ()) = tokio::join!(connection.push(Bytes::from_static(b"{}"), &stop), async {
            gate.until(|gate| gate.seen().len() == 1).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            stop.set();
        });
        assert!(matches!(end, PushEnd::Interrupted), "{end:?}");
        assert_eq!(gate.seen().len(), 1);
    }
}

#[tokio::test]
async fn stop_ends_a_pause_but_not_an_awaited_answer() {
    // In a pause.
    let gate = Gate::start(|_, _| answer(503, "", "")).await;
    let mut plan = gate.plan();
    plan.retry.base = Duration::from_secs(3600);
    plan.retry.max = Duration::from_secs(3600);
    let client = GateClient::new(&plan).unwrap();
    let (stop, mut connection) = (Stop::new(), client.connection());
    let (end, ()) = tokio::join!(connection.push(Bytes::from_static(b"{}"), &stop), async {
        gate.until(|gate| gate.seen().len() == 1).await;
        stop.set();
    });
    assert!(matches!(end, PushEnd::Interrupted), "{end:?}");

    // While the answer is awaited: it comes after the stop, and counts.
    let stop = Stop::new();
    let gate = Gate::start({
        let stop = stop.clone();
        move |_, _| {
            stop.set();
            admit()
        }
    })
    .await;
    let mut connection = gate.client().connection();
    let end = connection.push(Bytes::from_static(b"{}"), &stop).await;
    assert_eq!(taken(end), (Some(Decision::Admit), 0));

    // While a 401 would have been tried again.
    let dir = tempfile::tempdir().unwrap();
    let stop = Stop::new();
    let gate = Gate::start({
        let stop = stop.clone();
        move |_, _| {
            stop.set();
            answer(401, "", "")
        }
    })
    .await;
    let mut plan = gate.plan();
    plan.auth = AuthPlan::ApiKey(key_file(dir.path(), "k"));
    let mut connection = GateClient::new(&plan).unwrap().connection();
    let end = connection.push(Bytes::from_static(b"{}"), &stop).await;
    assert!(matches!(end, PushEnd::Interrupted), "{end:?}");
    assert_eq!(gate.seen().len(), 1);
}

#[tokio::test]
async fn a_body_beyond_the_bound_is_not_read_on() {
    let body = format!(
        r#"{{"decision":"ADMIT","x":"{}"}}"#,
        "x".repeat(crate::gate::BODY_MAX)
    );
    let gate = Gate::answering(vec![answer(200, "", &body), answer(403, "", &body)]).await;
    let mut plan = gate.plan();
    plan.retry.attempts = 1;
    let client = GateClient::new(&plan).unwrap();
    let mut connection = client.connection();
    let mut push = async || {
        connection
            .push(Bytes::from_static(b"{}"), &Stop::new())
            .await
    };
    let failure = failed(push().await);
    assert_eq!(failure.reason(), Reason::IgPushRetryExhausted);
    assert!(failure.to_string().contains("more than 1048576 bytes"));
    assert!(failure.to_string().len() < 700);
    let failure = failed(push().await);
    assert_eq!(failure.reason(), Reason::IgPushRejected);
    assert!(failure.to_string().len() < 700);
    assert_eq!(taken(push().await).1, 0);
    assert_eq!(client.counts().connections, 3);
}

#[tokio::test]
async fn a_body_up_to_the_bound_is_read() {
    let padding = crate::gate::BODY_MAX - r#"{"x":"","decision":"ADMIT"}"#.len();
    let body = format!(r#"{{"x":"{}","decision":"ADMIT"}}"#, "x".repeat(padding));
    assert_eq!(body.len(), crate::gate::BODY_MAX);
    let gate = Gate::answering(vec![answer(200, "", &body)]).await;
    let client = gate.client();
    assert_eq!(taken(push(&client, "{}").await), (Some(Decision::Admit), 0));
}
