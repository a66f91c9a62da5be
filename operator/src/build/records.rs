//! The records of a stream: the frozen plan, its checkpoints and its clock.

use serde_json::json;
use worldstream_crds::names::{self, CheckpointName};

use super::{CHECKPOINT, CLOCK, CONFIG_MAP, Child, child, labels};
use crate::validate::{Output, Validated};
use crate::views::StreamView;

/// The immutable ConfigMap with the plan, named by the plan's hash.
pub fn plan(stream: &StreamView, validated: &Validated) -> Child {
    let name = names::plan(&stream.key.name, &validated.hash);
    let fields = json!({"immutable": true, "data": {"plan.json": validated.text}});
    child(
        stream,
        &CONFIG_MAP,
        name,
        labels(stream, None, None),
        fields,
    )
}

/// The name of a checkpoint.
pub fn checkpoint_name(
    stream: &StreamView,
    run: &str,
    output: &str,
    lane: u32,
    lanes: u32,
) -> String {
    names::checkpoint(CheckpointName {
        stream: &stream.key.name,
        output,
        lane,
        lanes,
        attempt: stream.spec.attempt.as_deref().unwrap_or_default(),
        platform_run_id: run,
    })
}

/// A checkpoint for each output and lane.
pub fn checkpoints(stream: &StreamView, run: &str, outputs: &[Output], lanes: u32) -> Vec<Child> {
    let each = outputs
        .iter()
        .flat_map(|output| (0..lanes).map(move |lane| (output, lane)));
    each.map(|(output, lane)| {
        let name = checkpoint_name(stream, run, &output.id, lane, lanes);
        let fields = json!({"spec": {
            "stream": stream.key.name,
            "output": output.id,
            "role": output.role,
            "lane": lane,
            "lanes": lanes,
            "attempt": stream.spec.attempt.as_deref().unwrap_or_default(),
            "platformRunId": run,
        }});
        let labels = labels(stream, None, Some(&output.id));
        child(stream, &CHECKPOINT, name, labels, fields)
    })
    .collect()
}

/// The clock, before it starts, with the speed that it is to start with.
pub fn clock(stream: &StreamView, speedup: f64) -> Child {
    let name = names::clock(&stream.key.name).to_owned();
    let fields =
        json!({"spec": {"revision": 0, "speedup": speedup, "paused": false, "mode": "Going"}});
    child(stream, &CLOCK, name, labels(stream, None, None), fields)
}
