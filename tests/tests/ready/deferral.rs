//! What must be up before a stream begins: a message whose downstream is not ready waits, is tried
//! again with a bounded interval, and holds up none behind it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;
use worldstream_tests::PLATFORM_RUN_ID;
use worldstream_tests::inside::until;

use super::bed::{Bed, CAPPED, LONG, Message, said};

/// Answers each request with a status and a body that may be changed.
struct Answers {
    url: String,
    answer: Arc<Mutex<(u16, String)>>,
    asked: Arc<AtomicUsize>,
}

impl Answers {
    fn start(status: u16, body: &str) -> Answers {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/state", listener.local_addr().unwrap());
        let answer = Arc::new(Mutex::new((status, body.to_owned())));
        let asked = Arc::new(AtomicUsize::new(0));
        let (given, count) = (answer.clone(), asked.clone());
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let mut key = false;
                while let Some(Ok(line)) = lines.next() {
                    key |= line.eq_ignore_ascii_case("x-key: sesame");
                    if line.is_empty() {
                        break;
                    }
                }
                count.fetch_add(1, Ordering::SeqCst);
                let (status, body) = match key {
                    true => given.lock().unwrap().clone(),
                    false => (401, String::new()),
                };
                let length = body.len();
                let head = format!("HTTP/1.1 {status} x\r\nconnection: close\r\n");
                let _ = write!(stream, "{head}content-length: {length}\r\n\r\n{body}");
            }
        });
        Answers { url, answer, asked }
    }

    fn set(&self, status: u16, body: &str) {
        *self.answer.lock().unwrap() = (status, body.to_owned());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn active(run: &str) -> String {
    json!({"gate": {"active": run}}).to_string()
}

/// Publishes a message of another run, which concludes without any downstream.
fn other_run(bed: &Bed, n: u64) -> Message {
    let mut other = Message::new(n);
    let run = json!("platform_20260202T000000Z");
    other.message["payload"]["platform_run_id"] = run.clone();
    other.facts["platform_run_id"] = run;
    bed.announce(&other);
    other
}

#[test]
fn a_message_waits_for_what_must_be_up_and_holds_up_none_behind_it() {
    let answers = Answers::start(503, "");
    let mut bed = Bed::capped();
    let state = bed.dir.path().join("state.json");
    let key = bed.dir.path().join("key");
    std::fs::write(&key, "sesame\n").unwrap();
    bed.profile["ready"] = json!({"downstream": [
        {"name": "platform", "file": {"path": state}},
        {"name": "ingestion-gate", "http": {
            "url": answers.url,
            "pointer": "/gate/active",
            "headers": [{"name": "X-Key", "secret": {"file": key}}],
        }},
    ]});
    let message = Message::new(1);
    bed.announce(&message);
    let running = bed.ready(&["--max-messages", "4"]).start();
    let began = std::time::Instant::now();
    let waits = |what: &str| {
        until(what, || running.stderr().contains(what));
    };
    // The file is not there yet: the HTTP gate is not even asked.
    waits("READY is deferred");
    assert_eq!(answers.asked(), 0);
    // Those behind it are done with meanwhile.
    let other = other_run(&bed, 2);
    bed.publish("broken", "{nope");
    bed.publish("again", message.message.to_string());
    until("the one behind it", || !bed.records(&other.id).is_empty());
    assert!(bed.records(&message.id).is_empty());
    assert!(bed.arrivals().is_empty());

    let processes = json!({"ig": {"pid": std::process::id()}, "bus": {"status": "running"}});
    let write = |run: &str| {
        let text = json!({"active_platform_run_id": run, "processes": processes}).to_string();
        std::fs::write(&state, text).unwrap();
    };
    write("platform_20260202T000000Z");
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(answers.asked(), 0, "the file is of another run");
    write(PLATFORM_RUN_ID);
    // Asked again and again: not up, no JSON, of no run, of another run.
    for (status, body) in [
        (503, String::new()),
        (200, "up".into()),
        (200, "{}".into()),
        (302, active(PLATFORM_RUN_ID)),
        (200, active("platform_20260202T000000Z")),
    ] {
        answers.set(status, &body);
        let asked = answers.asked();
        until("more questions", || answers.asked() >= asked + 3);
    }
    assert!(bed.records(&message.id).is_empty(), "nothing is recorded");
    assert!(bed.arrivals().is_empty());
    // Said at most every 20 s.
    let said_so_far = running.stderr().matches("READY is deferred").count() as u64;
    let may = 1 + began.elapsed().as_secs() / 20;
    assert!(said_so_far <= may, "{said_so_far}: {}", running.stderr());

    answers.set(200, &active(PLATFORM_RUN_ID));
    let end = running.finish_within(LONG).expect(0);
    let records = bed.records(&message.id);
    assert_eq!(records.len(), 1, "{end:#?}");
    assert_eq!(records[0]["status"], "STREAMED");
    assert_eq!(bed.arrivals().len() as u64, CAPPED);
    let statuses: Vec<_> = said(&end).iter().map(|it| it["status"].clone()).collect();
    let count = |status: &str| statuses.iter().filter(|it| **it == status).count();
    assert_eq!(count("STREAMED"), 1, "{statuses:?}");
    assert_eq!(count("SKIPPED_DUPLICATE"), 1, "{statuses:?}");
    assert_eq!(count("SKIPPED_OUT_OF_SCOPE"), 1, "{statuses:?}");
    assert_eq!(count("INVALID"), 1, "{statuses:?}");
}

#[test]
fn whichever_run_it_is_up_for_where_that_does_not_matter() {
    let answers = Answers::start(200, "up");
    let mut bed = Bed::capped();
    bed.profile["ready"] = json!({"downstream": [{
        "name": "ingestion-gate",
        "requireActiveRunMatch": false,
        "http": {"url": answers.url, "headers": [{"name": "X-Key", "value": "sesame"}]},
    }]});
    let message = Message::new(1);
    bed.announce(&message);
    bed.once().expect(0);
    assert_eq!(bed.records(&message.id)[0]["status"], "STREAMED");
    assert_eq!(answers.asked(), 1);
}

#[test]
fn once_leaves_what_would_wait() {
    let mut bed = Bed::capped();
    let state = bed.dir.path().join("state.json");
    bed.profile["ready"] = json!({"downstream": [{"name": "p", "file": {"path": state}}]});
    let message = Message::new(1);
    bed.announce(&message);
    let end = bed.once().expect(0);
    let said = said(&end);
    assert_eq!(said[0]["status"], "DEFERRED_DOWNSTREAM_NOT_READY");
    let why = said[0]["detail"].as_str().unwrap();
    assert!(why.contains("state.json"), "{why}");
    assert!(bed.records(&message.id).is_empty());
    assert!(bed.facts().is_empty());
    assert!(bed.session().is_empty());
}
