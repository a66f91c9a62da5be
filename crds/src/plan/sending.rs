//! The parts of a plan that decide how events are sent: pace, gate and checkpoints. Made like the
//! rest, of flags, stream and profile.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::{PlanError, UsageError};
use super::resolve::Inputs;
use super::{
    CheckpointPlan, CheckpointStorePlan, GatePlan, PacePlan, RateStep, policy_files, profile,
    values,
};

type Result<T, E = PlanError> = std::result::Result<T, E>;

impl Inputs<'_> {
    pub fn pace(&self) -> Result<PacePlan> {
        let (profile, defaults) = (self.profile, &self.profile.spec.defaults);
        let at = |field: &str| format!("spec.defaults.{field}");
        let speedup = self.given(
            ("--speedup", self.flags.speedup),
            ("spec.speedup", |it| it.speedup),
            values::speedup,
        )?;
        let default_speedup =
            profile::check(profile, &at("speedup"), values::speedup(defaults.speedup))?;
        let max_lag = self.given(
            ("--max-lag", self.flags.max_lag),
            ("spec.maxLag", |it| it.max_lag),
            values::some_time,
        )?;
        let default_lag =
            profile::check(profile, &at("maxLag"), values::some_time(defaults.max_lag))?;
        let overload = self.given(
            ("--overload", self.flags.overload),
            ("spec.overload", |it| it.overload),
            Ok,
        )?;
        let on_failure = self.given(
            ("--on-output-failure", self.flags.on_output_failure),
            ("spec.onOutputFailure", |it| it.on_output_failure),
            Ok,
        )?;
        let catch_up = |eps: f64| match eps.is_finite() && eps > 0.0 {
            true => Ok(eps),
            false => Err(format!("found {eps}, expected more than 0")),
        };
        Ok(PacePlan {
            speedup: speedup.unwrap_or(default_speedup),
            lead: profile::clock_lead(profile)?,
            overload: overload.unwrap_or(defaults.overload),
            max_lag: max_lag.unwrap_or(default_lag),
            catch_up_eps: profile::check_some(
                profile,
                &at("catchUpEps"),
                defaults.catch_up_eps,
                catch_up,
            )?,
            on_output_failure: on_failure.unwrap_or(defaults.on_output_failure),
            rate_plan: self.rate_plan()?,
        })
    }

    fn rate_plan(&self) -> Result<Vec<RateStep>> {
        let field = match self.stream {
            Some(stream) => {
                values::rate_plan(&stream.spec.rate_plan).map_err(|(path, message)| {
                    stream.yaml.wrong(&format!("spec.ratePlan{path}"), message)
                })?
            }
            None => Vec::new(),
        };
        match &self.flags.rate_plan {
            Some(file) => Ok(policy_files::rate_plan(self.files, file)?),
            None => Ok(field),
        }
    }

    pub fn gate(&self) -> Result<GatePlan> {
        let (profile, spec) = (self.profile, &self.profile.spec.gate);
        let default = spec.url.as_deref().map(values::push_url);
        let default = default
            .map(|url| profile::check(profile, "spec.gate.url", url))
            .transpose()?;
        let url = match &self.flags.gate_url {
            Some(url) => Some(
                values::push_url(url).map_err(|message| UsageError::new("--gate-url", message))?,
            ),
            None => default,
        };
        let url = url.ok_or_else(|| {
            let message = "is missing: the URL of IG, there or in --gate-url";
            profile.yaml.wrong("spec.gate.url", message)
        })?;
        let in_flight = self.given(
            ("--in-flight", self.flags.in_flight),
            ("spec.inFlight", |it| it.in_flight),
            values::in_flight,
        )?;
        let default_in_flight = values::in_flight(spec.in_flight);
        let default_in_flight = profile::check(profile, "spec.gate.inFlight", default_in_flight)?;
        let ca_file = profile::check_some(
            profile,
            "spec.gate.caFile",
            spec.ca_file.clone(),
            values::some_text,
        )?;
        Ok(GatePlan {
            url,
            auth: profile::auth(profile)?,
            ca_file: ca_file.map(PathBuf::from),
            in_flight: in_flight.unwrap_or(default_in_flight),
            require_decision: spec.require_decision,
            timeout: profile::check(
                profile,
                "spec.gate.timeout",
                values::some_time(spec.timeout),
            )?,
            retry: profile::retry(profile)?,
            quarantine: profile::quarantine(profile)?,
        })
    }

    /// The flag's folder, else the profile's store, else the default folder.
    fn checkpoint_store(&self, run_dir: &Path) -> Result<CheckpointStorePlan> {
        let (profile, spec) = (self.profile, &self.profile.spec.checkpoints);
        if spec.postgres.is_some() && (spec.file.is_some() || spec.kubernetes.is_some()) {
            let message = "is given together with another store, expected one at most";
            let path = "spec.checkpoints.postgres";
            return Err(profile.yaml.wrong(path, message).into());
        }
        if spec.kubernetes.is_some() {
            return Ok(CheckpointStorePlan::Kubernetes {});
        }
        let path = "spec.checkpoints.file.root";
        let root = spec.file.as_ref().and_then(|file| file.root.clone());
        let root = profile::check_some(profile, path, root, values::some_text)?;
        let root = match (&self.flags.checkpoint_root, root, &spec.postgres) {
            (Some(root), _, _) => root.clone(),
            (None, _, Some(postgres)) => {
                let plan = profile::postgres(profile, postgres)?;
                return Ok(CheckpointStorePlan::Postgres(plan));
            }
            (None, Some(root), None) => PathBuf::from(root),
            // Cursors as files are for a folder of this machine.
            (None, None, None) if run_dir.starts_with("s3:") => {
                let message = "is left out, and the run writes to S3: expected a folder";
                return Err(profile.yaml.wrong(path, message).into());
            }
            (None, None, None) => run_dir.join("wsp/checkpoints"),
        };
        if root.as_os_str().is_empty() {
            return Err(UsageError::new("--checkpoint-root", "is empty").into());
        }
        Ok(CheckpointStorePlan::File { root })
    }

    pub fn checkpoint(&self, run_dir: &Path) -> Result<CheckpointPlan> {
        let (profile, spec) = (self.profile, &self.profile.spec.checkpoints);
        let at = |field: &str| format!("spec.checkpoints.{field}");
        if spec.flush_every == 0 {
            let message = "found 0, expected 1 or more";
            return Err(profile.yaml.wrong(&at("flushEvery"), message).into());
        }
        Ok(CheckpointPlan {
            store: self.checkpoint_store(run_dir)?,
            flush_every: spec.flush_every,
            flush_interval: profile::check(
                profile,
                &at("flushInterval"),
                values::some_time(spec.flush_interval),
            )?,
            unavailable_for: profile::check_some(
                profile,
                &at("unavailableFor"),
                spec.unavailable_for,
                values::some_time,
            )?
            .unwrap_or(Duration::from_secs(match self.files.in_cluster() {
                // In a cluster a worker waits by itself: its exit is for crashes.
                true => 3_600,
                false => 60,
            })),
            max_unsaved: profile::check(
                profile,
                &at("maxUnsaved"),
                values::some_time(spec.max_unsaved),
            )?,
        })
    }
}
