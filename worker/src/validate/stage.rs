//! Where an announced world is streamed for a validation: a control bus and an object store of the
//! run's own, the world and the gate given or our own, and a consumer of READY messages in this
//! process.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use worldstream_crds::{
    BusSpec, FileBusSpec, ProvenanceSpec, ReadyStoreSpec, ReadyTriggerSpec, Reason, ScopeSpec,
    StreamOverridesSpec, StreamProfileSpec, WorldStreamSpec,
};

use super::announced::Announced;
use super::blocking;
use crate::bus;
use crate::devgate::{self, GateConfig, RunningGate};
use crate::failure::{Failure, Result};
use crate::plan::ready::{self, ReadyPlan};
use crate::plan::{Document, Documents, FileSystem, Overrides, PlanError};
use crate::ready::publish::{self, Announcement};
use crate::ready::{
    Claims, Conclusion, Consumer, Extent, Here, News, Observer, Parts, Place, StoredPosition,
    claim, downstream,
};
use crate::sample::{self, SampleSpec};
use crate::stop::Stop;
use crate::world::{self, VerifiedWorld};

/// Rows of each event stream of a world of our own.
const ROWS: u64 = 2_000;
/// What governance facts say of a validation.
pub const ENVIRONMENT: &str = "validation";

/// Everything that an announced run needs.
pub struct Stage {
    /// The platform run.
    pub run: String,
    /// The world, verified.
    pub world: VerifiedWorld,
    /// A gate of our own, and what it admitted.
    pub gate: Option<(RunningGate, PathBuf)>,
    /// The object store.
    pub place: Place,
    documents: Documents,
    plan: ReadyPlan,
    flags: Overrides,
}

/// Remembers what became of messages.
#[derive(Default)]
struct Ears(RefCell<Vec<Conclusion>>);

impl Observer for Ears {
    fn tell(&self, news: &News<'_>) {
        if let News::Concluded(conclusion) = news {
            self.0.borrow_mut().push((*conclusion).clone());
        }
    }
}

impl Stage {
    /// Makes what is not given, and verifies the world.
    ///
    /// # Errors
    /// Those of documents, of a gate that cannot be started, and of the world's verification.
    pub fn new(asked: &Announced, run: &str, said: &mut dyn FnMut(&str)) -> Result<Stage> {
        let dir = asked.own.dir.join(run);
        let dir = std::path::absolute(&dir).map_err(|error| cannot(&dir, &error))?;
        std::fs::create_dir_all(&dir).map_err(|error| cannot(&dir, &error))?;
        let root = match &asked.engine_run_root {
            Some(root) => root.clone(),
            None => {
                said("a sample world is written");
                let spec = SampleSpec::new(dir.join("world"), 7, ROWS, 1);
                sample::write(&spec, &|_| {})?.run_root
            }
        };
        let (gate, gate_url) = match asked.gate_url.as_deref() {
            Some("profile") => (None, None),
            Some(url) => (None, Some(url.to_owned())),
            None => {
                said("a development gate is started");
                let record = dir.join("admitted.jsonl");
                let gate = devgate::spawn(GateConfig {
                    record: Some(record.clone()),
                    ..GateConfig::default()
                })?;
                let url = gate.url();
                (Some((gate, record)), Some(url))
            }
        };
        let (mut documents, profile) = profile(&asked.profile)?;
        let store = match &asked.store {
            Some(store) => store.clone(),
            None => dir.join("store").display().to_string(),
        };
        let flags = Overrides {
            gate_url,
            checkpoint_root: needs_a_folder(&store, &profile.spec).then(|| dir.join("checkpoints")),
            ..Overrides::default()
        };
        documents.trigger = Some(Document::stored(
            "the validation's trigger",
            "validation",
            trigger(asked, run, &dir, &store, &profile),
        ));
        let plan = ready::resolve(&documents, None, &FileSystem).map_err(failed)?;
        documents.trigger = None;
        let asked_world = WorldStreamSpec {
            profile: Some(profile.name.clone()),
            engine_run_root: Some(root),
            scenario: asked.scenario.clone(),
            ..WorldStreamSpec::default()
        };
        documents.stream = Some(Document::stored(
            "the validation",
            "validation",
            asked_world,
        ));
        said("the world is verified");
        let world = worldstream_crds::plan::world(&documents, &flags, &FileSystem);
        let world = blocking(world::verify(&world.map_err(failed)?))??;
        documents.stream = None;
        Ok(Stage {
            run: run.to_owned(),
            world,
            gate,
            place: Place::open(&plan.store, &plan.s3)?,
            documents,
            plan,
            flags,
        })
    }

    /// A message that announces the world, and its facts, both valid.
    ///
    /// # Errors
    /// As [`publish::make`].
    pub fn announcement(&self) -> Result<publish::Ready> {
        let traffic = |output: &&world::SelectedOutput| output.role == world::Role::Traffic;
        let run = Announcement {
            platform_run_id: self.run.clone(),
            scenario_run_id: None,
            run_id: None,
            message_id: None,
            engine_run_root: self.world.root.clone(),
            key: self.world.key.clone(),
            outputs: self
                .world
                .outputs
                .iter()
                .filter(traffic)
                .map(|output| output.id.clone())
                .collect(),
        };
        publish::make(&self.place, &self.plan.bus.topic, &run)
    }

