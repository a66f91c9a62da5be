//! Connections: kept, closed, reset, late, and all of it at random.

use std::collections::BTreeMap;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use worldstream_crds::Reason;

use super::*;
use crate::gate::RetryReason;

fn envelope(number: usize) -> Bytes {
    format!("{{\"number\":{number}}}").into()
}

fn number(body: &[u8]) -> usize {
    serde_json::from_slice::<serde_json::Value>(body).unwrap()["number"]
        .as_u64()
        .unwrap() as usize
}

#[tokio::test]
async fn a_kept_connection_carries_everything() {
    let gate = Gate::answering(Vec::new()).await;
    let client = gate.client();
    let mut connection = client.connection();
    for n in 0..100 {
        assert_eq!(
            taken(connection.push(envelope(n), &Stop::new()).await),
            (Some(Decision::Admit), 0)
        );
    }
    assert_eq!(gate.connections(), 1);
    let counts = client.counts();
    assert_eq!((counts.connections, counts.stale), (1, 0));
    assert_eq!((counts.attempts, counts.retries_total()), (100, 0));
    let seen = gate.seen();
    assert_eq!(seen.len(), 100);
    for (n, request) in seen.iter().enumerate() {
        assert_eq!(request.body, envelope(n));
        assert_eq!(request.header("content-type"), Some("application/json"));
        assert_eq!(
            request.header("host"),
            Some(gate.address.to_string().as_str())
        );
        assert_eq!(request.header("transfer-encoding"), None);
    }
}

