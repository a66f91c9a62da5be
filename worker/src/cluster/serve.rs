//! What a worker serves: `/metrics` for Prometheus, `/healthz` for the kubelet.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use worldstream_crds::Reason;

use crate::failure::{Failure, Result};

/// How long a scraper may take to send its request.
const PATIENCE: Duration = Duration::from_secs(10);
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Listens at an address.
///
/// Errors: `STREAM_FAILED` if it is not ours, or in use.
pub async fn listen(addr: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(addr).await.map_err(|error| {
        Failure::new(Reason::StreamFailed, format!("--listen {addr}")).cause(&error)
    })
}

/// Gives the text of a scrape.
pub type Scrape = Arc<dyn Fn() -> String + Send + Sync>;

/// Serves for ever.
pub async fn serve(listener: TcpListener, metrics: Scrape) {
    serve_more(listener, metrics, Arc::new(|| true)).await;
}

/// Serves for ever; `/readyz` says what `ready` does.
pub async fn serve_more(
    listener: TcpListener,
    metrics: Scrape,
    ready: Arc<dyn Fn() -> bool + Send + Sync>,
) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection for metrics cannot be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (metrics, ready) = (metrics.clone(), ready.clone());
        let answering = service_fn(move |request| {
            let answer = answer(&request, metrics.as_ref(), ready.as_ref());
            async move { Ok::<_, Infallible>(answer) }
        });
        tokio::spawn(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(TokioIo::new(stream), answering),
        );
    }
}

fn answer(
    request: &Request<Incoming>,
    metrics: &dyn Fn() -> String,
    ready: &dyn Fn() -> bool,
) -> Response<Full<Bytes>> {
    let (status, kind, text) = match request.uri().path() {
        "/metrics" => (StatusCode::OK, OPEN_METRICS, metrics()),
        // Whoever answers is alive: one that waits for a gate or a clock is as it should be.
        "/healthz" => (StatusCode::OK, "text/plain", "ok\n".to_owned()),
        "/readyz" => match ready() {
            true => (StatusCode::OK, "text/plain", "ok\n".to_owned()),
            false => {
                let unavailable = StatusCode::SERVICE_UNAVAILABLE;
                (unavailable, "text/plain", "not ready\n".to_owned())
            }
        },
        _ => (
            StatusCode::NOT_FOUND,
            "text/plain",
            "no such page\n".to_owned(),
        ),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}
