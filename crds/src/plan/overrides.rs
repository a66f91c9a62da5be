//! What a command line gives in place of what documents say.

use std::path::PathBuf;

use crate::time::EventTime;
use crate::{DurationText, OnOutputFailure, Overload, TrafficMode};

/// What wins over the documents: the flags of a command line, or nothing.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--profile`: a file, or the name of a profile.
    pub profile: Option<String>,
    /// `--engine-run-root`.
    pub engine_run_root: Option<String>,
    /// `--scenario`.
    pub scenario: Option<String>,
    /// `--output`; empty: not given.
    pub outputs: Vec<String>,
    /// `--traffic-mode`.
    pub traffic_mode: Option<TrafficMode>,
    /// `--speedup`.
    pub speedup: Option<f64>,
    /// `--start-from`.
    pub start_from: Option<EventTime>,
    /// `--until`.
    pub until: Option<EventTime>,
    /// `--max-events-per-output`.
    pub max_events_per_output: Option<u64>,
    /// `--platform-run-id`.
    pub platform_run_id: Option<String>,
    /// `--scenario-run-id`.
    pub scenario_run_id: Option<String>,
    /// `--gate-url`.
    pub gate_url: Option<String>,
    /// `--in-flight`.
    pub in_flight: Option<u32>,
    /// `--lanes`.
    pub lanes: Option<u32>,
    /// `--lane`.
    pub lane: Option<u32>,
    /// `--rate-plan`: a file.
    pub rate_plan: Option<PathBuf>,
    /// `--attempt`.
    pub attempt: Option<String>,
    /// `--overload`.
    pub overload: Option<Overload>,
    /// `--max-lag`.
    pub max_lag: Option<DurationText>,
    /// `--on-output-failure`.
    pub on_output_failure: Option<OnOutputFailure>,
    /// `--runs-root`.
    pub runs_root: Option<PathBuf>,
    /// `--checkpoint-root`.
    pub checkpoint_root: Option<PathBuf>,
}
