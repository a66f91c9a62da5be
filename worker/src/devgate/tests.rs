//! The gate over real connections, by a client that sees every byte.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};

use super::*;
use crate::gate::Decision;

const PUSH: &str = "/v1/ingest/push";

/// One keep-alive connection.
struct Client(BufReader<TcpStream>);

struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Client {
    fn new(gate: &RunningGate) -> Self {
        Self::connect(gate).unwrap()
    }

    fn connect(gate: &RunningGate) -> io::Result<Self> {
        let stream = TcpStream::connect(gate.addr())?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(Client(BufReader::new(stream)))
    }

    fn send(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> io::Result<()> {
        let length = body.len();
        let mut bytes = format!(
            "{method} {path} HTTP/1.1\r\nhost: gate\r\n{headers}content-length: {length}\r\n\r\n"
        )
        .into_bytes();
        bytes.extend_from_slice(body);
        self.0.get_mut().write_all(&bytes)
    }

    fn receive(&mut self) -> io::Result<Answer> {
        let mut line = String::new();
        let mut next = |client: &mut BufReader<TcpStream>| {
            line.clear();
            match client.read_line(&mut line)? {
                0 => Err(ErrorKind::UnexpectedEof.into()),
                _ => io::Result::Ok(line.trim_end().to_string()),
            }
        };
        let status = next(&mut self.0)?;
        let mut headers = BTreeMap::new();
        loop {
            let line = next(&mut self.0)?;
            let Some((name, value)) = line.split_once(": ") else {
                break;
            };
            headers.insert(name.to_lowercase(), value.to_string());
        }
        let mut body = vec![0; headers["content-length"].parse().unwrap()];
        self.0.read_exact(&mut body)?;
        let status = status.split(' ').nth(1).unwrap().parse().unwrap();
        Ok(Answer {
            status,
            headers,
            body,
        })
    }

    fn request(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        self.send(method, path, headers, body).unwrap();
        self.receive().unwrap()
    }

    fn push(&mut self, body: &[u8]) -> Answer {
        self.request("POST", PUSH, "", body)
    }

    fn decision(&mut self, body: &[u8]) -> String {
        let answer = self.push(body);
        assert_eq!(
            answer.status,
            200,
            "{}",
            String::from_utf8_lossy(&answer.body)
        );
        answer.json()["decision"].as_str().unwrap().to_string()
    }
}

fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/golden")
        .join(path)
}

fn envelopes(path: &str) -> Vec<String> {
    let text = fs::read_to_string(golden("expected").join(path)).unwrap();
    text.lines().map(str::to_string).collect()
}

fn traffic() -> Vec<String> {
    envelopes("world-a/s3_event_stream_with_fraud_6B.jsonl")
}

fn started(change: impl FnOnce(&mut GateConfig)) -> RunningGate {
    let mut config = GateConfig::default();
    change(&mut config);
    spawn(config).unwrap()
}

fn with_faults(specs: &[&str]) -> RunningGate {
    started(|config| config.faults = specs.iter().map(|spec| spec.parse().unwrap()).collect())
}

/// Asks again until it holds.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Everything in `part` is in `whole`.
fn assert_within(part: &Value, whole: &Value, place: &str) {
    match part {
        Value::Object(members) => {
            for (name, value) in members {
                assert_within(value, &whole[name], &format!("{place}.{name}"));
            }
        }
        other => assert_eq!(other, whole, "{place}"),
    }
}

