//! The flags of `run` and `plan`. What a flag gives wins over the documents, and those over the
//! profile's defaults.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use worldstream_crds::{DurationText, OnOutputFailure, Overload, TrafficMode};

use super::Overrides;
use crate::time::EventTime;

/// Documents and flags of one replay.
#[derive(Args, Clone, Debug, Default)]
pub struct RunFlags {
    /// A YAML file with a WorldStream, StreamProfiles, or both; repeatable; `-` reads the
    /// standard input
    #[arg(
        short = 'f',
        long = "file",
        value_name = "FILE",
        help_heading = "Documents"
    )]
    pub files: Vec<PathBuf>,

    /// The StreamProfile: a YAML file, or the name of one in the files or of a built-in one
    /// (local, local_parity, dev, prod)
    #[arg(long, value_name = "FILE|NAME", help_heading = "Documents")]
    pub profile: Option<String>,

    /// The engine run root that holds the world, a local path or s3://bucket/prefix, named as its
    /// views were built under
    #[arg(long, value_name = "ROOT", help_heading = "World")]
    pub engine_run_root: Option<String>,

    /// The scenario to replay [default: the only one in the world]
    #[arg(long, value_name = "ID", help_heading = "World")]
    pub scenario: Option<String>,

    /// Narrow the traffic to this output; repeatable [default: all that the profile allows]
    #[arg(long = "output", value_name = "ID", help_heading = "World")]
    pub outputs: Vec<String>,

    /// Which traffic is sent, and with it which context [default: fraud]
    #[arg(long, value_name = "MODE", help_heading = "World")]
    pub traffic_mode: Option<TrafficModeFlag>,

    /// Event seconds a wall-clock second: 1 is real time, 3600 an hour a second, 0 no waiting
    /// [default: the profile's, 1]
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        help_heading = "Pace"
    )]
    pub speedup: Option<f64>,

    /// First event time that is sent, inclusive, such as 2026-01-01T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = EventTime::parse_rfc3339, help_heading = "Range")]
    pub start_from: Option<EventTime>,

    /// End of the event time that is sent, exclusive
    #[arg(long, value_name = "TIME", value_parser = EventTime::parse_rfc3339, help_heading = "Range")]
    pub until: Option<EventTime>,

    /// At most so many events for each output and lane, counted from the attempt's start
    #[arg(long, value_name = "N", help_heading = "Range")]
    pub max_events_per_output: Option<u64>,

    /// The platform run that the events belong to, of the form platform_YYYYMMDDTHHMMSSZ
    #[arg(long, value_name = "ID", help_heading = "Identity")]
    pub platform_run_id: Option<String>,

    /// The Scenario Runner's run id, 32 hex digits [default: the run id of the world's receipt]
    #[arg(long, value_name = "ID", help_heading = "Identity")]
    pub scenario_run_id: Option<String>,

    /// The Ingestion Gate's URL, with or without /v1/ingest/push [default: the profile's]
    #[arg(long, value_name = "URL", help_heading = "Gate")]
    pub gate_url: Option<String>,

    /// Requests in flight for each output and lane, 1 to 256; 1 keeps strict order [default: the
    /// profile's, 16]
    #[arg(long, value_name = "N", help_heading = "Gate")]
    pub in_flight: Option<u32>,

    /// Split each output over N lanes, 1 to 64
    #[arg(long, value_name = "N", help_heading = "Identity")]
    pub lanes: Option<u32>,

    /// Send only this lane of them, from 0 [default: all, in this process]
    #[arg(long, value_name = "I", help_heading = "Identity")]
    pub lane: Option<u32>,

    /// A YAML or JSON file that caps events a second over time: a list of {start_offset_seconds,
    /// target_eps, burst_seconds, initial_tokens}
    #[arg(long, value_name = "FILE", help_heading = "Pace")]
    pub rate_plan: Option<PathBuf>,

    /// The attempt; a new one starts over, with cursors of its own
    #[arg(long, value_name = "ID", help_heading = "Identity")]
    pub attempt: Option<String>,

    /// When an output falls behind the clock by more than --max-lag: hold the clock for all, let
    /// it go on and catch up, or fail [default: the profile's, hold]
    #[arg(long, value_name = "POLICY", help_heading = "Pace")]
    pub overload: Option<OverloadFlag>,

    /// How far an output may fall behind the clock, such as 5s or 500ms [default: the profile's,
    /// 5s]
    #[arg(long, value_name = "DURATION", help_heading = "Pace")]
    pub max_lag: Option<DurationText>,

    /// When one output fails for good: stop all, or let the others continue [default: the
    /// profile's, stop-all]
    #[arg(long, value_name = "POLICY", help_heading = "Pace")]
    pub on_output_failure: Option<OnOutputFailureFlag>,

    /// The folder that each platform run has its own in, for everything that a run writes
    /// [default: the profile's, runs/fraud-platform]
    #[arg(long, value_name = "DIR", help_heading = "Files")]
    pub runs_root: Option<PathBuf>,

    /// The folder of the cursors [default: runs/fraud-platform/<platform run id>/wsp/checkpoints]
    #[arg(long, value_name = "DIR", help_heading = "Files")]
    pub checkpoint_root: Option<PathBuf>,

    /// Write the receipts of all outputs to this file, as JSON
    #[arg(long, value_name = "FILE", help_heading = "Files")]
    pub summary: Option<PathBuf>,
}

