//! Workers and the StreamClock: nothing early, pauses that stand, revisions that come too late.

use std::time::Duration;

use worldstream_crds::WorkerState;
use worldstream_crds::clock::{Due, Moment, Motion, Revision, Timeline};
use worldstream_crds::time::EventTime;
use worldstream_tests::apiserver::ApiServer;
use worldstream_tests::monotonic;
use worldstream_tests::stream::until;

use crate::stage::{LONG, Stage, TRAFFIC, WALL};

/// What the wall clock is ahead of the monotonic one, here and now.
fn ahead() -> i64 {
    WALL.moment(EventTime::wall_now()).0 - monotonic() as i64
}

/// Two readings of two clocks are never of the same moment.
const SLACK: i64 = 2_000_000;

/// Fails for an arrival before its due moment by the clock as it was published.
fn assert_never_early(stage: &Stage, published: &[Revision], ahead: i64) {
    for arrival in stage.arrivals(TRAFFIC) {
        let at = Moment(arrival.at as i64 + ahead);
        // An arrival may lie behind the revision that it was sent by: it was due by some one that
        // counted up to then.
        let ts = EventTime::parse_rfc3339(&arrival.ts_utc).unwrap();
        let mut timeline = Timeline::default();
        let due_by_some = published.iter().any(|revision| {
            timeline.publish(*revision, Moment(0));
            let began = revision.effective_at.0 - SLACK <= at.0;
            began && matches!(revision.due(ts), Due::At(due) if due.0 <= at.0 + SLACK)
        });
        assert!(due_by_some, "{arrival:?} came early: {published:?}");
    }
}

/// A worker follows every revision from the moment that it names.
pub fn nothing_is_early_and_a_pause_stands(server: &ApiServer) {
    let lead = Duration::from_secs(1);
    let stage = Stage::new(server, "pacing", 2_000, &[], Stage::only_traffic);
    stage.preflight().expect(0);
    let worker = stage.worker(TRAFFIC);
    let primed = stage.until_state(TRAFFIC, WorkerState::Primed);
    let first = primed.next.unwrap();
    let ahead = ahead();
    // A day in 40 seconds.
    let start = stage.running(1, &first, 2_160.0, lead);
    stage.publish(start, 2_160.0);
    until("events arrive", || stage.arrivals(TRAFFIC).len() > 100);
    let now = WALL.moment(EventTime::wall_now());
    let pause = Revision {
        number: 2,
        effective_at: now + lead,
        motion: Motion::Paused,
    };
    stage.publish(pause, 2_160.0);
    let paused = stage.until_state(TRAFFIC, WorkerState::Paused);
    assert_eq!(paused.clock_revision, 2);
    assert_eq!(paused.overshoot, None);
    // What came before the pause is saved, maybe some seconds later.
    let arrived = stage.arrivals(TRAFFIC);
    until("all of it is saved", || {
        let progress = stage.status(TRAFFIC).progress.unwrap_or_default();
        progress.contains(&format!("\"rows\":{},", arrived.len()))
    });
    // At rest: nothing arrives and nothing is written.
    let settled = stage.checkpoint(TRAFFIC, 0);
    let rests_until = monotonic() + 5_000_000_000;
    until("some time passes", || monotonic() > rests_until);
    let rested = stage.checkpoint(TRAFFIC, 0);
    assert_eq!(
        rested.metadata.resource_version, settled.metadata.resource_version,
        "{rested:?}"
    );
    let counts = rested.status.unwrap().counts.unwrap();
    assert_eq!(counts.rows, arrived.len() as u64);
    assert_eq!(stage.arrivals(TRAFFIC).len(), arrived.len());
    let after: Vec<_> = arrived
        .iter()
        .filter(|it| it.at as i64 + ahead > pause.effective_at.0 + 100_000_000)
        .collect();
    assert!(after.is_empty(), "sent in a pause: {after:?}");

    let next = stage.status(TRAFFIC).next.unwrap();
    let resume = stage.running(3, &next, 2_160.0, lead);
    stage.publish(resume, 2_160.0);
    until("it goes on", || {
        stage.arrivals(TRAFFIC).len() > arrived.len() + 50
    });
    assert_eq!(
        stage
            .until_state(TRAFFIC, WorkerState::Streaming)
            .clock_revision,
        3
    );
    // Faster, from where the clock is then.
    let at = WALL.moment(EventTime::wall_now()) + lead;
    let Motion::Running(anchor) = resume.motion else {
        panic!("it runs");
    };
    let mut faster = stage.running(4, &anchor.event_time(at).to_string(), 8_640.0, lead);
    faster.effective_at = at;
    if let Motion::Running(anchor) = &mut faster.motion {
        anchor.wall_epoch = at;
    }
    stage.publish(faster, 8_640.0);
    let mut achieved = None;
    let mut worker = worker;
    until("it is at its end", || {
        achieved = stage.status(TRAFFIC).achieved_speedup.or(achieved);
        worker.ended()
    });
    worker.finish().expect(0);
    assert!(
        achieved.is_some_and(|speedup| speedup > 1_000.0),
        "{achieved:?}"
    );
    assert_never_early(&stage, &[start, pause, resume, faster], ahead);
    let pushes = stage.pushes_by_event(TRAFFIC);
    assert_eq!(pushes.len(), 2_000);
    assert!(pushes.values().all(|count| *count == 1));
}

/// A pause that counted already when it was published: the worker stops at once, says by how much
/// it overshot, and goes on by what comes next.
pub fn a_revision_that_is_learned_late_is_overshot_and_obeyed(server: &ApiServer) {
    let stage = Stage::new(server, "late", 2_000, &[], Stage::only_traffic);
    stage.preflight().expect(0);
    let worker = stage.worker(TRAFFIC);
    let first = stage
        .until_state(TRAFFIC, WorkerState::Primed)
        .next
        .unwrap();
    stage.publish(stage.running(1, &first, 2_160.0, Duration::ZERO), 2_160.0);
    until("events arrive", || stage.arrivals(TRAFFIC).len() > 200);
    let now = WALL.moment(EventTime::wall_now());
    let pause = Revision {
        number: 2,
        effective_at: now - Duration::from_secs(2),
        motion: Motion::Paused,
    };
    stage.publish(pause, 2_160.0);
    let status = stage.until_state(TRAFFIC, WorkerState::Paused);
    let overshoot = status.overshoot.expect("it was late");
    assert_eq!(overshoot.revision, 2);
    assert!(
        Duration::from(overshoot.late) >= Duration::from_secs(2),
        "{overshoot:?}"
    );
    assert!(
        overshoot.events > 0 && overshoot.event_time.is_some(),
        "{overshoot:?}"
    );
    let stands = stage.arrivals(TRAFFIC).len();
    let rests_until = monotonic() + 2_000_000_000;
    until("some time passes", || monotonic() > rests_until);
    assert_eq!(stage.arrivals(TRAFFIC).len(), stands);
    let next = status.next.unwrap();
    stage.publish(
        stage.running(3, &next, 86_400.0, Duration::from_secs(1)),
        86_400.0,
    );
    worker.finish_within(LONG).expect(0);
    let pushes = stage.pushes_by_event(TRAFFIC);
    assert_eq!(pushes.len(), 2_000);
    assert!(pushes.values().all(|count| *count == 1));
}
