//! One stream in a namespace of its own: its world, gate, plan and objects, and the processes that
//! its pods would be.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tempfile::TempDir;
use worldstream::plan::{CheckpointStorePlan, RunFlags, StreamPlan};
use worldstream_crds::clock::{Anchor, Motion, Revision, WallOffset, published};
use worldstream_crds::names::{self, CheckpointName};
use worldstream_crds::time::EventTime;
use worldstream_crds::{
    OutputRole, RevisionSpec, StreamCheckpoint, StreamCheckpointSpec, StreamCheckpointStatus,
    StreamClock, StreamClockSpec, WorkerState,
};
use worldstream_tests::apiserver::{ApiServer, blocking};
use worldstream_tests::inside::whole_lines;
use worldstream_tests::stream::until;
use worldstream_tests::{
    Arrival, Finished, GateProcess, MadeWorld, PLATFORM_RUN_ID, Program, Running, run,
};

/// The stream's name; the namespace is the case's own.
pub const STREAM: &str = "january";
pub const LONG: Duration = Duration::from_secs(120);
/// Outputs of profile `local` in mode fraud.
pub const TRAFFIC: &str = "s3_event_stream_with_fraud_6B";

/// Wall nanoseconds are the test's moments, as they are the operator's.
pub const WALL: WallOffset = WallOffset::NONE;

pub struct Stage<'a> {
    pub server: &'a ApiServer,
    pub dir: TempDir,
    pub world: MadeWorld,
    pub gate: GateProcess,
    pub plan: StreamPlan,
    pub namespace: String,
    pods: AtomicU32,
}

impl<'a> Stage<'a> {
    /// A stream of a sample world whose cursors are in its StreamCheckpoints, changed as `change`
    /// says.
    pub fn new(
        server: &'a ApiServer,
        namespace: &str,
        rows: u64,
        gate: &[&str],
        change: impl FnOnce(&mut StreamPlan),
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let world = MadeWorld::sample(rows, 1, |_| {});
        let gate = GateProcess::start(&dir.path().join("gate"), gate);
        let mut plan = worldstream::plan::plan(&RunFlags {
            profile: Some("local".into()),
            engine_run_root: Some(world.root()),
            platform_run_id: Some(PLATFORM_RUN_ID.into()),
            gate_url: Some(gate.url.clone()),
            runs_root: Some(dir.path().join("runs")),
            speedup: Some(0.0),
            in_flight: Some(1),
            ..RunFlags::default()
        })
        .unwrap();
        plan.checkpoint.store = CheckpointStorePlan::Kubernetes {};
        plan.checkpoint.unavailable_for = LONG;
        change(&mut plan);
        let stage = Stage {
            server,
            dir,
            world,
            gate,
            plan,
            namespace: namespace.to_owned(),
            pods: AtomicU32::new(0),
        };
        stage.write_plan();
        stage.make_objects();
        stage
    }