#[tokio::test]
async fn a_gate_that_closes_costs_a_connection_and_nothing_else() {
    let text = String::from_utf8(admit().pieces.concat()).unwrap();
    let announced = text.replace("content-length", "connection: close\r\ncontent-length");
    let unbounded = "HTTP/1.1 200 OK\r\n\r\n{\"decision\":\"ADMIT\"}".to_owned();
    let old = text.replace("HTTP/1.1", "HTTP/1.0");
    for (text, then) in [
        (announced.clone(), Then::Close),
        (announced.clone(), Then::Keep),
        (announced, Then::Reset),
        (text.clone(), Then::Close),
        (text, Then::Reset),
        (unbounded, Then::Close),
        (old, Then::Close),
    ] {
        let act = raw(&text, then);
        let gate = Gate::start(move |_, _| act.clone()).await;
        let client = gate.client();
        let mut connection = client.connection();
        for n in 0..20 {
            let end = connection.push(envelope(n), &Stop::new()).await;
            assert_eq!(taken(end), (Some(Decision::Admit), 0), "{text} {then:?}");
        }
        let counts = client.counts();
        assert_eq!(counts.retries_total(), 0, "{text} {then:?}: {counts:?}");
        assert_eq!(counts.attempts, 20);
        assert_eq!(counts.connections, 20, "{text} {then:?}: {counts:?}");
        let numbers: Vec<_> = gate.seen().iter().map(|it| number(&it.body)).collect();
        assert_eq!(numbers, (0..20).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_replaced() {
    let text = String::from_utf8(admit().pieces.concat()).unwrap();
    for then in [Then::Close, Then::Reset] {
        let act = raw(&text, then);
        let gate = Gate::start(move |_, _| act.clone()).await;
        let client = gate.client();
        let mut connection = client.connection();
        for n in 0..10 {
            let end = connection.push(envelope(n), &Stop::new()).await;
            assert_eq!(taken(end), (Some(Decision::Admit), 0));
            gate.until(|gate| gate.ended.load(Ordering::SeqCst) == n + 1)
                .await;
        }
        assert_eq!(client.counts().retries_total(), 0);
        assert_eq!(gate.seen().len(), 10);
    }
}

#[tokio::test]
async fn a_connection_that_ends_before_its_first_request_is_no_timeout() {
    // A gate that dies with connections in its backlog: they end without a byte.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1/ingest/push", listener.local_addr().unwrap());
    std::thread::spawn(move || listener.incoming().for_each(drop));
    // Between two looks at the connection enough time passes for its end to come.
    tokio::spawn(async {
        loop {
            std::thread::sleep(Duration::from_millis(10));
            tokio::task::yield_now().await;
        }
    });
    let mut plan = plan(&url);
    plan.timeout = Duration::from_secs(5);
    let client = GateClient::new(&plan).unwrap();
    let failure = failed(push(&client, "{}").await);
    assert_eq!(failure.reason(), Reason::IgPushRetryExhausted);
    assert_eq!(
        client.counts().retries_of(RetryReason::Reset),
        5,
        "{failure}"
    );
}

#[tokio::test]
async fn a_request_that_a_kept_connection_swallows_goes_out_again_uncounted() {
    // Every second request is read and never answered: the connection ends before a byte.
    for then in [Then::Close, Then::Reset] {
        let gate = Gate::start(move |_, seen: &Seen| {
            if seen.connection == 0 && number(&seen.body) == 1 {
                raw("", then)
            } else {
                admit()
            }
        })
        .await;
        let client = gate.client();
        let mut connection = client.connection();
        for n in 0..3 {
            let end = connection.push(envelope(n), &Stop::new()).await;
            assert_eq!(taken(end), (Some(Decision::Admit), 0));
        }
        let counts = client.counts();
        assert_eq!((counts.stale, counts.retries_total()), (1, 0));
        assert_eq!((counts.attempts, counts.connections), (3, 2));
        let numbers: Vec<_> = gate.seen().iter().map(|it| number(&it.body)).collect();
        assert_eq!(numbers, [0, 1, 1, 2]);
    }
}

#[tokio::test]
async fn a_connection_that_ends_before_its_first_answer_is_a_retry() {
    for then in [Then::Close, Then::Reset] {
        let gate = Gate::answering(vec![raw("", then), raw("", then)]).await;
        let client = gate.client();
        assert_eq!(taken(push(&client, "{}").await).1, 2);
        let counts = client.counts();
        assert_eq!(counts.retries_of(RetryReason::Reset), 2, "{counts:?}");
        assert_eq!(counts.stale, 0);
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_a_retry_on_a_kept_connection_too() {
    let whole = "HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{\"decision\":\"ADMIT\"}";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
                   14\r\n{\"decision\":\"ADMIT\"}\r\n";
    for part in [
        &whole[..1],
        &whole[..15],
        &whole[..45],
        &whole[..whole.len() - 1],
        chunked,
    ] {
        for then in [Then::Close, Then::Reset] {
            let gate = Gate::answering(vec![admit(), raw(part, then)]).await;
            let client = gate.client();
            let mut connection = client.connection();
            let end = connection.push(envelope(0), &Stop::new()).await;
            assert_eq!(taken(end).1, 0);
            let end = connection.push(envelope(1), &Stop::new()).await;
            assert_eq!(taken(end), (Some(Decision::Admit), 1), "{part:?} {then:?}");
            let counts = client.counts();
            assert_eq!((counts.stale, counts.retries_total()), (0, 1));
            assert_eq!(gate.connections(), 2);
        }
    }
}

#[tokio::test]
async fn a_late_answer_drops_the_connection() {
    for part in ["", "HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{\"dec"] {
        let gate = Gate::answering(vec![admit(), raw(part, Then::Hang)]).await;
        let mut plan = gate.plan();
        plan.timeout = Duration::from_millis(200);
        let client = GateClient::new(&plan).unwrap();
        let mut connection = client.connection();
        connection.push(envelope(0), &Stop::new()).await;
        let end = connection.push(envelope(1), &Stop::new()).await;
        assert_eq!(taken(end), (Some(Decision::Admit), 1));
        assert_eq!(client.counts().retries_of(RetryReason::Timeout), 1);
        assert_eq!(gate.connections(), 2);
        // The gate sees the end of the dropped one.
        gate.until(|gate| gate.ended.load(Ordering::SeqCst) >= 1)
            .await;
    }
}

#[tokio::test]
async fn a_push_that_is_dropped_leaves_no_answer_for_the_next() {
    let gate = Gate::answering(vec![admit(), raw("", Then::Hang)]).await;
    let client = gate.client();
    let mut connection = client.connection();
    connection.push(envelope(0), &Stop::new()).await;
    {
        let stop = Stop::new();
        let push = connection.push(envelope(1), &stop);
        tokio::select! {
            end = push => panic!("{end:?}"),
            () = gate.until(|gate| gate.seen().len() == 2) => {}
        }
    }
    let end = connection.push(envelope(2), &Stop::new()).await;
    assert_eq!(taken(end), (Some(Decision::Admit), 0));
    assert_eq!(gate.connections(), 2);
}

#[tokio::test]
async fn answers_in_pieces_and_chunks_are_put_together() {
    let receipt = "x".repeat(2000);
    let body = format!(r#"{{"receipt":"{receipt}","decision":"DUPLICATE"}}"#);
    let mut chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.as_bytes().chunks(97) {
        chunked.extend(format!("{:x};ext=1\r\n", chunk.len()).bytes());
        chunked.extend(chunk);
        chunked.extend(b"\r\n");
    }
    chunked.extend(b"0\r\nx-trailer: y\r\n\r\n");
    let plain = answer(200, "", &body).pieces.concat();
    let early = [&b"HTTP/1.1 100 Continue\r\n\r\n"[..], &plain].concat();
    for bytes in [chunked, plain, early] {
        for size in [bytes.len(), 512, 61] {
            let act = Act {
                pieces: bytes.chunks(size).map(<[u8]>::to_vec).collect(),
                then: Then::Keep,
            };
            let gate = Gate::start(move |_, _| act.clone()).await;
            let client = gate.client();
            let mut connection = client.connection();
            for n in 0..3 {
                let end = connection.push(envelope(n), &Stop::new()).await;
                assert_eq!(taken(end), (Some(Decision::Duplicate), 0));
            }
            assert_eq!(gate.connections(), 1);
        }
    }
}

#[tokio::test]
async fn what_follows_an_answer_is_never_the_next_answer() {
    let admit = String::from_utf8(admit().pieces.concat()).unwrap();
    let stray = admit.replace("ADMIT", "QUARANTINE");
    for extra in [stray.as_str(), "x"] {
        let together = raw(&format!("{admit}{extra}"), Then::Hang);
        let gate = Gate::answering(vec![together]).await;
        let client = gate.client();
        let mut connection = client.connection();
        for n in 0..3 {
            let end = connection.push(envelope(n), &Stop::new()).await;
            assert_eq!(taken(end), (Some(Decision::Admit), 0));
        }
        assert_eq!(gate.connections(), 2);
        assert_eq!(gate.seen().len(), 3);
    }
}

#[tokio::test]
async fn what_comes_while_idle_is_never_an_answer() {
    let text = String::from_utf8(admit().pieces.concat()).unwrap();
    let stray = text.replace("ADMIT", "QUARANTINE");
    let gate = Gate::answering(vec![Act {
        pieces: vec![text.into_bytes(), stray.into_bytes()],
        then: Then::Close,
    }])
    .await;
    let client = gate.client();
    let mut connection = client.connection();
    let end = connection.push(envelope(0), &Stop::new()).await;
    assert_eq!(taken(end), (Some(Decision::Admit), 0));
    gate.until(|gate| gate.ended.load(Ordering::SeqCst) == 1)
        .await;
    let end = connection.push(envelope(1), &Stop::new()).await;
    assert_eq!(taken(end), (Some(Decision::Admit), 0));
    assert_eq!(client.counts().retries_total(), 0);
}

#[tokio::test]
async fn a_gate_that_is_away_is_an_outage_until_it_is_back() {
    // A port that was free a moment ago.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut plan = plan(&format!("http://{address}/v1/ingest/push"));
    let client = GateClient::new(&plan).unwrap();
    let failure = failed(push(&client, "{}").await);
    assert_eq!(failure.reason(), Reason::IgPushRetryExhausted);
    assert!(failure.to_string().contains("connect"), "{failure}");
    let counts = client.counts();
    assert_eq!(counts.retries_of(RetryReason::Connect), 5);
    assert_eq!(counts.outage.unwrap().reason, RetryReason::Connect);
    assert_eq!(counts.connections, 0);

    plan.retry.unavailable_for = Some(Duration::from_secs(600));
    let client = GateClient::new(&plan).unwrap();
    let (end, gate) = tokio::join!(push(&client, "{}"), async {
        while client.counts().outage.is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Gate::start_at(&address.to_string(), |_, _| admit()).await
    });
    assert!(taken(end).1 > 0);
    assert_eq!(client.counts().outage, None);
    assert_eq!(gate.seen().len(), 1);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_tried_again_and_told() {
    // A label of more than 63 characters is refused without asking any server.
    let host = "a".repeat(70);
    let client = GateClient::new(&plan(&format!("http://{host}:1/v1/ingest/push"))).unwrap();
    let failure = failed(push(&client, "{}").await);
    assert_eq!(failure.reason(), Reason::IgPushRetryExhausted);
    assert_eq!(client.counts().retries_of(RetryReason::Resolve), 5);
    assert!(failure.to_string().contains("resolve"), "{failure}");
}

#[tokio::test]
async fn names_and_both_kinds_of_addresses_are_reached() {
    let gate = Gate::answering(Vec::new()).await;
    let url = format!("http://localhost:{}/v1/ingest/push", gate.address.port());
    assert_eq!(
        taken(push(&GateClient::new(&plan(&url)).unwrap(), "{}").await).1,
        0
    );
    let host = format!("localhost:{}", gate.address.port());
    assert_eq!(gate.seen()[0].header("host"), Some(host.as_str()));

    let gate = Gate::start_at("[::1]:0", |_, _| admit()).await;
    assert!(gate.url().contains("[::1]"));
    assert_eq!(taken(push(&gate.client(), "{}").await).1, 0);
    let host = gate.address.to_string();
    assert_eq!(gate.seen()[0].header("host"), Some(host.as_str()));
}

#[tokio::test]
async fn path_and_query_of_the_url_are_kept() {
    let gate = Gate::answering(Vec::new()).await;
    let url = format!("http://{}/a/v1/ingest/push?tenant=x", gate.address);
    let client = GateClient::new(&plan(&url)).unwrap();
    push(&client, "{}").await;
    let head = &gate.seen()[0].head;
    assert!(head.starts_with("POST /a/v1/ingest/push?tenant=x HTTP/1.1"));
    assert!(!client.url().contains("tenant"));
}

#[test]
fn a_url_that_cannot_be_pushed_to_is_refused_without_its_secrets() {
    for url in [
        "",
        "gate:8080",
        "/v1/ingest/push",
        "ftp://gate/v1/ingest/push",
        "http://",
        "http://:80/v1/ingest/push",
        "http://gate:0/v1/ingest/push",
        "http://gate:99999/v1/ingest/push",
        "http://ga te/v1/ingest/push",
        "http://user:hush@gate/v1/ingest/push",
        "http://user:hush@ga te/v1/ingest/push?key=hush",
        "https://-gate-/v1/ingest/push?key=hush",
    ] {
        let failure = match GateClient::new(&plan(url)) {
            Ok(_) => panic!("{url:?} was taken"),
            Err(failure) => failure,
        };
        assert_eq!(failure.reason(), Reason::StreamFailed, "{url}");
        let text = failure.to_string();
        assert!(text.contains("gate.url"), "{text}");
        assert!(!text.contains("hush"), "{text}");
    }
}

#[tokio::test]
async fn through_all_faults_at_random_every_event_arrives_in_order() {
    const EVENTS: usize = 500;
    let rng = Mutex::new(ChaCha8Rng::seed_from_u64(7));
    let text = String::from_utf8(admit().pieces.concat()).unwrap();
    let took: Arc<Mutex<Vec<usize>>> = Arc::default();
    let gate = Gate::start({
        let took = took.clone();
        move |_, seen: &Seen| {
            let mut rng = rng.lock().unwrap();
            let fault = rng.random_range(0..40);
            let cut = 1 + rng.next_u32() as usize % (text.len() - 1);
            let part = &text[..cut];
            // Taken, whether or not it is told.
            if !(3..=7).contains(&fault) {
                took.lock().unwrap().push(number(&seen.body));
            }
            match fault {
                0 => raw("", Then::Reset),
                1 => raw("", Then::Close),
                2 => raw(part, Then::Reset),
                3 => answer(500, "", "oops"),
                4 => answer(429, "retry-after: 0\r\n", ""),
                5 => answer(408, "connection: close\r\n", ""),
                6 => answer(200, "", "{}"),
                7 => answer(302, "location: /\r\n", ""),
                8 => raw(part, Then::Close),
                9 => raw("", Then::Hang),
                10 => raw(part, Then::Hang),
                11 => raw(&format!("{text}{part}"), Then::Hang),
                12 => raw(&text, Then::Close),
                13 => raw(&text, Then::Reset),
                14 => raw("garbage\r\n\r\n", Then::Hang),
                _ => raw(&text, Then::Keep),
            }
        }
    })
    .await;
    let mut plan = gate.plan();
    plan.timeout = Duration::from_millis(100);
    plan.retry.unavailable_for = Some(Duration::from_secs(600));
    let client = GateClient::new(&plan).unwrap();
    let mut connection = client.connection();
    let mut retries = 0;
    for n in 0..EVENTS {
        retries += taken(connection.push(envelope(n), &Stop::new()).await).1;
    }
    let counts = client.counts();
    assert_eq!(u64::from(retries), counts.retries_total());
    assert_eq!(counts.attempts, EVENTS as u64 + counts.retries_total());
    for reason in [
        RetryReason::Reset,
        RetryReason::Timeout,
        RetryReason::Malformed,
        RetryReason::Status408,
        RetryReason::Status429,
        RetryReason::Status5xx,
        RetryReason::NoDecision,
        RetryReason::Redirect,
    ] {
        assert!(counts.retries_of(reason) > 0, "{reason:?}: {counts:?}");
    }
    let took = took.lock().unwrap();
    assert!(took.is_sorted(), "an event overtook another");
    let times = took.iter().fold(BTreeMap::new(), |mut times, n| {
        *times.entry(*n).or_insert(0) += 1;
        times
    });
    assert!((0..EVENTS).all(|n| times.contains_key(&n)));
    for request in gate.seen() {
        assert_eq!(request.body, envelope(number(&request.body)));
    }
}
