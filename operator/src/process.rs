//! The process: logs, figures, leadership, and an orderly end.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use kube::{Client, Config};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::api::Server;
use crate::args::{Args, LogFormat};
use crate::context::{Context, Pacer, Watched};
use crate::controller;
use crate::events::Teller;
use crate::leader::Candidate;
use crate::metrics::{self, Metrics};
use crate::queue::Queue;
use crate::runs::Runs;

/// Runs until it is told to stop (exit code 0) or cannot go on (1).
pub async fn run(args: Args) -> ExitCode {
    start_logs(args.log_format);
    match work(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the operator ends");
            ExitCode::FAILURE
        }
    }
}

fn start_logs(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,kube_runtime=warn"));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // Colours are for people: a log that is kept has none.
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => logs.init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
}

async fn work(args: Args) -> Result<(), String> {
    let mut terminated = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    let stop = async {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
    };
    tokio::pin!(stop);
    let mut config = Config::infer()
        .await
        .map_err(|error| format!("no configuration of a cluster: {error}"))?;
    config.connect_timeout = Some(Duration::from_secs(10));
    // Who asks, in the API server's audit log.
    config.headers.push((
        hyper::header::USER_AGENT,
        hyper::header::HeaderValue::from_static(concat!(
            "worldstream-operator/",
            env!("CARGO_PKG_VERSION")
        )),
    ));
    let client =
        Client::try_from(config).map_err(|error| format!("no client for the cluster: {error}"))?;
    let figures = Metrics::default();
    let listener = TcpListener::bind(args.metrics_addr)
        .await
        .map_err(|error| format!("--metrics-addr {}: {error}", args.metrics_addr))?;
    tokio::spawn(metrics::serve(listener, figures.clone()));
    let of_pod = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let identity = args
        .identity
        .or_else(|| of_pod("POD_NAME"))
        .unwrap_or_else(|| format!("worldstream-operator-{}", std::process::id()));
    let lease_namespace = args
        .lease_namespace
        .or_else(|| of_pod("POD_NAMESPACE"))
        .unwrap_or_else(|| "default".to_owned());
    // An owner in another namespace would be none.
    let pod = of_pod("POD_NAME")
        .zip(of_pod("POD_UID"))
        .filter(|_| of_pod("POD_NAMESPACE").as_ref() == Some(&lease_namespace));
    let context = Arc::new(Context {
        watched: Watched::default(),
        server: Server::new(client.clone(), figures.clone()),
        queue: Queue::default(),
        trigger_queue: Queue::default(),
        metrics: figures.clone(),
        teller: Teller::new(client.clone(), &identity),
        image: args.worker_image,
        pacer: Pacer::default(),
        runs: Runs::default(),
    });
    let controllers = controller::run(client.clone(), context, &args.namespaces);
    if args.no_leader_election {
        figures.leads(true);
        return tokio::select! {
            why = controllers => Err(why),
            () = &mut stop => Ok(()),
        };
    }
    let leases = kube::Api::namespaced(client, &lease_namespace);
    let mut candidate = Candidate::new(leases, &args.lease_name, &identity, pod);
    // Who waits for the lease is ready to take over, which is what it is there for.
    figures.ready(true);
    tokio::select! {
        () = candidate.acquire() => {}
        () = &mut stop => return Ok(()),
    }
    tracing::info!(identity, "this process leads");
    figures.leads(true);
    let end = tokio::select! {
        why = candidate.hold() => return Err(format!("the lease is lost: {why}")),
        why = controllers => Err(why),
        () = &mut stop => Ok(()),
    };
    // Nothing is looked at any more, and somebody else may.
    candidate.give_up().await;
    end
}
