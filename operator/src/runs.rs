//! Platform runs of streams that name none: made of the second in which the stream was made, or of
//! the next one that no other stream has, as the gate takes the events of a second stream of one
//! platform run for repeats of the first's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::index::Index;
use crate::views::StreamView;

/// How long what was given out is remembered: for longer than its stream's status takes to be
/// written, and to be heard of.
const REMEMBERED: Duration = Duration::from_secs(3_600);

/// The platform run of a stream: the spec's, else the one that is recorded.
pub fn known(stream: &StreamView) -> Option<&str> {
    let given = stream.spec.platform_run_id.as_deref();
    given.or(stream.status.platform_run_id.as_deref())
}

/// What was given out, by the run with the stream's uid: the statuses that say so may still be on
/// their way.
#[derive(Default)]
pub struct Runs(Mutex<BTreeMap<String, String>>);

impl Runs {
    /// The run of a stream that has none yet: the same one each time that it is asked for, and no
    /// other stream's of `streams`.
    pub fn make(&self, stream: &StreamView, streams: &Index<StreamView>, now: Timestamp) -> String {
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = given.iter().find(|(_, uid)| **uid == stream.uid);
        if let Some((run, _)) = mine {
            return run.clone();
        }
        // Runs are in the order of their times, also as texts.
        let forgotten = run_of(now - REMEMBERED);
        given.retain(|run, _| *run >= forgotten);
        let mut taken = BTreeSet::new();
        streams.each(|_, other| {
            if other.uid != stream.uid {
                taken.extend(known(other).map(str::to_owned));
            }
        });
        let run = free(stream.created, |run| {
            taken.contains(run) || given.contains_key(run)
        });
        given.insert(run.clone(), stream.uid.clone());
        run
    }
}

/// The run of a moment, or of the first second after it whose run nobody has.
fn free(moment: Timestamp, taken: impl Fn(&str) -> bool) -> String {
    let mut second = moment;
    loop {
        let run = run_of(second);
        if !taken(&run) {
            return run;
        }
        second += Duration::from_secs(1);
    }
}

/// `platform_20260101T000000Z` of a moment.
fn run_of(moment: Timestamp) -> String {
    moment.strftime("platform_%Y%m%dT%H%M%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use kube::runtime::watcher::Event;
    use serde_json::{Value, json};

    use super::*;
    use crate::fixtures::stream;

    fn of_uid(uid: &str, created: &str) -> StreamView {
        let mut made = stream(json!({}));
        made.spec.platform_run_id = None;
        made.uid = uid.into();
        made.created = created.parse().unwrap();
        made
    }

    /// What is watched: streams with what their spec and their status say.
    fn watched(streams: &[(&str, Value, Value)]) -> Index<StreamView> {
        let index = Index::default();
        for (name, spec, status) in streams {
            let mut object = json!({
                "apiVersion": "worldstream.io/v1alpha1",
                "kind": "WorldStream",
                "metadata": {
                    "name": name, "namespace": "meadow", "uid": format!("uid-{name}"),
                    "resourceVersion": "1", "creationTimestamp": "2031-05-04T03:00:00Z",
                },
                "spec": {"profile": "pond", "engineRunRoot": "/hollow/run-7"},
            });
            crate::build::merge(&mut object["spec"], spec.clone());
            object["status"] = status.clone();
            index.take(
                0,
                None,
                Event::Apply(serde_json::from_value(object).unwrap()),
            );
        }
        index
    }

    #[test]
    fn streams_of_one_second_get_the_next_free_ones_and_keep_them() {
        let at = "2031-05-04T23:59:58Z";
        let (runs, index) = (Runs::default(), watched(&[]));
        let make = |uid| runs.make(&of_uid(uid, at), &index, at.parse().unwrap());
        assert_eq!(make("otter"), "platform_20310504T235958Z");
        assert_eq!(make("newt"), "platform_20310504T235959Z");
        assert_eq!(make("toad"), "platform_20310505T000000Z");
        assert_eq!(make("newt"), "platform_20310504T235959Z", "the same again");
    }

    #[test]
    fn what_others_name_or_have_recorded_is_not_free() {
        let index = watched(&[
            (
                "heron",
                json!({"platformRunId": "platform_20310504T030000Z"}),
                json!({}),
            ),
            (
                "crane",
                json!({}),
                json!({"platformRunId": "platform_20310504T030001Z"}),
            ),
            // Not recorded yet: nobody knows what it will get.
            ("stork", json!({}), json!({})),
            // The stream itself, as an operator before this one recorded it.
            (
                "egret",
                json!({}),
                json!({"platformRunId": "platform_20310504T030002Z"}),
            ),
        ]);
        let now = "2031-05-04T03:00:05Z".parse().unwrap();
        let run = Runs::default().make(&of_uid("uid-egret", "2031-05-04T03:00:00Z"), &index, now);
        assert_eq!(run, "platform_20310504T030002Z");
    }

    #[test]
    fn what_was_given_out_long_ago_is_left_to_the_statuses() {
        let (runs, index) = (Runs::default(), watched(&[]));
        let make = |uid, created: &str, now: &str| {
            runs.make(&of_uid(uid, created), &index, now.parse().unwrap())
        };
        make("otter", "2031-05-04T03:00:00Z", "2031-05-04T03:00:01Z");
        make("newt", "2031-05-04T05:00:00Z", "2031-05-04T05:00:01Z");
        assert_eq!(runs.0.lock().unwrap().len(), 1);
    }

    #[test]
    fn ten_at_once_get_ten() {
        let at = "2031-05-04T03:00:00Z";
        let (runs, index) = (Runs::default(), watched(&[]));
        let made: BTreeSet<String> = std::thread::scope(|scope| {
            let one = |number: usize| {
                let (runs, index) = (&runs, &index);
                let uid = number.to_string();
                scope.spawn(move || runs.make(&of_uid(&uid, at), index, at.parse().unwrap()))
            };
            let all: Vec<_> = (0..10).map(one).collect();
            all.into_iter().map(|it| it.join().unwrap()).collect()
        });
        assert_eq!(made.len(), 10);
    }
}