#[test]
fn answers_every_golden_case_as_the_real_one() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    fs::write(&keys, "right\n").unwrap();
    let open = started(|_| {});
    let guarded = started(|config| config.api_keys = Some(keys));
    let limited = started(|config| config.rate_limit = Some(1));
    let cases: Vec<Value> =
        serde_json::from_slice(&fs::read(golden("ig/cases.json")).unwrap()).unwrap();
    assert!(cases.len() >= 18);
    for case in &cases {
        let name = case["case"].as_str().unwrap();
        let gate = match name {
            name if name.starts_with("auth mode api_key") => &guarded,
            name if name.starts_with("more than") => &limited,
            _ => &open,
        };
        let body = match &case["request_body"] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let mut headers = String::new();
        for (name, value) in case["request_headers"].as_object().unwrap() {
            headers.push_str(&format!("{name}: {}\r\n", value.as_str().unwrap()));
        }
        let mut client = Client::new(gate);
        if name.starts_with("more than") {
            assert_eq!(client.decision(body.as_bytes()), "ADMIT");
        }
        let answer = client.request("POST", PUSH, &headers, body.as_bytes());
        assert_eq!(answer.status, case["status"], "{name}");
        let expected = &case["response"];
        match expected {
            Value::String(text) => {
                assert_eq!(String::from_utf8(answer.body).unwrap(), *text, "{name}");
                assert_eq!(answer.headers["content-type"], "text/html; charset=utf-8");
            }
            _ if answer.status != 200 => assert_eq!(answer.json(), *expected, "{name}"),
            _ => {
                let found = answer.json();
                assert_eq!(found.as_object().unwrap().len(), 3, "{name}");
                assert!(
                    (1600..2600).contains(&answer.body.len()),
                    "{name}: {}",
                    answer.body.len()
                );
                assert_eq!(found["decision"], expected["decision"], "{name}");
                if expected["receipt"].is_object() {
                    assert_within(expected, &found, name);
                    for field in ["reason_codes", "payload_hash"] {
                        let absent = expected["receipt"].get(field).is_none();
                        assert_eq!(
                            found["receipt"].get(field).is_none(),
                            absent,
                            "{name}: {field}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn admits_every_golden_envelope_once() {
    let gate = started(|_| {});
    let mut client = Client::new(&gate);
    let (mut admitted, mut repeated) = (0, 0);
    for world in ["world-a", "world-b", "world-c"] {
        for file in fs::read_dir(golden("expected").join(world)).unwrap() {
            let file = file.unwrap().file_name().into_string().unwrap();
            if file.contains("lane") {
                continue;
            }
            for line in envelopes(&format!("{world}/{file}")) {
                assert_eq!(client.decision(line.as_bytes()), "ADMIT", "{line}");
                // Spaced, escaped and ordered otherwise, with floats written otherwise.
                let value: Value = serde_json::from_str(&line).unwrap();
                let other = serde_json::to_string_pretty(&value).unwrap();
                assert_eq!(client.decision(other.as_bytes()), "DUPLICATE", "{line}");
                (admitted, repeated) = (admitted + 1, repeated + 1);
            }
        }
    }
    let summary = gate.stop();
    assert_eq!((summary.admitted, summary.duplicates), (admitted, repeated));
    assert_eq!(summary.quarantined, 0);
    assert_eq!(summary.by_event_type.len(), 6);
    assert_eq!(summary.known_events, admitted);
}

#[test]
fn the_same_id_of_another_type_or_run_is_another_event() {
    let gate = started(|_| {});
    let mut client = Client::new(&gate);
    let first: Value = serde_json::from_str(&traffic()[0]).unwrap();
    for (field, text) in [
        ("event_id", first["event_id"].as_str().unwrap()),
        ("event_type", "s2_event_stream_baseline_6B"),
        ("platform_run_id", "platform_20270101T000000Z"),
    ] {
        let mut event = first.clone();
        event[field] = json!(text);
        let event = event.to_string();
        assert_eq!(client.decision(event.as_bytes()), "ADMIT", "{field}");
        assert_eq!(client.decision(event.as_bytes()), "DUPLICATE", "{field}");
    }
    assert_eq!(gate.stop().known_events, 3);
}

#[test]
fn puts_bad_envelopes_aside_with_their_reason() {
    let gate = started(|_| {});
    let mut client = Client::new(&gate);
    let good: Value = serde_json::from_str(&traffic()[0]).unwrap();
    let mut try_with = |pointer: &str, value: Option<Value>| {
        let mut envelope = good.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = envelope
            .pointer_mut(parent)
            .unwrap()
            .as_object_mut()
            .unwrap();
        match value {
            Some(value) => drop(parent.insert(name.into(), value)),
            None => drop(parent.remove(name).unwrap()),
        }
        let answer = client.push(envelope.to_string().as_bytes());
        match answer.status {
            200 => {
                let receipt = &answer.json()["receipt"];
                receipt["reason_codes"][0]
                    .as_str()
                    .unwrap_or("none")
                    .to_string()
            }
            status => status.to_string(),
        }
    };
    for field in ["event_id", "event_type", "ts_utc", "manifest_fingerprint"] {
        assert_eq!(
            try_with(&format!("/{field}"), None),
            "ENVELOPE_INVALID",
            "{field}"
        );
    }
    for field in ["parameter_hash", "seed", "scenario_id", "scenario_run_id"] {
        assert_eq!(
            try_with(&format!("/{field}"), None),
            "PINS_MISSING",
            "{field}"
        );
    }
    for column in [
        "seed",
        "manifest_fingerprint",
        "scenario_id",
        "flow_id",
        "event_seq",
    ] {
        let column = format!("/payload/{column}");
        assert_eq!(try_with(&column, None), "SCHEMA_FAIL", "{column}");
        assert_eq!(
            try_with(&column, Some(Value::Null)),
            "SCHEMA_FAIL",
            "{column}"
        );
    }
    for (field, value, reason) in [
        ("/seed", json!(-1), "ENVELOPE_INVALID"),
        ("/seed", json!(1.5), "ENVELOPE_INVALID"),
        ("/seed", json!(18446744073709551616.0), "ENVELOPE_INVALID"),
        ("/seed", json!("7"), "ENVELOPE_INVALID"),
        ("/scenario_id", json!(""), "ENVELOPE_INVALID"),
        ("/scenario_id", json!(-3), "ENVELOPE_INVALID"),
        ("/run_id", json!("AB"), "ENVELOPE_INVALID"),
        ("/platform_run_id", json!("platform_1"), "ENVELOPE_INVALID"),
        ("/platform_run_id", json!(null), "500"),
        ("/trace_id", json!("x".repeat(129)), "ENVELOPE_INVALID"),
        ("/schema_version", json!(null), "ENVELOPE_INVALID"),
        (
            "/ts_utc",
            json!("2026-01-01T00:00:02.456162+00:00"),
            "ENVELOPE_INVALID",
        ),
        ("/payload", json!(null), "ENVELOPE_INVALID"),
        ("/payload", json!("{}"), "ENVELOPE_INVALID"),
        (
            "/event_type",
            json!("s4_event_labels_6B"),
            "SCHEMA_POLICY_MISSING",
        ),
        ("/payload/flow_id", json!(""), "none"),
        ("/payload/flow_id", json!("other"), "PAYLOAD_HASH_MISMATCH"),
        // Other ids, so other events.
        ("/event_id", json!("with words"), "none"),
        (
            "/platform_run_id",
            json!("platform_20990101T000000Z"),
            "none",
        ),
    ] {
        assert_eq!(
            try_with(field, Some(value.clone())),
            reason,
            "{field} = {value}"
        );
    }
    assert_eq!(try_with("/payload", None), "SCHEMA_FAIL");
    let summary = gate.stop();
    assert_eq!(summary.admitted, 3);
    assert_eq!(summary.quarantined_by_reason["PINS_MISSING"], 4);
    assert_eq!(summary.by_event_type["other"].quarantined, 2);
    assert_eq!(summary.answers["500"], 1);
}

#[test]
fn the_largest_seed_is_no_float() {
    let gate = started(|_| {});
    let mut client = Client::new(&gate);
    for (seed, decision) in [
        ("18446744073709551615", "ADMIT"),
        ("18446744073709551616", "QUARANTINE"),
    ] {
        let mut value: Value = serde_json::from_str(&traffic()[0]).unwrap();
        value["seed"] = json!("SEED");
        value["event_id"] = json!(seed);
        let text = value.to_string().replace("\"SEED\"", seed);
        assert_eq!(client.decision(text.as_bytes()), decision, "{seed}");
    }
}

fn token(principal: &str, secret: &str) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("v1|{principal}").as_bytes());
    let signature = const_hex::encode(mac.finalize().into_bytes());
    format!("st.v1.{}.{signature}", URL_SAFE_NO_PAD.encode(principal))
}

#[test]
fn lets_in_by_key_or_token_and_follows_their_rotation() {
    let folder = tempfile::tempdir().unwrap();
    let (keys, secret) = (folder.path().join("keys"), folder.path().join("secret"));
    fs::write(&keys, "# who may push\nkey-1\n\n  key-2  \n").unwrap();
    fs::write(&secret, "s3cret\n").unwrap();
    let gate = started(|config| {
        config.api_keys = Some(keys.clone());
        config.token_secret = Some(secret.clone());
    });
    let body = traffic()[0].clone();
    let status = |header: &str| {
        let headers = if header.is_empty() {
            String::new()
        } else {
            format!("{header}\r\n")
        };
        let answer = Client::new(&gate).request("POST", PUSH, &headers, body.as_bytes());
        if answer.status == 401 {
            assert_eq!(
                answer.json(),
                json!({"detail": null, "error": "UNAUTHORIZED"})
            );
        }
        answer.status
    };
    let by_token = |token: &str| status(&format!("X-IG-Service-Token: {token}"));
    assert_eq!(status("X-IG-Api-Key: key-1"), 200);
    assert_eq!(status("x-ig-api-key: key-2"), 200);
    for wrong in [
        "",
        "X-IG-Api-Key: key-3",
        "X-IG-Api-Key: # who may push",
        "X-IG-Api-Key:",
    ] {
        assert_eq!(status(wrong), 401, "{wrong}");
    }
    let good = token("svc:producer", "s3cret");
    assert_eq!(by_token(&good), 200);
    let cut = &good[..good.len() - 2];
    let other = token("svc:other", "s3cret");
    let swapped = format!(
        "{}.{}",
        &other[..other.rfind('.').unwrap()],
        &good[good.rfind('.').unwrap() + 1..]
    );
    for wrong in [
        "st.v1.",
        "st.v1..",
        "st.v2.a.b",
        "nonsense",
        cut,
        &swapped,
        &token("a", "other"),
    ] {
        assert_eq!(by_token(wrong), 401, "{wrong}");
    }
    let answer = Client::new(&gate).request(
        "POST",
        PUSH,
        &format!("X-IG-Service-Token: {good}\r\n"),
        body.as_bytes(),
    );
    let actor = &answer.json()["receipt"]["actor"];
    assert_eq!(
        (&actor["auth_mode"], &actor["principal"]),
        (&json!("service_token"), &json!("svc:producer"))
    );
    // In place and by rename; as long as before, so that only the content tells.
    fs::write(&keys, "# who may push\nkey-8\n\n  key-9  \n").unwrap();
    assert_eq!(status("X-IG-Api-Key: key-1"), 401);
    assert_eq!(status("X-IG-Api-Key: key-9"), 200);
    let next = folder.path().join("next");
    fs::write(&next, "s3cre2").unwrap();
    fs::rename(&next, &secret).unwrap();
    assert_eq!(by_token(&good), 401);
    assert_eq!(by_token(&token("svc:producer", "s3cre2")), 200);
    // A file that is away for a moment changes nothing.
    fs::remove_file(&keys).unwrap();
    assert_eq!(status("X-IG-Api-Key: key-9"), 200);
    // The key itself is never told.
    assert!(
        !String::from_utf8(
            Client::new(&gate)
                .request("POST", PUSH, "X-IG-Api-Key: key-9\r\n", body.as_bytes())
                .body
        )
        .unwrap()
        .contains("key-9")
    );
}

#[test]
fn refuses_to_start_without_what_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    fs::write(&empty, "# nobody\n\n").unwrap();
    let blank = folder.path().join("blank");
    fs::write(&blank, "\n").unwrap();
    let words = |change: &dyn Fn(&mut GateConfig)| {
        let mut config = GateConfig::default();
        change(&mut config);
        spawn(config)
            .map(|gate| gate.url())
            .unwrap_err()
            .to_string()
    };
    let found = words(&|config| config.api_keys = Some(folder.path().join("none")));
    assert!(
        found.contains("none") && found.contains("No such file"),
        "{found}"
    );
    let found = words(&|config| config.api_keys = Some(empty.clone()));
    assert!(found.contains("found no key"), "{found}");
    let found = words(&|config| config.token_secret = Some(blank.clone()));
    assert!(found.contains("the secret"), "{found}");
    let found = words(&|config| config.listen = "nowhere".into());
    assert!(found.contains("dev gate at nowhere"), "{found}");
    let gate = started(|_| {});
    let taken = gate.addr().to_string();
    let found = words(&|config| config.listen = taken.clone());
    assert!(found.contains("in use"), "{found}");
    let found = words(&|config| config.record = Some(empty.clone()));
    assert!(found.contains("line 1: found no envelope"), "{found}");
}

#[test]
fn records_what_was_admitted_in_order_and_knows_it_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("deep/admitted.jsonl");
    let keep = |config: &mut GateConfig| config.record = Some(record.clone());
    let lines = traffic();
    let gate = started(keep);
    let mut client = Client::new(&gate);
    for line in lines[..20].iter().chain(&lines[10..30]) {
        client.decision(line.as_bytes());
    }
    let spread =
        serde_json::to_string_pretty(&serde_json::from_str::<Value>(&lines[30]).unwrap()).unwrap();
    assert_eq!(
        client.decision(spread.replace('\n', "\r\n").as_bytes()),
        "ADMIT"
    );
    // Whole while the gate still runs.
    let recorded = |count: usize| {
        let text = fs::read_to_string(&record).unwrap();
        assert!(text.ends_with('\n'));
        let found: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let expected: Vec<Value> = lines[..count]
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(found, expected);
    };
    recorded(31);
    // Read from outside as well, from any byte on.
    let whole = fs::read(&record).unwrap();
    for from in [0, 1_000, whole.len()] {
        let target = format!("/v1/dev/record?from={from}");
        let page = client.request("GET", &target, "", b"");
        assert_eq!((page.status, &page.body[..]), (200, &whole[from..]));
        assert_eq!(page.headers["content-type"], "application/x-ndjson");
    }
    let beyond = client.request("GET", "/v1/dev/record?from=99999999", "", b"");
    assert_eq!((beyond.status, &beyond.body[..]), (200, &b""[..]));
    assert_eq!(
        client
            .request("GET", "/v1/dev/record?till=1", "", b"")
            .status,
        400
    );
    assert_eq!(
        Client::new(&started(|_| {}))
            .request("GET", "/v1/dev/record", "", b"")
            .status,
        404
    );
    let found = spawn(GateConfig {
        record: Some(record.clone()),
        ..GateConfig::default()
    });
    assert!(found.unwrap_err().to_string().contains("another gate"));
    gate.stop();
    // A line that was cut off while it was written.
    let whole = fs::read(&record).unwrap();
    fs::write(&record, [&whole[..], &lines[31].as_bytes()[..200]].concat()).unwrap();
    let gate = started(keep);
    let mut client = Client::new(&gate);
    assert_eq!(gate.summary().known_events, 31);
    assert_eq!(client.decision(lines[30].as_bytes()), "DUPLICATE");
    for line in &lines[31..] {
        assert_eq!(client.decision(line.as_bytes()), "ADMIT");
    }
    recorded(lines.len());
    gate.stop();
    let gate = started(|config| {
        keep(config);
        config.fresh = true;
    });
    assert_eq!(fs::read(&record).unwrap(), b"");
    assert_eq!(Client::new(&gate).decision(lines[0].as_bytes()), "ADMIT");
}

#[test]
fn the_order_of_the_record_is_that_of_the_decisions() {
    let folder = tempfile::tempdir().unwrap();
    let (record, all) = (folder.path().join("record"), folder.path().join("all"));
    let gate = started(|config| {
        config.record = Some(record.clone());
        config.record_all = Some(all.clone());
    });
    let lines = traffic();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = Client::new(&gate);
                for line in &lines {
                    client.decision(line.as_bytes());
                }
            });
        }
    });
    gate.stop();
    let ids = |path: &Path, keep: &dyn Fn(&Value) -> bool| -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        let values = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        values
            .filter(|value| keep(value))
            .map(|value| value["event_id"].to_string())
            .collect()
    };
    let admitted = ids(&record, &|_| true);
    assert_eq!(admitted.len(), lines.len());
    assert_eq!(ids(&all, &|value| value["decision"] == "ADMIT"), admitted);
    assert_eq!(
        ids(&all, &|value| value["decision"] == "DUPLICATE").len(),
        7 * lines.len()
    );
}

