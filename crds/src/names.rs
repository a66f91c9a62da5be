//! Names of what the operator makes, and the labels that it carries. Output ids have capitals and
//! underscores, and streams may have long names: so every name of a child comes from here, is
//! readable, and ends in a hash of the exact parts, so that no two children share one.

use sha2::{Digest, Sha256};

/// The most characters that a child's name has: a Job's pods add an index and a suffix to it, and
/// 63 is their limit.
pub const LONGEST: usize = 52;

/// The most characters of a WorldStream's name: it is the value of a label.
pub const LONGEST_STREAM: usize = 63;

/// `app.kubernetes.io/name` and its value.
pub const LABEL_NAME: (&str, &str) = ("app.kubernetes.io/name", "worldstream");
/// `app.kubernetes.io/managed-by` and its value.
pub const LABEL_MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "worldstream-operator");
/// The label with the WorldStream's name.
pub const LABEL_STREAM: &str = "worldstream.io/stream";
/// The label with [`dns`] of the output's id.
pub const LABEL_OUTPUT: &str = "worldstream.io/output";
/// The label that says what a child is for: [`PREFLIGHT`], [`BUILD`] or [`WORKER`].
pub const LABEL_COMPONENT: &str = "worldstream.io/component";
/// Verifies a world and writes the plans.
pub const PREFLIGHT: &str = "preflight";
/// Builds the view of an output that has none.
pub const BUILD: &str = "build-view";
/// Streams one output, or a lane of it.
pub const WORKER: &str = "worker";
/// Follows a control bus.
pub const TRIGGER: &str = "trigger";
/// The finalizer of a WorldStream whose pods have to be stopped first.
pub const FINALIZER: &str = "worldstream.io/stop";
/// The finalizer of a WorldStream that a READY message asked for: it stays until the message's
/// record is appended.
pub const READY_FINALIZER: &str = "worldstream.io/ready-record";
/// The label with the ReadyTrigger's name, of what it is made of and of the WorldStreams that it
/// makes.
pub const LABEL_TRIGGER: &str = "worldstream.io/trigger";
/// The annotation of a WorldStream with the id of the READY message that asked for it.
pub const READY_MESSAGE: &str = "worldstream.io/ready-message";
/// The annotation of a WorldStream with the status of its message's record, once it is appended.
pub const READY_RECORD: &str = "worldstream.io/ready-record";

/// Who a StreamCheckpoint is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointName<'a> {
    /// The WorldStream.
    pub stream: &'a str,
    /// The output's exact id.
    pub output: &'a str,
    /// The lane, from 0.
    pub lane: u32,
    /// How many lanes there are.
    pub lanes: u32,
    /// The attempt, empty by default.
    pub attempt: &'a str,
    /// The platform run.
    pub platform_run_id: &'a str,
}

/// The name of a StreamCheckpoint: one for each output, lane and attempt.
pub fn checkpoint(key: CheckpointName<'_>) -> String {
    let CheckpointName {
        stream,
        output,
        lane,
        lanes,
        attempt,
        platform_run_id,
    } = key;
    let shown = match lanes {
        1 => String::new(),
        _ => format!("{lane}of{lanes}"),
    };
    let (lane, lanes) = (lane.to_string(), lanes.to_string());
    named(
        &[stream, output, &shown],
        &[stream, output, &lane, &lanes, attempt, platform_run_id],
    )
}

/// The name of an output's Job. `template` is a hash of what decides the pod: a changed template
/// is another Job, which replaces the old one on purpose.
pub fn worker_job(stream: &str, output: &str, template: &str) -> String {
    named(&[stream, output], &[WORKER, stream, output, template])
}

/// The name of a preflight Job, by a hash of what decides the pod.
pub fn preflight_job(stream: &str, template: &str) -> String {
    named(&[stream, PREFLIGHT], &[PREFLIGHT, stream, template])
}

/// The name of the Job that builds an output's view, by a hash of what decides the pod.
pub fn build_job(stream: &str, output: &str, template: &str) -> String {
    named(
        &[stream, "view", output],
        &[BUILD, stream, output, template],
    )
}

/// The name of the immutable ConfigMap with a stream's plan, by the plan's hash.
pub fn plan(stream: &str, hash: &str) -> String {
    named(&[stream, "plan"], &["plan", stream, hash])
}

/// The name of a stream's ServiceAccount, Role and RoleBinding for one kind of pod.
pub fn role(stream: &str, component: &str) -> String {
    named(&[stream, component], &["role", stream, component])
}

/// The name of a ReadyTrigger's Deployment, ServiceAccount, Role and RoleBinding. Rights to what
/// its gate conditions name are given to this ServiceAccount.
pub fn trigger(trigger: &str) -> String {
    format!("{trigger}-{TRIGGER}")
}

/// The name of the immutable ConfigMap with a trigger's plan, by the plan's hash.
pub fn trigger_plan(trigger: &str, hash: &str) -> String {
    named(&[trigger, TRIGGER], &["trigger-plan", trigger, hash])
}

/// The name of the WorldStream of a READY message: the same message has the same one, which makes
/// the API server a guard against repeats.
pub fn ready_stream(trigger: &str, message_id: &str) -> String {
    let shown: String = message_id.chars().take(20).collect();
    named(&[trigger, &shown], &["ready-stream", trigger, message_id])
}

