//! The Jobs of a stream. Each start of an output's workers is a Job of its own, with the number of
//! the run in its name: a Job's template cannot change, its name would be taken until its pods are
//! gone, and its own back-off would hold a stream up whose cursor moves.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use worldstream_crds::{ExitCode, names};

use super::{Child, JOB, Kind, child, labels, note, pod};
use crate::validate::Validated;
use crate::views::{Notes, StreamView};

/// Tells a worker which holders of its checkpoint are gone for sure, by the uids of their pods.
pub const TAKE_OVER: &str = "WORLDSTREAM_TAKE_OVER_FROM";

/// How often a Job tries by itself: for preflight, where nothing is lost by waiting.
const PREFLIGHT_TRIES: i32 = 4;

/// How often a build does, whose pod was killed: what it had sorted is there for the next.
const BUILD_TRIES: i32 = 6;

/// What a Job is made of besides the stream.
#[derive(Clone, Debug)]
pub struct JobOrder<'a> {
    /// What is validated.
    pub validated: &'a Validated,
    /// The ConfigMap with the frozen plan.
    pub plan: &'a str,
    /// The image.
    pub image: &'a str,
}

/// The pod template of an output's workers (or of preflight), and its hash.
pub fn template(
    stream: &StreamView,
    order: &JobOrder<'_>,
    kind: Kind,
    output: Option<&str>,
) -> (Value, String) {
    let template = pod::template(
        stream,
        order.validated,
        kind,
        output,
        order.plan,
        order.image,
    );
    let mut hash = Sha256::new();
    hash.update(&stream.uid);
    hash.update(template.to_string());
    let hash = const_hex::encode(&hash.finalize()[..8]);
    (template, hash)
}

/// A run of an output's workers: one pod a lane.
pub fn worker(
    stream: &StreamView,
    order: &JobOrder<'_>,
    notes: &Notes,
    take_over: &[String],
) -> Child {
    let output = notes.output.as_str();
    let (mut template, hash) = template(stream, order, Kind::Worker, Some(output));
    if !take_over.is_empty()
        && let Some(env) = template["spec"]["containers"][0]["env"].as_array_mut()
    {
        env.push(json!({"name": TAKE_OVER, "value": take_over.join(",")}));
    }
    let lanes = order.validated.lanes;
    let name = names::worker_job(&stream.key.name, output, &format!("{hash}-{}", notes.run));
    let notes = Notes {
        template: hash,
        ..notes.clone()
    };
    let mut body = job(stream, Kind::Worker, Some(output), &notes, name, template);
    let spec = &mut body.body["spec"];
    spec["completionMode"] = "Indexed".into();
    spec["completions"] = lanes.into();
    spec["parallelism"] = lanes.into();
    spec["backoffLimit"] = i32::MAX.into();
    body
}

/// The Job that verifies the world.
pub fn preflight(stream: &StreamView, order: &JobOrder<'_>, notes: &Notes) -> Child {
    let (template, hash) = template(stream, order, Kind::Preflight, None);
    let name = names::preflight_job(&stream.key.name, &format!("{hash}-{}", notes.run));
    let notes = Notes {
        template: hash,
        ..notes.clone()
    };
    let mut body = job(stream, Kind::Preflight, None, &notes, name, template);
    let spec = &mut body.body["spec"];
    spec["completions"] = 1.into();
    spec["parallelism"] = 1.into();
    spec["backoffLimit"] = PREFLIGHT_TRIES.into();
    body
}

/// The Job that builds the view of an output.
pub fn view(stream: &StreamView, order: &JobOrder<'_>, notes: &Notes) -> Child {
    let output = notes.output.as_str();
    let (template, hash) = template(stream, order, Kind::Build, Some(output));
    let name = names::build_job(&stream.key.name, output, &format!("{hash}-{}", notes.run));
    let notes = Notes {
        template: hash,
        ..notes.clone()
    };
    let mut body = job(stream, Kind::Build, Some(output), &notes, name, template);
    let spec = &mut body.body["spec"];
    spec["completions"] = 1.into();
    spec["parallelism"] = 1.into();
    spec["backoffLimit"] = BUILD_TRIES.into();
    body
}

fn job(
    stream: &StreamView,
    kind: Kind,
    output: Option<&str>,
    notes: &Notes,
    name: String,
    template: Value,
) -> Child {
    let fields = json!({
        "metadata": {"annotations": {
            note::OUTPUT: notes.output,
            note::TEMPLATE: notes.template,
            note::RUN: notes.run.to_string(),
            note::CRASHES: notes.crashes.to_string(),
            note::CURSOR: notes.cursor,
            note::RETRY: notes.retry.to_string(),
            note::ATTEMPT: notes.attempt,
        }},
        "spec": {
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": rules()},
            "template": template,
        },
    });
    child(
        stream,
        &JOB,
        name,
        labels(stream, Some(kind.component()), output),
        fields,
    )
}

/// What an exit code means to a Job (the design's table): disruption first, and ignored.
fn rules() -> Value {
    let exits = |action: &str, codes: &[ExitCode]| {
        let codes: Vec<u8> = codes.iter().map(|code| code.code()).collect();
        json!({
            "action": action,
            "onExitCodes": {"containerName": pod::container(), "operator": "In", "values": codes},
        })
    };
    json!([
        {
            "action": "Ignore",
            "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
        },
        exits("Ignore", &[ExitCode::Interrupted]),
        exits(
            "FailJob",
            &[
                ExitCode::Usage,
                ExitCode::FailClosed,
                ExitCode::Refused,
                ExitCode::Fenced,
            ],
        ),
    ])
}