#[test]
fn writes_down_every_arrival() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.jsonl");
    let gate = started(|config| {
        config.record_all = Some(path.clone());
        config.faults = ["5xx=500:events=1..2", "no-answer:events=3..4"]
            .map(|spec| spec.parse().unwrap())
            .to_vec();
    });
    let lines = traffic();
    let mut client = Client::new(&gate);
    assert_eq!(client.push(lines[0].as_bytes()).status, 200);
    assert_eq!(client.push(lines[1].as_bytes()).status, 500);
    assert_eq!(client.push(b"{nope").status, 400);
    client.send("POST", PUSH, "", lines[1].as_bytes()).unwrap();
    assert!(client.receive().is_err());
    gate.summary();
    let text = fs::read_to_string(&path).unwrap();
    let found: Vec<Arrived> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let what: Vec<_> = found
        .iter()
        .map(|line| (line.decision, line.status, line.fault.as_deref()))
        .collect();
    assert_eq!(
        what,
        [
            (Some(Decision::Admit), Some(200), None),
            (None, Some(500), Some("5xx")),
            (None, Some(400), None),
            (Some(Decision::Admit), None, Some("no-answer")),
        ]
    );
    assert!(found.is_sorted_by_key(|line| line.at));
    let sent: Value = serde_json::from_str(&lines[1]).unwrap();
    assert_eq!(
        (&sent["event_id"], &sent["ts_utc"]),
        (&json!(found[1].event_id), &json!(found[1].ts_utc))
    );
    assert_eq!(found[2].event_id, "");
}

