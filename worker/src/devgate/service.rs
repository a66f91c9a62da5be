//! What the gate does with one request: routes, and a push from its arrival to its answer.

use std::convert::Infallible;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::{Request, Response};
use tokio::sync::watch;

use super::GateConfig;
use super::answer::{Receipts, Reply};
use super::auth::Auth;
use super::books::{Arrival, Arrived, BookFiles, Books};
use super::check::{Checker, ENVELOPE_SCHEMA, Event, Push, Refusal};
use super::counts::{Counts, Summary};
use super::faults::{FaultKind, FaultSet, FaultSpec};
use super::wire::Breaker;
use crate::failure::Result;
use crate::gate::Decision;

/// What all connections share.
#[derive(Debug)]
pub struct Shared {
    checker: Checker,
    receipts: Receipts,
    auth: Auth,
    rate: Option<Mutex<Rate>>,
    books: Mutex<Books>,
    faults: Mutex<FaultSet>,
    /// Bumped when the faults are replaced, so that the listener looks at them again.
    faults_set: watch::Sender<()>,
    /// The counters.
    pub counts: Counts,
    seed: u64,
    max_body: usize,
    close: bool,
}

/// Pushes within the running minute, which begins with its first push.
#[derive(Debug)]
struct Rate {
    limit: u64,
    begun: Option<Instant>,
    count: u64,
}

impl Rate {
    fn allows(&mut self, now: Instant) -> bool {
        let running = self
            .begun
            .is_some_and(|begun| now.saturating_duration_since(begun) < Duration::from_secs(60));
        if !running {
            self.begun = Some(now);
            self.count = 0;
        }
        self.count += 1;
        self.count <= self.limit
    }
}

