use super::*;
use crate::clock::Due;

const SECOND: i64 = 1_000_000_000;

fn at(seconds: i64) -> EventTime {
    EventTime::from_micros(seconds * 1_000_000).unwrap()
}

fn output(next: i64, known: u64) -> Observation {
    Observation {
        next: at(next),
        oldest: at(next),
        known,
    }
}

fn settings(speedup: f64, overload: Overload) -> Settings {
    Settings {
        speedup,
        paused: false,
        overload,
        max_lag: Duration::from_secs(5),
        lead: Duration::ZERO,
    }
}

fn now_command(command: Command) -> Change {
    Change {
        command,
        effective_at: None,
    }
}

#[test]
fn the_epoch_is_the_lowest_next_event_time() {
    let outputs = [output(30, 0), output(20, 0), output(40, 0)];
    let (_, first) = Authority::start(settings(2.0, Overload::Hold), Moment(100), &outputs);
    assert_eq!(first.due(at(20)), Due::At(Moment(100)));
    assert_eq!(first.due(at(30)), Due::At(Moment(100 + 5 * SECOND)));
}

#[test]
fn a_new_speed_goes_on_where_the_clock_is() {
    let outputs = [output(0, 1)];
    let (mut authority, _) = Authority::start(settings(1.0, Overload::Hold), Moment(0), &outputs);
    let change = Change {
        command: Command::Speed(10.0),
        effective_at: Some(Moment(20 * SECOND)),
    };
    let faster = authority
        .command(change, Moment(10 * SECOND), &outputs)
        .unwrap();
    assert_eq!(faster.effective_at, Moment(20 * SECOND));
    assert_eq!(faster.due(at(20)), Due::At(Moment(20 * SECOND)));
    assert_eq!(faster.due(at(120)), Due::At(Moment(30 * SECOND)));
    assert_eq!(
        authority.command(
            now_command(Command::Speed(10.0)),
            Moment(25 * SECOND),
            &outputs
        ),
        None
    );
}

#[test]
fn a_pause_ends_at_the_lowest_next_event_time() {
    let outputs = [output(8, 1), output(5, 1)];
    let (mut authority, _) = Authority::start(settings(1.0, Overload::Hold), Moment(0), &outputs);
    let pause = authority
        .command(now_command(Command::Pause), Moment(SECOND), &outputs)
        .unwrap();
    assert_eq!(pause.due(at(0)), Due::Not);
    // Not everybody knows of the pause yet: the resume waits for that.
    assert_eq!(
        authority.command(now_command(Command::Resume), Moment(2 * SECOND), &outputs),
        None
    );
    assert_eq!(authority.observe(Moment(3 * SECOND), &outputs), Ok(None));
    let known = [output(8, 2), output(5, 2)];
    let resumed = authority
        .observe(Moment(60 * SECOND), &known)
        .unwrap()
        .unwrap();
    assert_eq!(resumed.due(at(5)), Due::At(Moment(60 * SECOND)));
    assert_eq!(resumed.due(at(8)), Due::At(Moment(63 * SECOND)));
}

#[test]
fn leaving_no_waiting_stands_and_then_starts_at_the_lowest() {
    let outputs = [output(0, 1), output(0, 1)];
    let (mut authority, first) =
        Authority::start(settings(0.0, Overload::Hold), Moment(0), &outputs);
    assert_eq!(first.due(at(999)), Due::Anytime);
    let stop = authority
        .command(now_command(Command::Speed(2.0)), Moment(SECOND), &outputs)
        .unwrap();
    assert_eq!(stop.motion, Motion::Paused);
    let outputs = [output(500, 2), output(300, 1)];
    assert_eq!(authority.observe(Moment(2 * SECOND), &outputs), Ok(None));
    let outputs = [output(500, 2), output(310, 2)];
    let going = authority
        .observe(Moment(3 * SECOND), &outputs)
        .unwrap()
        .unwrap();
    assert_eq!(going.due(at(310)), Due::At(Moment(3 * SECOND)));
    assert_eq!(going.due(at(500)), Due::At(Moment(98 * SECOND)));
}

#[test]
fn a_hold_stands_where_the_limit_was_reached_and_goes_on_from_there() {
    let outputs = [output(10, 1), output(10, 1)];
    let (mut authority, _) = Authority::start(settings(1.0, Overload::Hold), Moment(0), &outputs);
    // One output is still at 12 s when the clock is at 16.9 s: within the limit.
    let outputs = [output(12, 1), output(27, 1)];
    assert_eq!(authority.observe(Moment(6 * SECOND), &outputs), Ok(None));
    // Everybody was stopped for a minute: the clock stands at 12 + 5, not a minute on.
    let held = authority
        .observe(Moment(66 * SECOND), &outputs)
        .unwrap()
        .unwrap();
    assert_eq!(held.due(at(17)), Due::At(Moment(7 * SECOND)));
    assert_eq!(held.due(at(18)), Due::Not);
    assert_eq!(authority.observe(Moment(67 * SECOND), &outputs), Ok(None));
    let caught_up = [output(18, 2), output(27, 2)];
    let going = authority
        .observe(Moment(70 * SECOND), &caught_up)
        .unwrap()
        .unwrap();
    assert_eq!(going.due(at(17)), Due::At(Moment(70 * SECOND)));
    assert_eq!(going.due(at(27)), Due::At(Moment(80 * SECOND)));
}