#[test]
fn knows_its_routes() {
    let gate = started(|config| config.max_body = 4096);
    let mut client = Client::new(&gate);
    for (method, path, status) in [
        ("GET", "/healthz", 200),
        ("GET", "/metrics", 200),
        ("GET", "/v1/ops/summary", 200),
        ("GET", "/v1/dev/faults", 200),
        ("GET", PUSH, 405),
        ("PUT", PUSH, 405),
        ("POST", "/healthz", 405),
        ("POST", "/metrics", 405),
        ("DELETE", "/v1/dev/faults", 405),
        ("POST", "/", 404),
        ("POST", "/v1/ingest/push/", 404),
        ("GET", "/v1/ingest", 404),
    ] {
        let answer = client.request(method, path, "", b"");
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.headers.contains_key("allow"), status == 405);
    }
    let long = [b' '; 4097];
    assert_eq!(client.push(&long[..4096]).status, 400);
    let answer = client.push(&long);
    assert_eq!(
        (answer.status, &*answer.headers["connection"]),
        (413, "close")
    );
    // Without a length said in advance.
    let mut client = Client::new(&gate);
    let head = format!("POST {PUSH} HTTP/1.1\r\nhost: gate\r\ntransfer-encoding: chunked\r\n\r\n");
    client.0.get_mut().write_all(head.as_bytes()).unwrap();
    for _ in 0..2 {
        client.0.get_mut().write_all(b"a00\r\n").unwrap();
        client.0.get_mut().write_all(&[b' '; 0xa00]).unwrap();
        client.0.get_mut().write_all(b"\r\n").unwrap();
    }
    assert_eq!(client.receive().unwrap().status, 413);
}