/// A lock that outlives a panic elsewhere: what it guards is whole between two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Opens everything that the configuration names.
    ///
    /// Errors: a file cannot be read or written.
    pub fn new(config: &GateConfig) -> Result<Self> {
        let checker = Checker::new()?;
        let files = BookFiles {
            record: config.record.clone(),
            journal: config.record_all.clone(),
            fresh: config.fresh,
        };
        let rate = config.rate_limit.map(|limit| {
            Mutex::new(Rate {
                limit,
                begun: None,
                count: 0,
            })
        });
        Ok(Shared {
            receipts: Receipts::new(ENVELOPE_SCHEMA),
            auth: Auth::new(config.api_keys.as_deref(), config.token_secret.as_deref())?,
            rate,
            books: Mutex::new(Books::open(&files, &checker)?),
            faults: Mutex::new(FaultSet::new(
                config.faults.clone(),
                config.seed,
                Instant::now(),
            )),
            faults_set: watch::Sender::new(()),
            counts: Counts::new(),
            seed: config.seed,
            max_body: config.max_body,
            close: config.close,
            checker,
        })
    }

    /// Replaces the faults; their spans count from now.
    pub fn set_faults(&self, specs: Vec<FaultSpec>) {
        *lock(&self.faults) = FaultSet::new(specs, self.seed, Instant::now());
        self.faults_set.send_replace(());
    }

    /// Tells when the faults are replaced.
    pub fn faults_changes(&self) -> watch::Receiver<()> {
        self.faults_set.subscribe()
    }

    /// The faults in force.
    pub fn faults(&self) -> MutexGuard<'_, FaultSet> {
        lock(&self.faults)
    }

    /// What was seen so far; the journal is flushed first.
    pub fn summary(&self) -> Summary {
        self.flush();
        self.counts.summary(lock(&self.books).known())
    }

    /// Hands the journal to the operating system.
    pub fn flush(&self) {
        if let Err(error) = lock(&self.books).flush() {
            tracing::error!("the journal of arrivals cannot be written: {error}");
        }
    }

    /// Handles one request.
    pub async fn handle(
        self: Arc<Self>,
        breaker: Arc<Breaker>,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let reply = match (request.uri().path(), request.method()) {
            ("/v1/ingest/push", &Method::POST) => self.push(&breaker, request).await,
            ("/v1/ingest/push", _) => Reply::method_not_allowed("POST"),
            ("/v1/dev/faults", &Method::POST) => self.post_faults(request).await,
            ("/v1/dev/faults", &Method::GET) => json_of(&self.faults().specs()),
            ("/v1/dev/faults", _) => Reply::method_not_allowed("GET, POST"),
            ("/v1/dev/record", &Method::GET) => self.record(request.uri().query()),
            ("/v1/dev/record", _) => Reply::method_not_allowed("GET"),
            ("/healthz", &Method::GET) => Reply::json(200, &br#"{"status":"ok"}"#[..]),
            ("/metrics", &Method::GET) => Reply::metrics(self.counts.text()),
            ("/v1/ops/summary", &Method::GET) => json_of(&self.summary()),
            ("/healthz" | "/metrics" | "/v1/ops/summary", _) => Reply::method_not_allowed("GET"),
            _ => Reply::not_found(),
        };
        self.counts.answered(reply.status);
        Ok(self.respond(reply))
    }

    fn respond(&self, reply: Reply) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(reply.body));
        // Every status that is set here lies between 200 and 599.
        *response.status_mut() =
            StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(reply.content_type),
        );
        if let Some(seconds) = reply.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = reply.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if self.close || reply.status == 413 {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// What was admitted, from the byte that `from=` names on.
    fn record(&self, query: Option<&str>) -> Reply {
        let from = query.map_or(Ok(0), |query| {
            query.strip_prefix("from=").unwrap_or("?").parse()
        });
        let Ok(from) = from else {
            let body = r#"{"error":"BAD_QUERY","detail":"expected from=BYTES"}"#;
            return Reply::json(400, body);
        };
        match lock(&self.books).page(from) {
            Ok(Some(page)) => Reply::lines(page),
            Ok(None) => Reply::not_found(),
            Err(error) => {
                tracing::error!("what was admitted cannot be read: {error}");
                Reply::internal_error()
            }
        }
    }

    async fn post_faults(&self, request: Request<Incoming>) -> Reply {
        let body = match self.body(request.into_body()).await {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        let specs: Vec<FaultSpec> = match serde_json::from_slice(&body) {
            Ok(specs) => specs,
            Err(error) => return bad_faults(&error.to_string()),
        };
        if let Some(spec) = specs.iter().find(|spec| spec.locks_out()) {
            let detail =
                format!("{spec} would never let anybody in again: give it an end, for=TIME");
            return bad_faults(&detail);
        }
        self.set_faults(specs);
        json_of(&self.faults().specs())
    }

    async fn push(&self, breaker: &Breaker, request: Request<Incoming>) -> Reply {
        let arrival = Arrival::now();
        let _in_flight = self.counts.arrived(arrival.wall_micros);
        let struck = self.faults().on_push(Instant::now());
        self.counts.fault("latency", struck.latencies);
        if let Some(fault) = struck.fault {
            self.counts.fault(fault.name(), 1);
        }
        let (head, body) = request.into_parts();
        let body = match self.body(body).await {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        let reply = match struck.fault {
            Some(FaultKind::TooMany { retry_after }) => Reply::rate_limited(retry_after),
            Some(FaultKind::Error { status }) => Reply::failing(status),
            Some(FaultKind::Stall) => {
                self.note_untaken(arrival, struck.fault, None, &body);
                return pending().await;
            }
            Some(FaultKind::Reset) => Reply::failing(503),
            _ => self.answer(&head.headers, &body, arrival, struck.fault),
        };
        match struck.fault {
            Some(FaultKind::Reset) => self.note_untaken(arrival, struck.fault, None, &body),
            Some(FaultKind::TooMany { .. } | FaultKind::Error { .. }) => {
                self.note_untaken(arrival, struck.fault, Some(reply.status), &body);
            }
            _ => {}
        }
        if !struck.latency.is_zero() {
            tokio::time::sleep(struck.latency).await;
        }
        match struck.fault {
            Some(FaultKind::Reset) => breaker.break_after(0, true),
            Some(FaultKind::NoAnswer) => breaker.break_after(0, false),
            // Half a body and a head's length are whole headers and less than the whole body.
            Some(FaultKind::ResetMiddle) => breaker.break_after(reply.body.len() / 2 + 64, true),
            _ => {}
        }
        reply
    }

    /// The whole body, or what is answered if it is too long or breaks off.
    async fn body(&self, body: Incoming) -> Result<Bytes, Reply> {
        if body.size_hint().lower() > self.max_body as u64 {
            return Err(Reply::too_large());
        }
        match Limited::new(body, self.max_body).collect().await {
            Ok(whole) => Ok(whole.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(Reply::too_large()),
            // The client is gone; whatever is answered reaches nobody.
            Err(_) => Err(Reply::bad_request()),
        }
    }

    /// Judges a push and remembers it.
    fn answer(
        &self,
        headers: &HeaderMap,
        body: &Bytes,
        arrival: Arrival,
        fault: Option<FaultKind>,
    ) -> Reply {
        let Some(actor) = self.auth.actor(headers) else {
            self.note_untaken(arrival, fault, Some(401), body);
            return Reply::unauthorized();
        };
        if let Some(rate) = &self.rate
            && !lock(rate).allows(Instant::now())
        {
            self.note_untaken(arrival, fault, Some(429), body);
            return Reply::rate_limited(None);
        }
        let event = match self.checker.examine(body) {
            Push::Event(event) => event,
            Push::Unreadable => {
                self.note_untaken(arrival, fault, Some(400), body);
                return Reply::bad_request();
            }
            Push::Crash => {
                self.note_untaken(arrival, fault, Some(500), body);
                return Reply::internal_error();
            }
        };
        match self.decide(&event, body, arrival, fault) {
            Ok((decision, refusal)) => {
                let seconds = arrival.seconds_ago();
                self.counts
                    .decision(event.output, decision, refusal, seconds);
                self.receipts
                    .answer(&event, &actor, arrival, decision, refusal)
            }
            Err(error) => {
                tracing::error!("what was admitted cannot be recorded: {error}");
                Reply::failing(503)
            }
        }
    }

    /// Decides under one lock, so that the files have the order of decisions.
    fn decide(
        &self,
        event: &Event,
        body: &Bytes,
        arrival: Arrival,
        fault: Option<FaultKind>,
    ) -> std::io::Result<(Decision, Option<Refusal>)> {
        let mut books = lock(&self.books);
        let (decision, refusal) = match &event.verdict {
            Err(refusal) => (Decision::Quarantine, Some(*refusal)),
            Ok(hash) => match books.decide(event, hash, body)? {
                Decision::Quarantine => (Decision::Quarantine, Some(Refusal::PayloadHashMismatch)),
                other => (other, None),
            },
        };
        if books.has_journal() {
            let status = match fault {
                Some(FaultKind::NoAnswer | FaultKind::ResetMiddle) => None,
                _ => Some(200),
            };
            books.arrived(&line(arrival, fault, Some(decision), status, Some(event)))?;
        }
        Ok((decision, refusal))
    }

    /// Writes down a push that was not taken.
    fn note_untaken(
        &self,
        arrival: Arrival,
        fault: Option<FaultKind>,
        status: Option<u16>,
        body: &Bytes,
    ) {
        let mut books = lock(&self.books);
        if !books.has_journal() {
            return;
        }
        let event = match self.checker.examine(body) {
            Push::Event(event) => Some(event),
            Push::Unreadable | Push::Crash => None,
        };
        if let Err(error) = books.arrived(&line(arrival, fault, None, status, event.as_ref())) {
            tracing::error!("the journal of arrivals cannot be written: {error}");
        }
    }
}

fn line(
    arrival: Arrival,
    fault: Option<FaultKind>,
    decision: Option<Decision>,
    status: Option<u16>,
    event: Option<&Event>,
) -> Arrived {
    let ts_utc = event
        .and_then(|event| event.fields.get("ts_utc")?.as_str())
        .unwrap_or_default();
    Arrived {
        at: arrival.monotonic_ns,
        wall_utc: crate::time::EventTime::from_micros(arrival.wall_micros),
        decision,
        status,
        fault: fault.map(|fault| fault.name().into()),
        event_id: event.map_or_else(String::new, |event| event.event_id.clone()),
        event_type: event.map_or_else(String::new, |event| event.event_type.clone()),
        ts_utc: ts_utc.into(),
    }
}

fn json_of(value: &impl serde::Serialize) -> Reply {
    match serde_json::to_vec(value) {
        Ok(body) => Reply::json(200, body),
        // Only maps with keys that are no text fail, and there is none.
        Err(_) => Reply::internal_error(),
    }
}

fn bad_faults(detail: &str) -> Reply {
    let body = serde_json::json!({"error": "BAD_FAULTS", "detail": detail});
    Reply::json(400, body.to_string())
}