impl RunFlags {
    /// What these flags say over the documents.
    pub fn overrides(&self) -> Overrides {
        let flags = self.clone();
        Overrides {
            profile: flags.profile,
            engine_run_root: flags.engine_run_root,
            scenario: flags.scenario,
            outputs: flags.outputs,
            traffic_mode: flags.traffic_mode.map(Into::into),
            speedup: flags.speedup,
            start_from: flags.start_from,
            until: flags.until,
            max_events_per_output: flags.max_events_per_output,
            platform_run_id: flags.platform_run_id,
            scenario_run_id: flags.scenario_run_id,
            gate_url: flags.gate_url,
            in_flight: flags.in_flight,
            lanes: flags.lanes,
            lane: flags.lane,
            rate_plan: flags.rate_plan,
            attempt: flags.attempt,
            overload: flags.overload.map(Into::into),
            max_lag: flags.max_lag,
            on_output_failure: flags.on_output_failure.map(Into::into),
            runs_root: flags.runs_root,
            checkpoint_root: flags.checkpoint_root,
        }
    }
}

/// [`TrafficMode`] on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TrafficModeFlag {
    /// Traffic with fraud in it
    Fraud,
    /// Traffic without fraud
    Baseline,
}

/// [`Overload`] on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OverloadFlag {
    /// The clock stops for all outputs until the late one has caught up
    Hold,
    /// The clock goes on, and the late output catches up
    CatchUp,
    /// The stream fails with LAG_LIMIT
    Fail,
}

/// [`OnOutputFailure`] on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnOutputFailureFlag {
    /// All outputs stop
    StopAll,
    /// The others go on to their end
    Continue,
}

impl From<TrafficModeFlag> for TrafficMode {
    fn from(flag: TrafficModeFlag) -> Self {
        match flag {
            TrafficModeFlag::Fraud => TrafficMode::Fraud,
            TrafficModeFlag::Baseline => TrafficMode::Baseline,
        }
    }
}

impl From<OverloadFlag> for Overload {
    fn from(flag: OverloadFlag) -> Self {
        match flag {
            OverloadFlag::Hold => Overload::Hold,
            OverloadFlag::CatchUp => Overload::CatchUp,
            OverloadFlag::Fail => Overload::Fail,
        }
    }
}

impl From<OnOutputFailureFlag> for OnOutputFailure {
    fn from(flag: OnOutputFailureFlag) -> Self {
        match flag {
            OnOutputFailureFlag::StopAll => OnOutputFailure::StopAll,
            OnOutputFailureFlag::Continue => OnOutputFailure::Continue,
        }
    }
}