#[test]
fn closes_after_each_answer_if_told_to() {
    let gate = started(|config| config.close = true);
    let mut client = Client::new(&gate);
    let answer = client.push(traffic()[0].as_bytes());
    assert_eq!(
        (answer.status, &*answer.headers["connection"]),
        (200, "close")
    );
    assert_eq!(client.0.read(&mut [0]).unwrap(), 0);
    let gate = started(|_| {});
    let mut client = Client::new(&gate);
    assert_eq!(client.decision(traffic()[0].as_bytes()), "ADMIT");
    assert_eq!(client.decision(traffic()[0].as_bytes()), "DUPLICATE");
    assert_eq!(gate.stop().connections, 1);
}

#[test]
fn answers_faults_with_their_status() {
    let gate = with_faults(&[
        "429:retry-after=1500ms,events=0..1",
        "429:events=1..2",
        "5xx:events=2..3",
        "5xx=500:events=3..4",
    ]);
    let mut client = Client::new(&gate);
    let line = traffic()[0].clone();
    let answer = client.push(line.as_bytes());
    assert_eq!((answer.status, &*answer.headers["retry-after"]), (429, "2"));
    assert_eq!(
        answer.json(),
        json!({"detail": null, "error": "RATE_LIMITED"})
    );
    let answer = client.push(line.as_bytes());
    assert_eq!(
        (answer.status, answer.headers.get("retry-after")),
        (429, None)
    );
    assert_eq!(client.push(line.as_bytes()).status, 503);
    let answer = client.push(line.as_bytes());
    assert_eq!(
        (answer.status, answer.json()),
        (500, json!({"error": "INTERNAL_ERROR"}))
    );
    assert_eq!(client.decision(line.as_bytes()), "ADMIT");
    let summary = gate.stop();
    assert_eq!(
        summary.faults,
        BTreeMap::from([("429".into(), 2), ("5xx".into(), 2)])
    );
    assert_eq!((summary.pushes, summary.in_flight), (5, 0));
}