    /// Sends one output, the traffic, alone.
    pub fn only_traffic(plan: &mut StreamPlan) {
        plan.world.selection.context_fraud.clear();
        plan.world.selection.context_baseline.clear();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write_plan(&self) {
        let text = serde_json::to_string(&self.plan).unwrap();
        std::fs::write(self.path("plan.json"), text).unwrap();
    }

    /// The outputs that the plan selects.
    pub fn outputs(&self) -> Vec<String> {
        let world = blocking(worldstream::world::verify(&self.plan.world)).unwrap();
        world.outputs.into_iter().map(|output| output.id).collect()
    }

    pub fn name_of(&self, output: &str, lane: u32) -> String {
        names::checkpoint(CheckpointName {
            stream: STREAM,
            output,
            lane,
            lanes: self.plan.identity.lanes.count,
            attempt: &self.plan.identity.attempt,
            platform_run_id: &self.plan.identity.platform_run_id,
        })
    }

    /// What the operator makes before any pod: the namespace, the checkpoints, the clock, and the
    /// rights of the stream's pods, which are all that these processes have.
    fn make_objects(&self) {
        let meta = |name: &str| ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        };
        let params = PostParams::default();
        let mut checkpoints = Vec::new();
        for output in self.outputs() {
            for lane in 0..self.plan.identity.lanes.count {
                checkpoints.push((output.clone(), lane, self.name_of(&output, lane)));
            }
        }
        let names: Vec<_> = checkpoints
            .iter()
            .map(|(_, _, name)| name.clone())
            .collect();
        blocking(async {
            let client = self.server.client().await;
            let namespaces: Api<Namespace> = Api::all(client.clone());
            let namespace = Namespace {
                metadata: meta(&self.namespace),
                ..Namespace::default()
            };
            namespaces.create(&params, &namespace).await.unwrap();
            let api: Api<StreamCheckpoint> = Api::namespaced(client.clone(), &self.namespace);
            for (output, lane, name) in checkpoints {
                let spec = StreamCheckpointSpec {
                    stream: STREAM.into(),
                    output,
                    role: OutputRole::Traffic,
                    lane,
                    lanes: self.plan.identity.lanes.count,
                    attempt: self.plan.identity.attempt.clone(),
                    platform_run_id: self.plan.identity.platform_run_id.clone(),
                };
                let checkpoint = StreamCheckpoint::new(&name, spec);
                api.create(&params, &checkpoint).await.unwrap();
            }
            let clocks: Api<StreamClock> = Api::namespaced(client.clone(), &self.namespace);
            let clock = StreamClock::new(STREAM, StreamClockSpec::default());
            clocks.create(&params, &clock).await.unwrap();

            let rule = |resource: &str, verbs: &[&str], names: Vec<String>| PolicyRule {
                api_groups: Some(vec!["worldstream.io".into()]),
                resources: Some(vec![resource.into()]),
                resource_names: Some(names),
                verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
                ..PolicyRule::default()
            };
            let roles: Api<Role> = Api::namespaced(client.clone(), &self.namespace);
            let role = Role {
                metadata: meta("worker"),
                rules: Some(vec![
                    rule(
                        "streamclocks",
                        &["get", "list", "watch"],
                        vec![STREAM.into()],
                    ),
                    rule("streamcheckpoints", &["get"], names.clone()),
                    rule("streamcheckpoints/status", &["get", "patch"], names),
                ]),
            };
            roles.create(&params, &role).await.unwrap();
            let bindings: Api<RoleBinding> = Api::namespaced(client, &self.namespace);
            let binding = RoleBinding {
                metadata: meta("worker"),
                role_ref: RoleRef {
                    api_group: Some("rbac.authorization.k8s.io".into()),
                    kind: "Role".into(),
                    name: "worker".into(),
                },
                subjects: Some(vec![Subject {
                    kind: "User".into(),
                    name: "worker".into(),
                    ..Subject::default()
                }]),
            };
            bindings.create(&params, &binding).await.unwrap();
        });
    }

    fn pod(&self, command: &str) -> Program {
        let stream = format!("{}/{STREAM}", self.namespace);
        run([command, "--stream", &stream, "--plan"])
            .args([self.path("plan.json").display().to_string()])
            .args([
                "--termination-log".into(),
                self.last_words().display().to_string(),
            ])
            .env("KUBECONFIG", &self.server.worker().display().to_string())
            .env("RUST_LOG", "info")
    }

    fn last_words(&self) -> PathBuf {
        self.path("termination-log")
    }

