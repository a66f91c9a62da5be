//! Documents and flags made one plan: flags win over the WorldStream, and that over the profile's
//! defaults. What a document says is checked even where a flag wins.

use std::path::{Path, PathBuf};

use worldstream_crds::{LanesSpec, Reason, StreamProfileSpec, TrafficMode, WorldStreamSpec};

use super::documents::{Document, Documents};
use super::error::{PlanError, UsageError};
use super::flags::RunFlags;
use super::values::{self, Checked};
use super::{
    CheckpointPlan, CheckpointStorePlan, GatePlan, IdentityPlan, Lanes, PLAN_VERSION, PacePlan,
    RangePlan, RateStep, SelectionPlan, StreamPlan, WorldPlan, choose, policy_files, profile,
};
use crate::failure::Failure;

type Result<T, E = PlanError> = std::result::Result<T, E>;
type Stream = Document<WorldStreamSpec>;
type Profile = Document<StreamProfileSpec>;

/// Reads the files that the flags name, and makes the plan. What the command line does.
///
/// Errors: [`PlanError::Usage`] for what is written wrongly, else `ENGINE_ROOT_MISSING`,
/// `PLATFORM_RUN_ID_MISSING` or `WSP_LANE_CONFIG_INVALID`. Nothing of the world, of IG or of a
/// checkpoint is looked at.
pub fn plan(flags: &RunFlags) -> Result<StreamPlan> {
    resolve(&Documents::read(&flags.files)?, flags)
}

/// Makes the plan from documents that were read. Errors as [`plan`].
pub fn resolve(documents: &Documents, flags: &RunFlags) -> Result<StreamPlan> {
    let stream = documents.stream.as_ref();
    let profile = choose::profile(documents, flags)?;
    let inputs = Inputs {
        flags,
        stream,
        profile: &profile,
    };
    let world = inputs.world()?;
    let range = inputs.range()?;
    let pace = inputs.pace()?;
    let gate = inputs.gate()?;
    let identity = inputs.identity()?;
    let root = values::some_text(profile.spec.runs_root.clone());
    let root = profile::check(&profile, "spec.runsRoot", root)?;
    let root = flags.runs_root.clone().unwrap_or_else(|| root.into());
    let run_dir = root.join(&identity.platform_run_id);
    Ok(StreamPlan {
        version: PLAN_VERSION,
        profile: profile.name.clone(),
        checkpoint: inputs.checkpoint(&run_dir)?,
        world,
        identity,
        pace,
        range,
        gate,
        run_dir,
    })
}

/// Everything that a plan is made of.
struct Inputs<'a> {
    flags: &'a RunFlags,
    stream: Option<&'a Stream>,
    profile: &'a Profile,
}