#[test]
fn answers_late() {
    let gate = with_faults(&["latency=60ms:events=0..1", "latency=40ms"]);
    let mut client = Client::new(&gate);
    for least in [100, 40] {
        let begun = Instant::now();
        client.decision(traffic()[0].as_bytes());
        assert!(begun.elapsed() >= Duration::from_millis(least));
    }
    assert_eq!(gate.stop().faults["latency"], 3);
}

#[test]
fn stalls_without_taking() {
    let gate = with_faults(&["stall:events=0..1"]);
    let mut client = Client::new(&gate);
    let line = traffic()[0].clone();
    client.send("POST", PUSH, "", line.as_bytes()).unwrap();
    client
        .0
        .get_mut()
        .set_read_timeout(Some(Duration::from_millis(150)))
        .unwrap();
    let error = client.0.read(&mut [0]).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{error}"
    );
    assert_eq!(gate.summary().in_flight, 1);
    assert_eq!(Client::new(&gate).decision(line.as_bytes()), "ADMIT");
    drop(client);
    eventually("the stalled push is given up", || {
        gate.summary().in_flight == 0
    });
}

#[test]
fn breaks_connections_before_and_within_the_answer() {
    let gate = with_faults(&[
        "reset:events=0..1",
        "reset-middle:events=1..2",
        "no-answer:events=2..3",
    ]);
    let lines = traffic();
    let broken = |line: &str| {
        let mut client = Client::new(&gate);
        client.send("POST", PUSH, "", line.as_bytes()).unwrap();
        let mut got = Vec::new();
        let end = client.0.read_to_end(&mut got).map_err(|error| error.kind());
        (String::from_utf8(got).unwrap(), end.map(drop))
    };
    let reset = Err(ErrorKind::ConnectionReset);
    assert_eq!(broken(&lines[0]), (String::new(), reset));
    let (got, end) = broken(&lines[1]);
    assert_eq!(end, reset);
    let (head, body) = got.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"));
    let length: usize = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .unwrap()
        .parse()
        .unwrap();
    assert!(
        (1..length).contains(&body.len()),
        "{} of {length}",
        body.len()
    );
    assert_eq!(broken(&lines[2]), (String::new(), Ok(())));
    // What was taken, and what was not.
    let mut client = Client::new(&gate);
    let found = [0, 1, 2].map(|index| client.decision(lines[index].as_bytes()));
    assert_eq!(found, ["ADMIT", "DUPLICATE", "DUPLICATE"]);
}