#[test]
fn the_policy_decides_about_lag() {
    let late = [output(0, 1), output(60, 1)];
    let (mut catching_up, _) = Authority::start(settings(1.0, Overload::CatchUp), Moment(0), &late);
    assert_eq!(catching_up.observe(Moment(60 * SECOND), &late), Ok(None));
    let (mut failing, _) = Authority::start(settings(1.0, Overload::Fail), Moment(0), &late);
    assert_eq!(
        failing.observe(Moment(60 * SECOND), &late),
        Err(Overdue {
            output: 0,
            lag: Duration::from_secs(60)
        })
    );
}

#[test]
fn a_pause_in_a_hold_and_a_speed_in_a_pause() {
    let outputs = [output(0, 9)];
    let (mut authority, _) = Authority::start(settings(1.0, Overload::Hold), Moment(0), &outputs);
    assert!(
        authority
            .observe(Moment(9 * SECOND), &outputs)
            .unwrap()
            .is_some()
    );
    assert!(
        authority
            .command(now_command(Command::Pause), Moment(10 * SECOND), &outputs)
            .is_some()
    );
    assert_eq!(
        authority.command(
            now_command(Command::Speed(0.0)),
            Moment(11 * SECOND),
            &outputs
        ),
        None
    );
    let going = authority
        .command(now_command(Command::Resume), Moment(12 * SECOND), &outputs)
        .unwrap();
    assert_eq!(going.motion, Motion::Unpaced);
}

#[test]
fn a_hold_that_takes_time_to_be_known_stands_where_all_may_be_by_then() {
    let with = |lead| Settings {
        lead: Duration::from_secs(lead),
        ..settings(1.0, Overload::Hold)
    };
    let held = |lead, told: i64| {
        let outputs = [output(10, 1), output(30, 1)];
        let start = Moment(-(lead as i64) * SECOND / 2);
        let (mut authority, _) = Authority::start(with(lead), start, &[output(0, 0)]);
        let now = Moment(told * SECOND);
        match authority.observe(now, &outputs).unwrap().unwrap() {
            Revision {
                motion: Motion::Held { at, .. },
                effective_at,
                ..
            } => {
                assert_eq!(effective_at, now);
                at.micros() / 1_000_000
            }
            other => panic!("{other:?}"),
        }
    };
    // Due at 10, late from 15 on. In one process everybody knows at once.
    assert_eq!(held(0, 18), 15);
    assert_eq!(held(2, 18), 20);
    // Told much too late: nobody is to run ahead.
    assert_eq!(held(2, 3_600), 22);
}

#[test]
fn what_begins_to_run_takes_half_the_lead() {
    let lead = |seconds| Settings {
        lead: Duration::from_secs(seconds),
        ..settings(1.0, Overload::Hold)
    };
    let from = |revision: Revision| revision.effective_at.0 / SECOND;
    let (mut authority, first) = Authority::start(lead(2), Moment(0), &[output(0, 0)]);
    assert_eq!(from(first), 1);
    let outputs = [output(10, 1)];
    let now = |seconds: i64| Moment(seconds * SECOND);
    let slower = now_command(Command::Speed(0.5));
    let slower = authority.command(slower, now(10), &outputs).unwrap();
    assert_eq!(from(slower), 12);
    let pause = authority.command(now_command(Command::Pause), now(20), &outputs);
    assert_eq!(from(pause.unwrap()), 22);
    let stands = [output(16, 3)];
    let resume = authority.command(now_command(Command::Resume), now(30), &stands);
    assert_eq!(from(resume.unwrap()), 31);
    // Held for an output that says nothing, and released when it has caught up.
    let held = authority.observe(now(50), &stands).unwrap().unwrap();
    assert!(matches!(held.motion, Motion::Held { .. }), "{held:?}");
    let released = authority.observe(now(60), &[output(90, 5)]);
    assert_eq!(from(released.unwrap().unwrap()), 61);
}

#[test]
fn another_process_goes_on_with_what_was_published() {
    let set = settings(2.0, Overload::Hold);
    let outputs = [output(8, 1), output(5, 1)];
    let (mut first, _) = Authority::start(set, Moment(0), &outputs);
    assert_eq!(first.mode(), Mode::Going);
    let pause = first.command(now_command(Command::Pause), Moment(SECOND), &outputs);
    assert_eq!(first.mode(), Mode::Paused);
    let mut next = Authority::resume(*first.settings(), first.mode(), pause.unwrap());
    assert_eq!((next.mode(), next.newest().number), (Mode::Paused, 2));
    assert_eq!(next.observe(Moment(2 * SECOND), &outputs), Ok(None));
    // Somebody lets it go on while not all stand: it settles, whoever decides by then.
    let resume = now_command(Command::Resume);
    assert_eq!(next.command(resume, Moment(3 * SECOND), &outputs), None);
    assert_eq!(next.mode(), Mode::Settling);
    let mut last = Authority::resume(set, next.mode(), *next.newest());
    let known = [output(8, 2), output(5, 2)];
    let going = last.observe(Moment(9 * SECOND), &known).unwrap().unwrap();
    assert_eq!(
        (going.number, going.due(at(5))),
        (3, Due::At(Moment(9 * SECOND)))
    );
    assert_eq!(last.mode(), Mode::Going);
}

#[test]
fn nothing_to_stream_starts_all_the_same() {
    let (mut authority, first) = Authority::start(settings(1.0, Overload::Hold), Moment(3), &[]);
    assert_eq!(first.number, 1);
    assert_eq!(authority.observe(Moment(SECOND), &[]), Ok(None));
}