    /// What the last pod that ended left; they are taken away.
    pub fn ending(&self) -> Value {
        let text = std::fs::read_to_string(self.last_words()).expect("last words");
        std::fs::remove_file(self.last_words()).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Runs preflight to its end.
    pub fn preflight(&self) -> Finished {
        self.pod("preflight").start().finish_within(LONG)
    }

    /// A worker's command, as the pod of a Job.
    pub fn worker_of(&self, output: &str, lane: u32, job: &str) -> Program {
        let pod = self.pods.fetch_add(1, Ordering::Relaxed);
        self.pod("worker")
            .args(["--output", output])
            .env("JOB_NAME", job)
            .env("JOB_COMPLETION_INDEX", &lane.to_string())
            .env("POD_NAME", &format!("{job}-{lane}-{pod:05}"))
            .env("POD_UID", &format!("uid-{pod}"))
    }

    /// Starts a worker of an output without lanes, in the output's one Job.
    pub fn worker(&self, output: &str) -> Running {
        self.worker_of(output, 0, &names::worker_job(STREAM, output, "t"))
            .args(["--listen", "127.0.0.1:0"])
            .start()
    }

    /// A worker of a lane of the traffic.
    pub fn lane(&self, lane: u32) -> Program {
        self.worker_of(TRAFFIC, lane, "job-a")
            .args(["--listen", "127.0.0.1:0"])
    }

    /// A StreamCheckpoint as it is now.
    pub fn checkpoint(&self, output: &str, lane: u32) -> StreamCheckpoint {
        let name = self.name_of(output, lane);
        blocking(async {
            let client = self.server.client().await;
            let api: Api<StreamCheckpoint> = Api::namespaced(client, &self.namespace);
            api.get(&name).await.unwrap()
        })
    }

    /// Its status.
    pub fn status(&self, output: &str) -> StreamCheckpointStatus {
        self.checkpoint(output, 0).status.unwrap_or_default()
    }

    /// Waits until a worker says so.
    pub fn until_state(&self, output: &str, state: WorkerState) -> StreamCheckpointStatus {
        until(
            &format!("{output} is {state:?} in {}", self.namespace),
            || self.status(output).state == Some(state),
        );
        self.status(output)
    }

    /// Publishes a revision, as the operator does.
    pub fn publish(&self, revision: Revision, speedup: f64) -> RevisionSpec {
        let spec = published::spec(&revision, speedup, WALL);
        blocking(async {
            let client = self.server.client().await;
            let api: Api<StreamClock> = Api::namespaced(client, &self.namespace);
            let mut clock = api.get(STREAM).await.unwrap().spec;
            clock.publish(spec.clone());
            let patch = json!({ "spec": clock });
            api.patch(STREAM, &PatchParams::default(), &Patch::Merge(patch))
                .await
                .unwrap();
        });
        spec
    }

    /// Starts the clock without waiting for anything.
    pub fn start_unpaced(&self) {
        let now = WALL.moment(EventTime::wall_now());
        self.publish(
            Revision {
                number: 1,
                effective_at: now,
                motion: Motion::Unpaced,
            },
            0.0,
        );
    }

    /// A revision by which event time goes on from `epoch` at a speed, a moment from now.
    pub fn running(&self, number: u64, epoch: &str, speedup: f64, lead: Duration) -> Revision {
        let at = WALL.moment(EventTime::wall_now()) + lead;
        Revision {
            number,
            effective_at: at,
            motion: Motion::Running(Anchor {
                event_epoch: EventTime::parse_rfc3339(epoch).unwrap(),
                wall_epoch: at,
                speedup,
            }),
        }
    }

    /// What arrived of an output, in order.
    pub fn arrivals(&self, output: &str) -> Vec<Arrival> {
        // What the gate has seen up to now is in its file when this returns.
        self.gate.summary();
        whole_lines(&self.gate.record_all)
            .iter()
            .map(|line| serde_json::from_str::<Arrival>(line).expect("an arrival"))
            .filter(|arrival| arrival.event_type == output)
            .collect()
    }

    /// Pushes that arrived, by event id.
    pub fn pushes_by_event(&self, output: &str) -> BTreeMap<String, usize> {
        let mut pushes = BTreeMap::new();
        for arrival in self.arrivals(output) {
            *pushes.entry(arrival.event_id).or_default() += 1;
        }
        pushes
    }
}