#[test]
fn refuses_connections_and_takes_them_again() {
    let gate = with_faults(&["refuse:events=1..2"]);
    let line = traffic()[0].clone();
    let mut first = Client::new(&gate);
    assert_eq!(first.decision(line.as_bytes()), "ADMIT");
    // Accepted by the kernel, reset by the gate: which call sees it is a matter of chance.
    let second = Client::connect(&gate).and_then(|mut client| {
        client.send("POST", PUSH, "", line.as_bytes())?;
        client.receive()
    });
    assert!(second.is_err());
    assert_eq!(first.decision(line.as_bytes()), "DUPLICATE");
    gate.set_faults(vec!["refuse".parse().unwrap()]);
    eventually("connections are refused", || {
        Client::connect(&gate).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    });
    let error = first.0.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    gate.set_faults(Vec::new());
    eventually("it listens again", || Client::connect(&gate).is_ok());
    assert_eq!(Client::new(&gate).decision(line.as_bytes()), "DUPLICATE");
    // By time it ends by itself.
    gate.set_faults(vec!["refuse:for=100ms".parse().unwrap()]);
    eventually("connections are refused", || {
        Client::connect(&gate).is_err()
    });
    eventually("it listens again", || Client::connect(&gate).is_ok());
}

#[test]
fn takes_other_faults_while_it_runs() {
    let gate = started(|_| {});
    let mut client = Client::new(&gate);
    let line = traffic()[0].clone();
    let given = br#"["429:events=0..1", "latency=1ms:for=1h"]"#;
    let answer = client.request("POST", "/v1/dev/faults", "", given);
    assert_eq!(
        answer.json(),
        json!(["429:events=0..1", "latency=1ms:for=1h"])
    );
    assert_eq!(client.push(line.as_bytes()).status, 429);
    assert_eq!(client.push(line.as_bytes()).status, 200);
    for (bad, words) in [
        (&br#"["slow"]"#[..], "no fault \"slow\""),
        (br#"{"a":1}"#, "expected a sequence"),
        (br#"["refuse"]"#, "never let anybody in again"),
        (b"", "EOF"),
    ] {
        let answer = client.request("POST", "/v1/dev/faults", "", bad);
        assert_eq!(answer.status, 400);
        let detail = answer.json()["detail"].as_str().unwrap().to_string();
        assert!(detail.contains(words), "{detail}");
    }
    // What was refused changed nothing.
    let answer = client.request("GET", "/v1/dev/faults", "", b"");
    assert_eq!(answer.json().as_array().unwrap().len(), 2);
    assert_eq!(
        client.request("POST", "/v1/dev/faults", "", b"[]").status,
        200
    );
    assert_eq!(client.push(line.as_bytes()).status, 200);
}

#[test]
fn the_same_seed_strikes_the_same_pushes() {
    let statuses = |seed| {
        let gate = started(|config| {
            config.seed = seed;
            config.faults = vec!["5xx:p=0.3".parse().unwrap()];
        });
        let mut client = Client::new(&gate);
        traffic()
            .iter()
            .map(|line| client.push(line.as_bytes()).status)
            .collect::<Vec<_>>()
    };
    let first = statuses(3);
    assert!(first.contains(&200) && first.contains(&503));
    assert_eq!(first, statuses(3));
    assert_ne!(first, statuses(4));
}

#[test]
fn shows_the_same_counts_as_metrics_and_as_summary() {
    let gate = with_faults(&["5xx:events=2..3"]);
    let mut client = Client::new(&gate);
    let line = traffic()[0].clone();
    for _ in 0..4 {
        client.push(line.as_bytes());
    }
    let text = String::from_utf8(client.request("GET", "/metrics", "", b"").body).unwrap();
    let mut samples = BTreeMap::new();
    let mut families = Vec::new();
    let sample = regex::Regex::new(
        r#"^([a-z_]+(?:\{[a-z]+="[^"]*"(?:,[a-z]+="[^"]*")*\})?) (-?[0-9.e+-]+)$"#,
    )
    .unwrap();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            families.push(rest.split(' ').next().unwrap().to_string());
        } else if !line.starts_with('#') {
            let found = sample
                .captures(line)
                .unwrap_or_else(|| panic!("no sample: {line}"));
            let family = families.last().unwrap();
            assert!(
                found[1].starts_with(family.as_str()),
                "{line} below {family}"
            );
            assert!(
                samples
                    .insert(found[1].to_string(), found[2].to_string())
                    .is_none(),
                "{line}"
            );
        }
    }
    assert!(text.ends_with("# EOF\n"));
    let value = |name: &str| {
        samples[&format!("worldstream_dev_gate_{name}")]
            .parse::<f64>()
            .unwrap()
    };
    let output = "output=\"s3_event_stream_with_fraud_6B\"";
    assert_eq!(
        value(&format!("decisions_total{{{output},decision=\"admit\"}}")),
        1.0
    );
    assert_eq!(
        value(&format!(
            "decisions_total{{{output},decision=\"duplicate\"}}"
        )),
        2.0
    );
    assert_eq!(
        value("decisions_total{output=\"other\",decision=\"quarantine\"}"),
        0.0
    );
    assert_eq!(value("requests_total{code=\"200\"}"), 3.0);
    assert_eq!(value("requests_total{code=\"503\"}"), 1.0);
    assert_eq!(value("faults_injected_total{kind=\"5xx\"}"), 1.0);
    assert_eq!(value("pushes_total"), 4.0);
    assert_eq!(value("pushes_in_flight"), 0.0);
    assert_eq!(value("decision_duration_seconds_count"), 3.0);
    let answer = client.request("GET", "/v1/ops/summary", "", b"");
    let summary: Summary = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(
        (summary.admitted, summary.duplicates, summary.pushes),
        (1, 2, 4)
    );
    assert_eq!(summary.answers["200"], 4);
    assert!(summary.first_arrival_utc.unwrap() <= summary.last_arrival_utc.unwrap());
    assert_eq!(gate.stop().answers["200"], 5);
}

#[test]
fn ends_while_a_request_stalls() {
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("record");
    let gate = started(|config| {
        config.record = Some(record.clone());
        config.faults = vec!["stall:events=1..2".parse().unwrap()];
    });
    let lines = traffic();
    let mut client = Client::new(&gate);
    assert_eq!(client.decision(lines[0].as_bytes()), "ADMIT");
    client.send("POST", PUSH, "", lines[1].as_bytes()).unwrap();
    eventually("the push stalls", || gate.summary().in_flight == 1);
    let addr = gate.addr();
    assert_eq!(gate.stop().admitted, 1);
    assert!(TcpStream::connect(addr).is_err());
    assert_eq!(
        fs::read_to_string(&record).unwrap(),
        format!("{}\n", lines[0])
    );
}
