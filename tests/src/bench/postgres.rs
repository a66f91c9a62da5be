//! Many workers that save to one Postgres: each with its own connection and lease, as processes
//! of their own have them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use worldstream::checkpoint::conformance::{checkpoint, key};
use worldstream::checkpoint::{CheckpointKey, CheckpointStore, Holder, PostgresStore};
use worldstream::plan::{PostgresPlan, SecretSource};

use super::{Goal, Measurement, Options, say};
use crate::PostgresServer;

const RATE: &str = "postgres_saves_per_second";
const P99: &str = "postgres_save_p99";
const PACED: &str = "postgres_save_p99_one_a_second";
const CONNECTIONS: &str = "postgres_connections";
/// Workers, each with a connection.
const WORKERS: usize = 300;

/// As fast as they can, and once a second each as streams do.
pub fn measure(options: &Options, show: &mut dyn FnMut(Measurement)) -> Result<(), String> {
    if !options.wants_any(&[RATE, P99, PACED, CONNECTIONS]) {
        return Ok(());
    }
    let time = Duration::from_secs(if options.quick { 10 } else { 60 });
    // Commits wait for the disk, as they do where it counts.
    let server = PostgresServer::start(&[("fsync", "on")]);
    let dsn = server.private_file("dsn", &server.dsn());
    let plan = PostgresPlan {
        dsn: SecretSource::File(dsn),
        ca_file: None,
        lease_term: Duration::from_secs(15),
        timeout: Duration::from_secs(30),
    };
    let fast = run(&server, &plan, "fast", time, Duration::ZERO)?;
    let paced = run(&server, &plan, "paced", time, Duration::from_secs(1))?;
    let seconds = time.as_secs();
    let note = |ran: &Ran, how: &str| {
        format!(
            "{} saves by {WORKERS} workers with a connection each, {how}, for {seconds} s, \
             server with fsync on the same machine; p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms, \
             {} connections",
            ran.times.len(),
            ran.at(0.5),
            ran.at(0.99),
            ran.at(1.0),
            ran.connections,
        )
    };
    let unpaced = note(&fast, "each as soon as the one before is committed");
    let rate = fast.times.len() as f64 / time.as_secs_f64();
    show(Measurement::alone(
        RATE,
        "saves/s",
        rate,
        Goal::None,
        unpaced.clone(),
    ));
    show(Measurement::alone(
        P99,
        "ms",
        fast.at(0.99),
        Goal::None,
        unpaced,
    ));
    show(Measurement::alone(
        PACED,
        "ms",
        paced.at(0.99),
        Goal::None,
        note(&paced, "one a second"),
    ));
    show(Measurement::alone(
        CONNECTIONS,
        "connections",
        fast.connections as f64,
        Goal::AtMost(WORKERS as f64),
        format!("of {WORKERS} workers, as the server counts them"),
    ));
    Ok(())
}

/// What was seen.
struct Ran {
    /// Milliseconds of each save, sorted.
    times: Vec<f64>,
    connections: usize,
}

impl Ran {
    fn at(&self, quantile: f64) -> f64 {
        let last = self.times.len().saturating_sub(1);
        let index = (last as f64 * quantile) as usize;
        self.times.get(index).copied().unwrap_or(f64::NAN)
    }
}

fn run(
    server: &PostgresServer,
    plan: &PostgresPlan,
    name: &str,
    time: Duration,
    every: Duration,
) -> Result<Ran, String> {
    say(&format!("{WORKERS} workers saving to Postgres, {name}"));
    let ready = Arc::new(AtomicUsize::new(0));
    let go = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..WORKERS)
        .map(|worker| {
            let store = PostgresStore::new(
                plan.clone(),
                Holder {
                    name: format!("worker {worker}"),
                    job: None,
                },
            );
            let key = key(&format!("{name}-{worker}"));
            let (ready, go) = (ready.clone(), go.clone());
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .map_err(|error| error.to_string())?;
                runtime.block_on(worker_saves(store, key, &ready, &go, time, every))
            })
        })
        .collect();
    while ready.load(Ordering::SeqCst) < WORKERS && !workers.iter().any(|it| it.is_finished()) {
        std::thread::sleep(Duration::from_millis(10));
    }
    go.store(true, Ordering::SeqCst);
    std::thread::sleep(time / 2);
    let count = server.query(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'worldstream';",
        &[],
    );
    let mut times = Vec::new();
    for worker in workers {
        times.extend(worker.join().map_err(|_| "a worker broke")??);
    }
    times.sort_by(f64::total_cmp);
    Ok(Ran {
        times,
        connections: count[0].parse().map_err(|error| format!("{error}"))?,
    })
}

async fn worker_saves(
    store: PostgresStore,
    key: CheckpointKey,
    ready: &AtomicUsize,
    go: &AtomicBool,
    time: Duration,
    every: Duration,
) -> Result<Vec<f64>, String> {
    let failed = |failure: worldstream::Failure| failure.to_string();
    let mut lease = store.take(&key).await.map_err(failed)?;
    ready.fetch_add(1, Ordering::SeqCst);
    while !go.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (began, mut times) = (Instant::now(), Vec::new());
    if !every.is_zero() {
        // Streams do not beat together.
        let spread = u32::try_from(ready.fetch_add(1, Ordering::SeqCst) % WORKERS).unwrap_or(0);
        tokio::time::sleep(every * spread / WORKERS as u32).await;
    }
    while began.elapsed() < time {
        let next = checkpoint(0, times.len() as u64);
        let at = Instant::now();
        lease.save(&next).await.map_err(failed)?;
        times.push(at.elapsed().as_secs_f64() * 1e3);
        tokio::time::sleep(every.saturating_sub(at.elapsed())).await;
    }
    lease.release().await;
    Ok(times)
}
