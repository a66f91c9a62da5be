//! Documents and flags made one plan: flags win over the WorldStream, and that over the profile's
//! defaults. What a document says is checked even where a flag wins.

use super::documents::{Document, Documents};
use super::error::{PlanError, UsageError};
use super::files::Files;
use super::overrides::Overrides;
use super::values::{self, Checked};
use super::{
    IdentityPlan, Lanes, PLAN_VERSION, RangePlan, SelectionPlan, StreamPlan, WorldPlan, choose,
    cluster_only, oracle, profile, s3,
};
use crate::failure::Failure;
use crate::{LanesSpec, Reason, StreamProfileSpec, TrafficMode, WorldStreamSpec};

type Result<T, E = PlanError> = std::result::Result<T, E>;
type Stream = Document<WorldStreamSpec>;
type Profile = Document<StreamProfileSpec>;

/// Makes the plan from documents that were read.
///
/// Errors: [`PlanError::Usage`] for what is written wrongly, else `ENGINE_ROOT_MISSING`,
/// `PLATFORM_RUN_ID_MISSING` or `WSP_LANE_CONFIG_INVALID`. Nothing of the world, of IG or of a
/// checkpoint is looked at.
pub fn resolve(documents: &Documents, flags: &Overrides, files: &dyn Files) -> Result<StreamPlan> {
    let stream = documents.stream.as_ref();
    if let Some(trigger) = &documents.trigger {
        let message = "a ReadyTrigger is no stream: `worldstream ready` follows its bus";
        return Err(trigger.yaml.wrong("kind", message).into());
    }
    let profile = choose::profile(documents, flags, files)?;
    if !files.in_cluster() {
        cluster_only::check(stream, &profile)?;
    }
    let inputs = Inputs {
        files,
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
        oracle: oracle::plan(&profile)?,
        world,
        identity,
        pace,
        range,
        gate,
        run_dir,
    })
}

/// Makes the world's part of a plan alone: for tools that look at a world and send nothing.
///
/// Errors: as [`resolve`], of the profile and the world.
pub fn world(documents: &Documents, flags: &Overrides, files: &dyn Files) -> Result<WorldPlan> {
    let profile = choose::profile(documents, flags, files)?;
    let inputs = Inputs {
        files,
        flags,
        stream: documents.stream.as_ref(),
        profile: &profile,
    };
    inputs.world()
}

/// Everything that a plan is made of.
pub(super) struct Inputs<'a> {
    pub files: &'a dyn Files,
    pub flags: &'a Overrides,
    pub stream: Option<&'a Stream>,
    pub profile: &'a Profile,
}

impl Inputs<'_> {
    /// A value of the flags, else of the stream; both are checked.
    pub fn given<T, U>(
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
            catalogue: profile::text(profile, "spec.catalogue", &spec.catalogue, self.files)?,
            gate_map: profile::text(profile, "spec.gateMap", &spec.gate_map, self.files)?,
            selection: self.selection()?,
            require_manifest: spec.require.manifest,
            require_seal: spec.require.seal,
            compare_digests: spec.require.pack_digests,
            gate_check: spec.require.gates,
            gate_upstream: spec.require.upstream,
            producer_id: self.producer()?,
            producer_allowlist: profile::allowlist(profile, self.files)?,
            s3: s3::plan(profile, "spec.world.s3", &profile.spec.world.s3)?,
            read_ahead: s3::read_ahead(profile)?,
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
            let default = format!("outputs/{default}.yaml");
            profile::outputs(profile, &path, list, &default, self.files)
        };
        let asked = self.given(
            ("--traffic-mode", self.flags.traffic_mode),
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
