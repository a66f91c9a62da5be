//! What the operator says about itself: `/metrics`, `/healthz` and `/readyz`. No label has a value
//! that grows with the cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

type Labels = Vec<(&'static str, String)>;

/// The figures; cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    reconciles: Family<Labels, Counter>,
    errors: Family<Labels, Counter>,
    requests: Family<Labels, Counter>,
    durations: Histogram,
    phases: Family<Labels, Gauge>,
    queue: Gauge<i64, AtomicI64>,
    leader: Gauge<i64, AtomicI64>,
    ready: AtomicBool,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("worldstream_operator");
        let reconciles = Family::<Labels, Counter>::default();
        let errors = Family::<Labels, Counter>::default();
        let requests = Family::<Labels, Counter>::default();
        let phases = Family::<Labels, Gauge>::default();
        let (queue, leader) = (Gauge::default(), Gauge::default());
        let buckets = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];
        let durations = Histogram::new(buckets);
        registry.register(
            "reconciles",
            "Looks at a WorldStream, by result",
            reconciles.clone(),
        );
        registry.register(
            "reconcile_errors",
            "Looks that failed, by kind of error",
            errors.clone(),
        );
        registry.register(
            "requests",
            "Requests to the API server, by verb and resource",
            requests.clone(),
        );
        registry.register(
            "reconcile_duration_seconds",
            "How long a look takes",
            durations.clone(),
        );
        registry.register("streams", "WorldStreams by phase", phases.clone());
        registry.register(
            "workqueue_depth",
            "WorldStreams that wait to be looked at",
            queue.clone(),
        );
        registry.register("leader", "1 where this process leads", leader.clone());
        Metrics(Arc::new(Inner {
            registry,
            reconciles,
            errors,
            requests,
            durations,
            phases,
            queue,
            leader,
            ready: AtomicBool::new(false),
        }))
    }
}

impl Metrics {
    /// A look at a stream ended; with an error, of which kind.
    pub fn reconciled(&self, took: Duration, error: Option<&'static str>) {
        let result = if error.is_some() { "error" } else { "ok" };
        let labels = vec![("result", result.to_owned())];
        self.0.reconciles.get_or_create(&labels).inc();
        self.0.durations.observe(took.as_secs_f64());
        if let Some(kind) = error {
            let labels = vec![("kind", kind.to_owned())];
            self.0.errors.get_or_create(&labels).inc();
        }
    }

    /// A request goes to the API server.
    pub fn request(&self, verb: &str, resource: &str) {
        let labels = vec![("verb", verb.to_owned()), ("resource", resource.to_owned())];
        self.0.requests.get_or_create(&labels).inc();
    }

    /// How many streams are in each phase.
    pub fn phases(&self, counts: impl Iterator<Item = (String, i64)>) {
        for (phase, count) in counts {
            self.0
                .phases
                .get_or_create(&vec![("phase", phase)])
                .set(count);
        }
    }

    /// How many streams wait.
    pub fn queue(&self, depth: usize) {
        self.0.queue.set(i64::try_from(depth).unwrap_or(i64::MAX));
    }

    /// Whether this process leads.
    pub fn leads(&self, leads: bool) {
        self.0.leader.set(leads.into());
    }

    /// Whether the process does what it is there for.
    pub fn ready(&self, ready: bool) {
        self.0.ready.store(ready, Ordering::Relaxed);
    }

    fn text(&self) -> String {
        let mut text = String::new();
        match encode(&mut text, &self.0.registry) {
            Ok(()) => text,
            Err(_) => String::new(),
        }
    }
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, metrics: Metrics) {
    loop {
        let connection = match listener.accept().await {
            Ok((connection, _)) => connection,
            Err(error) => {
                tracing::warn!(%error, "metrics: a connection could not be taken");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let metrics = metrics.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let answer = answer(&metrics, &request);
                async { Ok::<_, std::convert::Infallible>(answer) }
            });
            let serving = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(connection), service);
            // A client that goes away is its own business.
            let _ = tokio::time::timeout(Duration::from_secs(30), serving).await;
        });
    }
}

fn answer(metrics: &Metrics, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (code, text) = match request.uri().path() {
        "/metrics" => (StatusCode::OK, metrics.text()),
        "/healthz" => (StatusCode::OK, "ok\n".to_owned()),
        "/readyz" if metrics.0.ready.load(Ordering::Relaxed) => (StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "not found\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = code;
    if request.uri().path() == "/metrics" {
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        let kind = hyper::header::HeaderValue::from_static(kind);
        response
            .headers_mut()
            .insert(hyper::header::CONTENT_TYPE, kind);
    }
    response
}
