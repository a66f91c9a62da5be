//! `worldstream dev-gate`: an Ingestion Gate for development, in the foreground.

use std::path::PathBuf;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use worldstream_crds::{ExitCode, Reason};

use crate::devgate::{self, FaultSpec, GRAMMAR, GateConfig, RunningGate, Summary};
use crate::failure::{Failure, Result};

const EXAMPLES: &str = "\
Examples:
  worldstream dev-gate --listen 127.0.0.1:8081 --record admitted.jsonl
  worldstream dev-gate --listen 127.0.0.1:0 --fault 429:p=0.05,retry-after=2s \\
      --fault latency=50ms:from=5s,for=10s
  curl http://127.0.0.1:8081/v1/ops/summary
  curl http://127.0.0.1:8081/v1/dev/faults -d '[\"stall:events=0..10\"]'

Routes: POST /v1/ingest/push, GET /healthz, GET /metrics, GET /v1/ops/summary,
GET and POST /v1/dev/faults (a JSON list of faults; replaces those in force),
GET /v1/dev/record?from=BYTES (whole lines of --record, 8 MiB at most; none at its end).";

/// Run an Ingestion Gate for development: it answers as the real one does, remembers what it
/// admitted, and misbehaves on demand
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES, after_long_help = format!("{GRAMMAR}\n\n{EXAMPLES}"))]
pub struct DevGateArgs {
    /// Where to listen, host:port; port 0 takes a free one. The profile local has its gate at the
    /// default
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8081")]
    pub listen: String,
    /// Append every admitted envelope to this file, a line each, in order of arrival; events of an
    /// existing file are known as duplicates
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Append every arrival to this file, a JSON line each: when, what, and what became of it
    #[arg(long, value_name = "FILE")]
    pub record_all: Option<PathBuf>,
    /// Begin the files of --record and --record-all anew
    #[arg(long)]
    pub fresh: bool,
    /// Let something go wrong (repeatable): latency=TIME, refuse, 429, 5xx[=STATUS], stall, reset,
    /// reset-middle or no-answer, with options such as :p=0.1 or :from=5s,for=10s (--help has all)
    #[arg(long = "fault", value_name = "SPEC")]
    pub faults: Vec<FaultSpec>,
    /// The seed that faults are drawn with
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Let in by X-IG-Api-Key: a file of keys, one a line, read again when it changes
    #[arg(long, value_name = "FILE")]
    pub api_keys: Option<PathBuf>,
    /// Let in by X-IG-Service-Token: a file with the secret that tokens are signed with, read
    /// again when it changes
    #[arg(long, value_name = "FILE")]
    pub token_secret: Option<PathBuf>,
    /// Close the connection after each answer, as the real one does
    #[arg(long)]
    pub close: bool,
    /// Answer 429 beyond so many pushes a minute
    #[arg(long, value_name = "N")]
    pub rate_limit: Option<u64>,
    /// Answer 413 to longer bodies
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    pub max_body: usize,
}

impl DevGateArgs {
    /// The gate's configuration.
    pub fn config(&self) -> GateConfig {
        GateConfig {
            listen: self.listen.clone(),
            api_keys: self.api_keys.clone(),
            token_secret: self.token_secret.clone(),
            close: self.close,
            rate_limit: self.rate_limit,
            max_body: self.max_body,
            record: self.record.clone(),
            record_all: self.record_all.clone(),
            fresh: self.fresh,
            faults: self.faults.clone(),
            seed: self.seed,
        }
    }
}

/// Runs a gate until SIGTERM or SIGINT, then prints what it has seen.
///
/// Errors: as [`devgate::spawn`].
pub fn run(args: &DevGateArgs, json: bool) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Reason::StreamFailed, "dev gate").cause(&error))?;
    runtime.block_on(async {
        // Before the address is printed: whoever reads it may end us at once.
        let mut terminate = listen_for(SignalKind::terminate())?;
        let mut interrupt = listen_for(SignalKind::interrupt())?;
        let gate = devgate::spawn(args.config())?;
        greet(&gate, json);
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        farewell(&gate.stop(), json);
        Ok(ExitCode::Done)
    })
}

fn listen_for(kind: SignalKind) -> Result<tokio::signal::unix::Signal> {
    signal(kind).map_err(|error| Failure::new(Reason::StreamFailed, "dev gate").cause(&error))
}

fn greet(gate: &RunningGate, json: bool) {
    if json {
        say(&serde_json::json!({"listening": gate.url()}).to_string());
    } else {
        say(&format!("dev-gate listening on {}", gate.url()));
    }
}

fn farewell(summary: &Summary, json: bool) {
    if json {
        say(&serde_json::json!({"summary": summary}).to_string());
        return;
    }
    say(&format!(
        "{} pushes: {} admitted, {} duplicates, {} quarantined",
        summary.pushes, summary.admitted, summary.duplicates, summary.quarantined
    ));
    for (event_type, decisions) in &summary.by_event_type {
        say(&format!(
            "  {event_type}: {} admitted, {} duplicates, {} quarantined",
            decisions.admitted, decisions.duplicates, decisions.quarantined
        ));
    }
    for (kind, times) in &summary.faults {
        say(&format!("  fault {kind}: {times}"));
    }
}

/// A line to stdout, at once. Whoever closed it does not want to read it.
fn say(line: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: DevGateArgs,
    }

    #[test]
    fn reads_its_flags_and_names_a_bad_fault() {
        let line = "dev-gate --listen 127.0.0.1:0 --record a --fault stall --fault 429:p=0.05,retry-after=2s \
                    --close --rate-limit 600 --seed 9";
        let config = Cli::try_parse_from(line.split_whitespace())
            .unwrap()
            .args
            .config();
        assert_eq!(
            config
                .faults
                .iter()
                .map(FaultSpec::to_string)
                .collect::<Vec<_>>(),
            ["stall", "429:retry-after=2s,p=0.05"]
        );
        assert_eq!(
            (config.close, config.rate_limit, config.seed),
            (true, Some(600), 9)
        );
        let error = Cli::try_parse_from(["dev-gate", "--fault", "stall:p=2"])
            .err()
            .unwrap();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("p is \"2\""), "{error}");
    }
}
