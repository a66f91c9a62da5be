//! Streams of one identity: which of them has it. Both would send the same events, so the other
//! waits.

use crate::context::Watched;
use crate::decide::ended;
use crate::runs;
use crate::validate::identity;
use crate::views::StreamView;

/// The stream that has the identity of this one, if that is another.
pub fn of(watched: &Watched, stream: &StreamView) -> Option<String> {
    let mut found = None;
    watched.streams.each(|_, other| {
        if goes_before(other, stream) {
            found = Some(other.key.name.clone());
        }
    });
    found
}

/// Whether `other` has what both are. Who has begun has it for good: its checkpoints say what was
/// sent, and `spec.retry` may have it go on, whether it has ended or not. Of those that have not
/// begun it is the eldest that still may.
fn goes_before(other: &StreamView, stream: &StreamView) -> bool {
    if stream.status.started_at.is_some() || ended(stream) {
        return false;
    }
    // One whose run is not made yet will get one of its own.
    let run = runs::known(stream);
    let elder = (other.created, &other.uid) < (stream.created, &stream.uid);
    run.is_some()
        && other.uid != stream.uid
        && other.key.namespace == stream.key.namespace
        && !other.deleting
        && (other.status.started_at.is_some() || elder && !ended(other))
        && runs::known(other) == run
        && identity(other) == identity(stream)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use worldstream_crds::Phase;

    use super::*;
    use crate::fixtures::stream;

    /// Streams of one identity, the elder first.
    fn two() -> (StreamView, StreamView) {
        let of = |name: &str, created: &str| {
            let mut made = stream(json!({}));
            made.key.name = name.into();
            made.uid = format!("uid-{name}");
            made.created = created.parse().unwrap();
            made.spec.platform_run_id = Some("platform_20310504T030000Z".into());
            made.status.started_at = None;
            made.status.completed_at = None;
            made.status.phase = None;
            made
        };
        (
            of("heron", "2031-05-04T03:00:00Z"),
            of("crane", "2031-05-04T03:00:01Z"),
        )
    }

    fn begun(stream: &mut StreamView) {
        stream.status.started_at = Some("2031-05-04T03:01:00Z".into());
    }

    fn ends(stream: &mut StreamView, phase: Phase) {
        stream.status.completed_at = Some("2031-05-04T04:00:00Z".into());
        stream.status.phase = Some(phase);
    }

    #[test]
    fn the_elder_goes_first_and_the_younger_waits() {
        let (heron, crane) = two();
        assert!(goes_before(&heron, &crane));
        assert!(!goes_before(&crane, &heron));
        assert!(!goes_before(&heron, &heron));
    }

    #[test]
    fn who_has_begun_keeps_it_when_it_has_ended_too() {
        for phase in [Phase::Completed, Phase::Failed] {
            let (mut heron, crane) = two();
            begun(&mut heron);
            ends(&mut heron, phase);
            assert!(goes_before(&heron, &crane), "{phase:?}");
        }
    }

    #[test]
    fn one_that_failed_before_it_sent_anything_holds_nobody_up() {
        let (mut heron, mut crane) = two();
        ends(&mut heron, Phase::Failed);
        assert!(!goes_before(&heron, &crane));
        // And when it is tried again, the younger has begun.
        begun(&mut crane);
        let (again, _) = two();
        assert!(goes_before(&crane, &again));
        assert!(!goes_before(&again, &crane));
    }

    #[test]
    fn others_and_those_that_go_are_in_nobodys_way() {
        let (heron, crane) = two();
        let changed = |change: &dyn Fn(&mut StreamView)| {
            let mut other = heron.clone();
            change(&mut other);
            goes_before(&other, &crane)
        };
        assert!(!changed(&|it| it.deleting = true));
        assert!(!changed(&|it| it.key.namespace = "elsewhere".into()));
        assert!(!changed(&|it| it.spec.attempt = Some("second".into())));
        assert!(!changed(
            &|it| it.spec.lanes = Some(serde_json::from_value(json!({"count": 2})).unwrap())
        ));
        assert!(!changed(
            &|it| it.spec.engine_run_root = Some("/hollow/run-8".into())
        ));
        assert!(!changed(&|it| it.spec.platform_run_id = None));
        // The same world, with a slash behind it.
        let root = heron.spec.engine_run_root.clone().unwrap();
        assert!(changed(
            &|it| it.spec.engine_run_root = Some(format!("{root}/"))
        ));
    }
}