    /// Writes the facts and puts the message on the bus.
    ///
    /// # Errors
    /// As [`publish::publish`].
    pub fn publish(&self, ready: &publish::Ready) -> Result<()> {
        blocking(publish::publish(&self.place, &self.plan.bus, ready))?.map(drop)
    }

    /// Follows the bus until everything that is on it is done with, where `active` is the active
    /// run; what became of one message.
    ///
    /// # Errors
    /// What ends a bus.
    pub fn consume(&self, message_id: &str, active: &str) -> Result<Vec<Conclusion>> {
        let active = active.to_owned();
        let stop = Stop::new();
        let launcher = Here {
            documents: self.documents.clone(),
            plan: self.plan.clone(),
            flags: self.flags.clone(),
            place: self.place.clone(),
            stop: stop.clone(),
        };
        let mut downstream = Vec::new();
        for part in &self.plan.downstream {
            // A kind that only a cluster has is not asked here.
            downstream.extend(downstream::open(part, &self.plan.s3)?);
        }
        let ears = Ears::default();
        let (name, bus) = (&self.plan.name, self.plan.bus.name());
        let positions = StoredPosition::of_run(&self.place, &active, name, &bus);
        let consumer = Consumer::new(Parts {
            plan: &self.plan,
            place: &self.place,
            launcher: &launcher,
            downstream,
            claims: Claims {
                holder: "validation".to_owned(),
                term: claim::TERM,
            },
            scope: &active,
            stop,
            observer: &ears,
            positions: &positions,
        })?;
        let extent = Extent {
            once: true,
            max_messages: None,
        };
        blocking(async {
            let mut bus = bus::open(&self.plan.bus, None)?;
            consumer.run(&mut *bus, extent).await
        })??;
        drop(consumer);
        let mut all = ears.0.into_inner();
        all.retain(|conclusion| conclusion.message_id == message_id);
        Ok(all)
    }
}

/// The documents with the profile that was asked for, by its file or its name.
fn profile(given: &str) -> Result<(Documents, Document<StreamProfileSpec>)> {
    let is_file = given.contains('/') || given.ends_with(".yaml") || given.ends_with(".yml");
    let usage = |error: crate::plan::UsageError| failed(PlanError::Usage(error));
    let documents = match is_file {
        true => crate::plan::read_documents(&[given]).map_err(usage)?,
        false => Documents::built_in().map_err(usage)?,
    };
    let found = match is_file {
        true => documents.profiles.first(),
        false => documents.profile(given),
    };
    let found = found.cloned().ok_or_else(|| {
        Failure::new(Reason::StreamFailed, "--profile")
            .found(given)
            .expected("a file with a StreamProfile, local, local_parity, dev or prod")
            .exits(worldstream_crds::ExitCode::Usage)
    })?;
    Ok((documents, found))
}

/// Cursors as files go beside the store where that is none of this machine.
fn needs_a_folder(store: &str, profile: &StreamProfileSpec) -> bool {
    let given = &profile.checkpoints;
    store.starts_with("s3://") && given.file.is_none() && given.postgres.is_none()
}

fn trigger(
    asked: &Announced,
    run: &str,
    dir: &Path,
    store: &str,
    profile: &Document<StreamProfileSpec>,
) -> ReadyTriggerSpec {
    ReadyTriggerSpec {
        profile: profile.name.clone(),
        bus: BusSpec {
            file: Some(FileBusSpec {
                root: Some(dir.join("bus").display().to_string()),
                ..FileBusSpec::default()
            }),
            ..BusSpec::default()
        },
        store: ReadyStoreSpec {
            root: store.to_owned(),
            s3: profile.spec.world.s3.clone(),
        },
        facts: Default::default(),
        scope: ScopeSpec {
            platform_run_id: Some(run.to_owned()),
            ..ScopeSpec::default()
        },
        engine_run_root: None,
        stream: StreamOverridesSpec {
            speedup: Some(asked.speedup),
            max_events_per_output: asked.events,
            ..StreamOverridesSpec::default()
        },
        provenance: ProvenanceSpec {
            environment: ENVIRONMENT.to_owned(),
            ..ProvenanceSpec::default()
        },
        concurrency_policy: Default::default(),
        max_active: 1,
        deferral: Default::default(),
        history_limit: 0,
        suspend: false,
        resources: None,
        volumes: Vec::new(),
    }
}

/// A failure of documents, in the words of a failure.
fn failed(error: PlanError) -> Failure {
    match error {
        PlanError::Failure(failure) => failure,
        PlanError::Usage(error) => Failure::new(Reason::StreamFailed, error.place.clone())
            .detail(error.to_string())
            .exits(worldstream_crds::ExitCode::Usage),
    }
}

fn cannot(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Reason::StreamFailed, path.display().to_string()).cause(error)
}