/// The name of a stream's StreamClock: the stream's own.
pub fn clock(stream: &str) -> &str {
    stream
}

/// An output's id as a label's value: lower case, hyphens, a short hash of the exact id.
pub fn dns(output: &str) -> String {
    named(&[output], &[output])
}

/// The parts that are shown, joined by hyphens, and a hash of those that count; at most
/// [`LONGEST`] characters, of which the longest part is cut first.
fn named(shown: &[&str], exact: &[&str]) -> String {
    let hash = short_hash(exact);
    let mut parts: Vec<String> = shown
        .iter()
        .map(|part| plain(part))
        .filter(|part| !part.is_empty())
        .collect();
    let length = |parts: &[String]| parts.iter().map(|part| part.len() + 1).sum::<usize>();
    while length(&parts) + hash.len() > LONGEST {
        match parts.iter_mut().max_by_key(|part| part.len()) {
            Some(longest) => longest.pop(),
            None => break,
        };
    }
    let mut name = String::new();
    for part in &parts {
        // A name begins with a letter: some objects' names must.
        let part = part.trim_matches('-');
        let part = match name.is_empty() {
            true => part.trim_start_matches(|c: char| !c.is_ascii_lowercase()),
            false => part,
        };
        if !part.is_empty() {
            name.push_str(part);
            name.push('-');
        }
    }
    if name.is_empty() {
        name.push_str("ws-");
    }
    name + &hash
}

/// Lower-case letters, digits and hyphens alone.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c.to_ascii_lowercase() {
            c if c.is_ascii_lowercase() || c.is_ascii_digit() => plain.push(c),
            _ if plain.ends_with('-') => {}
            _ => plain.push('-'),
        }
    }
    plain.trim_matches('-').to_owned()
}

/// The first ten hex digits of the sha256 of the parts, each with its length before it.
pub fn short_hash(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    const_hex::encode(&hash.finalize()[..5])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const LEGAL: &str = "a name of lower-case letters, digits and hyphens";

    fn check(name: &str) {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(name.len() <= LONGEST, "{name}: {} characters", name.len());
        assert!(name.chars().all(inner), "{name} is not {LEGAL}");
        assert!(name.starts_with(|c: char| c.is_ascii_lowercase()), "{name}");
        assert!(!name.contains("--") && !name.ends_with('-'), "{name}");
    }

    #[test]
    fn names_are_readable_and_legal_whatever_they_are_made_of() {
        let long = "replay-of-the-whole-year-2026-with-every-output-there-is.v2";
        let streams = ["jan", "a.b.c", "7-days", "x", long, "-"];
        let outputs = [
            "s3_event_stream_with_fraud_6B",
            "OUT",
            "__",
            "ü/ö",
            "5B",
            long,
        ];
        let mut seen = BTreeSet::new();
        for stream in streams {
            for name in [
                role(stream, WORKER),
                preflight_job(stream, "t"),
                plan(stream, "h"),
                trigger_plan(stream, "h"),
                ready_stream(
                    stream,
                    "0000000000000000000000000000000000000000000000000000000000000001",
                ),
                ready_stream(
                    stream,
                    "0000000000000000000000000000000000000000000000000000000000000002",
                ),
            ] {
                check(&name);
                assert!(seen.insert(name));
            }
            for output in outputs {
                let job = worker_job(stream, output, "t1");
                check(&job);
                assert_ne!(job, worker_job(stream, output, "t2"));
                assert!(seen.insert(job));
            }
        }
        for output in outputs {
            check(&dns(output));
        }
        let job = worker_job("jan", "s3_event_stream_with_fraud_6B", "t");
        assert!(
            job.starts_with("jan-s3-event-stream-with-fraud-6b-"),
            "{job}"
        );
        // Cutting leaves something of every part.
        let job = worker_job(long, "s3_event_stream_with_fraud_6B", "t");
        assert!(
            job.starts_with("replay-of-the-whole-") && job.contains("-s3-event-"),
            "{job}"
        );
    }

    #[test]
    fn what_differs_in_case_alone_has_another_name() {
        assert_ne!(dns("out_5B"), dns("out_5b"));
        assert_ne!(dns("out_5B"), dns("out-5B"));
        assert_eq!(dns("out_5B"), dns("out_5B"));
    }

    #[test]
    fn a_checkpoint_is_named_by_output_lane_attempt_and_run() {
        let key = CheckpointName {
            stream: "jan",
            output: "arrival_events_5B",
            lane: 0,
            lanes: 1,
            attempt: "",
            platform_run_id: "platform_20260101T000000Z",
        };
        let whole = checkpoint(key);
        check(&whole);
        assert!(whole.starts_with("jan-arrival-events-5b-"), "{whole}");
        let lane = checkpoint(CheckpointName {
            lane: 3,
            lanes: 8,
            ..key
        });
        assert!(lane.starts_with("jan-arrival-events-5b-3of8-"), "{lane}");
        let others = [
            CheckpointName { lanes: 2, ..key },
            CheckpointName {
                attempt: "2",
                ..key
            },
            CheckpointName {
                platform_run_id: "platform_20260101T000001Z",
                ..key
            },
            CheckpointName {
                stream: "jan-arrival",
                output: "events_5B",
                ..key
            },
        ];
        for other in others {
            assert_ne!(checkpoint(other), whole);
        }
    }
}