impl Inputs<'_> {
    /// A value of the flags, else of the stream; both are checked.
    fn given<T, U>(
        &self,
        flag: (&str, Option<T>),
        field: (&str, impl FnOnce(&WorldStreamSpec) -> Option<T>),
        rule: impl Fn(T) -> Checked<U>,
    ) -> Result<Option<U>> {
        let (path, read) = field;
        let field = match self.stream {
            Some(stream) => read(&stream.spec)
                .map(|value| rule(value).map_err(|message| stream.yaml.wrong(path, message)))
                .transpose()?,
            None => None,
        };
        let (name, value) = flag;
        let flag = value
            .map(|value| rule(value).map_err(|message| UsageError::new(name, message)))
            .transpose()?;
        Ok(flag.or(field))
    }

    /// A mistake that a flag made if it is given, else the stream.
    fn wrong(&self, flag: (&str, bool), path: &str, message: String) -> PlanError {
        match self.stream {
            Some(stream) if !flag.1 => stream.yaml.wrong(path, message).into(),
            _ => UsageError::new(flag.0, message).into(),
        }
    }

    fn world(&self) -> Result<WorldPlan> {
        let (profile, spec) = (self.profile, &self.profile.spec);
        // Empty counts as not given: so it is when a shell's variable is unset.
        let root = self
            .given(
                ("--engine-run-root", self.flags.engine_run_root.clone()),
                ("spec.engineRunRoot", |it| it.engine_run_root.clone()),
                Ok,
            )?
            .filter(|root| !root.trim().is_empty());
        let scenario = self.given(
            ("--scenario", self.flags.scenario.clone()),
            ("spec.scenario", |it| it.scenario.clone()),
            values::scenario,
        )?;
        let configured = profile::check_some(
            profile,
            "spec.world.scenario",
            spec.world.scenario.clone(),
            values::scenario,
        )?;
        let world = WorldPlan {
            oracle_root: spec.world.oracle_root.clone(),
            allowed_roots: profile::allowed_roots(profile)?,
            mounts: profile::mounts(profile)?,
            scenario: scenario.or(configured),
            catalogue: profile::text(profile, "spec.catalogue", &spec.catalogue)?,
            gate_map: profile::text(profile, "spec.gateMap", &spec.gate_map)?,
            selection: self.selection()?,
            require_manifest: spec.require.manifest,
            require_seal: spec.require.seal,
            compare_digests: spec.require.pack_digests,
            gate_check: spec.require.gates,
            gate_upstream: spec.require.upstream,
            producer_id: self.producer()?,
            producer_allowlist: profile::allowlist(profile)?,
            s3: profile::s3(profile)?,
            read_ahead: profile::read_ahead(profile)?,
            engine_run_root: String::new(),
        };
        match root {
            Some(engine_run_root) => Ok(WorldPlan {
                engine_run_root,
                ..world
            }),
            None => Err(Failure::new(Reason::EngineRootMissing, self.object())
                .field("spec.engineRunRoot")
                .found("nothing")
                .expected("a local path or s3://bucket/prefix, there or in --engine-run-root")
                .into()),
        }
    }

    /// The stream, for messages of what is nowhere.
    fn object(&self) -> String {
        match self.stream {
            Some(stream) => format!("{}: WorldStream {}", stream.yaml.file(), stream.name),
            None => "the command line".to_owned(),
        }
    }

    fn producer(&self) -> Result<String> {
        let id = self.profile.spec.producer.id.clone().unwrap_or_default();
        let id = id.trim().to_owned();
        let bad = id.chars().count() > 128 || id.chars().any(char::is_control);
        let checked = match bad {
            true => Err(format!("found {id:?}, expected 1 to 128 characters")),
            false => Ok(id),
        };
        profile::check(self.profile, "spec.producer.id", checked)
    }

    fn selection(&self) -> Result<SelectionPlan> {
        let profile = self.profile;
        let (traffic, context) = (&profile.spec.traffic_outputs, &profile.spec.context_outputs);
        let list = |path: &str, list: &_, default: &str| {
            let path = format!("spec.{path}");
            profile::outputs(profile, &path, list, &format!("outputs/{default}.yaml"))
        };
        let asked = self.given(
            (
                "--traffic-mode",
                self.flags.traffic_mode.map(TrafficMode::from),
            ),
            ("spec.trafficMode", |it| it.traffic_mode),
            Ok,
        )?;
        let outright = traffic.allowlist.is_some();
        if outright && (traffic.fraud.is_some() || traffic.baseline.is_some()) {
            let message = "is given together with lists by mode, expected either";
            return Err(profile
                .yaml
                .wrong("spec.trafficOutputs.allowlist", message)
                .into());
        }
        if outright && asked.is_some() {
            return Err(self.wrong(
                ("--traffic-mode", self.flags.traffic_mode.is_some()),
                "spec.trafficMode",
                format!(
                    "the profile {} gives its traffic allowlist outright, so there is no mode to choose; narrow it with outputs",
                    profile.name
                ),
            ));
        }
        let fraud = list("trafficOutputs.fraud", &traffic.fraud, "traffic_fraud")?;
        let baseline = list(
            "trafficOutputs.baseline",
            &traffic.baseline,
            "traffic_baseline",
        )?;
        let mode = (!outright).then(|| asked.unwrap_or_default());
        Ok(SelectionPlan {
            traffic: match mode {
                Some(TrafficMode::Fraud) => fraud,
                Some(TrafficMode::Baseline) => baseline,
                None => list(
                    "trafficOutputs.allowlist",
                    &traffic.allowlist,
                    "traffic_fraud",
                )?,
            },
            context_fraud: list("contextOutputs.fraud", &context.fraud, "context_fraud")?,
            context_baseline: list(
                "contextOutputs.baseline",
                &context.baseline,
                "context_baseline",
            )?,
            mode,
            outputs: self.narrowing()?,
        })
    }

    fn narrowing(&self) -> Result<Vec<String>> {
        if let Some(stream) = self.stream {
            for (index, id) in stream.spec.outputs.iter().enumerate() {
                values::output_id(id).map_err(|message| {
                    stream
                        .yaml
                        .wrong(&format!("spec.outputs[{index}]"), message)
                })?;
            }
        }
        for id in &self.flags.outputs {
            values::output_id(id).map_err(|message| UsageError::new("--output", message))?;
        }
        Ok(match (self.flags.outputs.is_empty(), self.stream) {
            (true, Some(stream)) => stream.spec.outputs.clone(),
            _ => self.flags.outputs.clone(),
        })
    }

    fn range(&self) -> Result<RangePlan> {
        let start_from = self.given(
            (
                "--start-from",
                self.flags.start_from.map(|it| it.to_string()),
            ),
            ("spec.startFrom", |it| it.start_from.clone()),
            values::event_time,
        )?;
        let until = self.given(
            ("--until", self.flags.until.map(|it| it.to_string())),
            ("spec.until", |it| it.until.clone()),
            values::event_time,
        )?;
        if let (Some(start), Some(end)) = (start_from, until)
            && end <= start
        {
            return Err(self.wrong(
                ("--until", self.flags.until.is_some()),
                "spec.until",
                format!("found {end}, expected a time after the start, {start}"),
            ));
        }
        let default = &self.profile.spec.defaults;
        let default = profile::check_some(
            self.profile,
            "spec.defaults.maxEventsPerOutput",
            default.max_events_per_output,
            values::cap,
        )?;
        let cap = self.given(
            ("--max-events-per-output", self.flags.max_events_per_output),
            ("spec.maxEventsPerOutput", |it| it.max_events_per_output),
            values::cap,
        )?;
        Ok(RangePlan {
            start_from,
            until,
            max_events_per_output: cap.or(default),
        })
    }

    fn pace(&self) -> Result<PacePlan> {
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
            ("--overload", self.flags.overload.map(Into::into)),
            ("spec.overload", |it| it.overload),
            Ok,
        )?;
        let on_failure = self.given(
            (
                "--on-output-failure",
                self.flags.on_output_failure.map(Into::into),
            ),
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
            Some(file) => Ok(policy_files::rate_plan(file)?),
            None => Ok(field),
        }
    }

    fn gate(&self) -> Result<GatePlan> {
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

    fn identity(&self) -> Result<IdentityPlan> {
        let filled = |text: &String| !text.trim().is_empty();
        let platform_run_id = self.given(
            (
                "--platform-run-id",
                self.flags.platform_run_id.clone().filter(filled),
            ),
            ("spec.platformRunId", |it| {
                it.platform_run_id.clone().filter(filled)
            }),
            values::platform_run_id,
        )?;
        let scenario_run_id = self.given(
            ("--scenario-run-id", self.flags.scenario_run_id.clone()),
            ("spec.scenarioRunId", |it| it.scenario_run_id.clone()),
            values::scenario_run_id,
        )?;
        let attempt = self.given(
            ("--attempt", self.flags.attempt.clone()),
            ("spec.attempt", |it| it.attempt.clone()),
            values::attempt,
        )?;
        let lanes = self.lanes()?;
        let platform_run_id = platform_run_id.ok_or_else(|| {
            Failure::new(Reason::PlatformRunIdMissing, self.object())
                .field("spec.platformRunId")
                .found("nothing")
                .expected("platform_YYYYMMDDTHHMMSSZ, there or in --platform-run-id")
        })?;
        Ok(IdentityPlan {
            platform_run_id,
            scenario_run_id,
            attempt: attempt.unwrap_or_default(),
            lanes,
        })
    }

    fn lanes(&self) -> Result<Lanes> {
        let mut lanes = Lanes {
            count: 1,
            only: None,
        };
        if let Some(stream) = self.stream
            && let Some(LanesSpec { count, only }) = stream.spec.lanes
        {
            let place = stream.yaml.wrong("spec.lanes", "");
            let place = match place.line {
                Some(line) => format!("{}:{line}: spec.lanes", place.place),
                None => format!("{}: spec.lanes", place.place),
            };
            lanes = valid_lanes(&place, Lanes { count, only })?;
        }
        if let Some(count) = self.flags.lanes {
            lanes = Lanes { count, only: None };
        }
        if let Some(lane) = self.flags.lane {
            lanes.only = Some(lane);
        }
        valid_lanes("--lanes and --lane", lanes)
    }

    fn checkpoint(&self, run_dir: &Path) -> Result<CheckpointPlan> {
        let (profile, spec) = (self.profile, &self.profile.spec.checkpoints);
        let at = |field: &str| format!("spec.checkpoints.{field}");
        if spec.flush_every == 0 {
            let message = "found 0, expected 1 or more";
            return Err(profile.yaml.wrong(&at("flushEvery"), message).into());
        }
        let root = spec.file.as_ref().and_then(|file| file.root.clone());
        let root = profile::check_some(profile, &at("file.root"), root, values::some_text)?;
        let root = match (&self.flags.checkpoint_root, root) {
            (Some(root), _) => root.clone(),
            (None, Some(root)) => PathBuf::from(root),
            (None, None) => run_dir.join("wsp/checkpoints"),
        };
        if root.as_os_str().is_empty() {
            return Err(UsageError::new("--checkpoint-root", "is empty").into());
        }
        Ok(CheckpointPlan {
            store: CheckpointStorePlan::File { root },
            flush_every: spec.flush_every,
            flush_interval: profile::check(
                profile,
                &at("flushInterval"),
                values::some_time(spec.flush_interval),
            )?,
            unavailable_for: profile::check(
                profile,
                &at("unavailableFor"),
                values::some_time(spec.unavailable_for),
            )?,
        })
    }
}

/// 1 to 64 lanes, and one of them.
fn valid_lanes(object: &str, lanes: Lanes) -> Result<Lanes> {
    let wrong = |field: &str, found: u32, expected: String| {
        Err(Failure::new(Reason::LaneConfigInvalid, object)
            .field(field)
            .found(found.to_string())
            .expected(expected)
            .into())
    };
    if !(1..=64).contains(&lanes.count) {
        return wrong("count", lanes.count, "1 to 64 lanes".into());
    }
    match lanes.only.filter(|only| *only >= lanes.count) {
        Some(only) => wrong(
            "only",
            only,
            format!("a lane from 0 to {}", lanes.count - 1),
        ),
        None => Ok(lanes),
    }
}
