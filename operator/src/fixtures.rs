//! Objects for tests of the pure steps. Their names are none of the product's own, so that a label
//! or a name that is swapped shows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use serde_json::{Value, json};
use worldstream_crds::{
    CursorStatus, OutputPlan, OutputRole, StreamCheckpointSpec, StreamCheckpointStatus,
    WorkerState, WorldStreamStatus,
};

use crate::validate::Output;
use crate::views::{
    CheckpointView, Ended, JobView, Key, Life, Notes, PodView, ProfileView, StreamView,
};

/// The time of all fixtures.
pub fn now() -> Timestamp {
    "2031-05-04T03:02:01Z".parse().unwrap()
}

/// A stream `owl` in `meadow`, with more fields in its spec.
pub fn stream(more: Value) -> StreamView {
    let mut spec = json!({
        "profile": "pond",
        "engineRunRoot": "/hollow/run-7",
        "platformRunId": "platform_20310504T030000Z",
    });
    crate::build::merge(&mut spec, more);
    StreamView {
        key: Key {
            namespace: "meadow".into(),
            name: "owl".into(),
        },
        uid: "uid-owl".into(),
        version: "41".into(),
        generation: 3,
        created: "2031-05-04T03:00:00Z".parse().unwrap(),
        deleting: false,
        finalizers: Vec::new(),
        trigger: String::new(),
        spec: serde_json::from_value(spec).unwrap(),
        status: WorldStreamStatus::default(),
        writers: BTreeMap::new(),
    }
}

/// A profile `pond` with outputs of its own, and with more fields.
pub fn profile(more: Value) -> ProfileView {
    let catalogue = "outputs:\n\
        - {output_id: river_9Z, path_template: data/river, primary_key: [bend]}\n\
        - {output_id: Reed_2, path_template: data/reed, primary_key: [stem]}\n";
    let mut spec = json!({
        "world": {"oracleRoot": "/hollow"},
        "catalogue": {"builtIn": null, "inline": catalogue},
        "trafficOutputs": {"allowlist": {"outputIds": ["river_9Z"]}},
        "contextOutputs": {"fraud": {"outputIds": ["Reed_2"]}, "baseline": {"outputIds": []}},
        "gate": {"url": "https://sluice.example:4443"},
        "producer": {"id": "svc:otter"},
    });
    crate::build::merge(&mut spec, more);
    ProfileView {
        name: "pond".into(),
        generation: 8,
        spec: serde_json::from_value(spec).unwrap(),
    }
}

/// The output of the fixtures.
pub fn output() -> Output {
    Output {
        id: "river_9Z".into(),
        role: OutputRole::Traffic,
    }
}

/// A checkpoint of it, in a state, held by a pod, with the cursor at a row.
pub fn checkpoint(state: WorkerState, holder: &str, row: u64) -> Arc<CheckpointView> {
    Arc::new(CheckpointView {
        name: "owl-river".into(),
        owner: "uid-owl".into(),
        spec: StreamCheckpointSpec::default(),
        status: StreamCheckpointStatus {
            plan: Some(OutputPlan {
                rows: 200,
                ..OutputPlan::default()
            }),
            state: Some(state),
            holder_uid: Some(holder.into()),
            cursor: Some(CursorStatus {
                last_file: "/hollow/part-000000.parquet".into(),
                last_row_index: row,
                last_ts_utc: None,
            }),
            ..StreamCheckpointStatus::default()
        },
        seen: Instant::now(),
    })
}

/// The run of a number, made when the cursor stood at a row.
pub fn job(run: u32, crashes: u32, row: u64) -> Arc<JobView> {
    Arc::new(JobView {
        name: format!("owl-river-{run}"),
        uid: format!("job-{run}"),
        owner: "uid-owl".into(),
        component: "worker".into(),
        notes: Notes {
            output: "river_9Z".into(),
            template: "t".into(),
            run,
            crashes,
            cursor: format!("part-000000.parquet:{row};"),
            ..Notes::default()
        },
        created: now(),
        ..JobView::default()
    })
}

/// A pod of a run.
pub fn pod(run: u32, life: Life, exit: Option<i32>) -> Arc<PodView> {
    Arc::new(PodView {
        name: format!("owl-river-{run}-0"),
        uid: format!("pod-{run}"),
        job: format!("job-{run}"),
        life,
        ended: exit.map(|code| Ended {
            code,
            at: Some(now()),
            ..Ended::default()
        }),
        ..PodView::default()
    })
}
