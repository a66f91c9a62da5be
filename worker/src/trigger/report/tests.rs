//! What a trigger's status says of what happened.

use super::*;

fn now() -> Timestamp {
    "2031-05-04T03:02:01.5Z".parse().unwrap()
}

fn conclusion(id: &str, status: Status, reason: Option<Reason>) -> Conclusion {
    Conclusion {
        message_id: id.into(),
        run_id: format!("run-{id}"),
        status,
        recorded: None,
        recorded_at: None,
        reason,
        emitted: None,
        engine_run_root: None,
        scenario_id: None,
        detail: None,
    }
}

fn condition<'a>(status: &'a Value, kind: &str) -> &'a Value {
    let all = status["conditions"].as_array().unwrap();
    all.iter().find(|it| it["type"] == kind).unwrap()
}

fn take(report: &mut Report, news: &News<'_>) {
    report.take(news, now(), |id| format!("stream-{id}"));
}

#[test]
fn a_message_is_counted_named_and_forgotten_after_ten_others() {
    let mut report = Report::new(
        ReadyTriggerStatus::default(),
        "file:/b".into(),
        false,
        now(),
    );
    for number in 0..12 {
        let id = format!("m{number}");
        let engine_run_root = "/w";
        take(
            &mut report,
            &News::Started {
                message_id: &id,
                engine_run_root,
            },
        );
        assert_eq!(report.status(now())["active"], 1);
        let streamed = conclusion(&id, Status::Streamed, None);
        take(&mut report, &News::Concluded(&streamed));
    }
    let repeat = conclusion("m11", Status::SkippedDuplicate, None);
    take(&mut report, &News::Concluded(&repeat));
    let status = report.status(now());
    assert_eq!(status["counts"]["started"], 12);
    assert_eq!(status["counts"]["streamed"], 12);
    assert_eq!(status["counts"]["skipped"], 1);
    let last = status["last"].as_array().unwrap();
    assert_eq!(last.len(), 10);
    assert_eq!(last[0]["messageId"], "m11");
    assert_eq!(last[0]["status"], "STREAMED");
    assert_eq!(last[0]["worldStream"], "stream-m11");
    assert_eq!(last[9]["messageId"], "m2");
    for (reason, count) in [(Reason::RunFactsInvalid, 2), (Reason::EngineRootMissing, 1)] {
        for _ in 0..count {
            let failed = conclusion("x", Status::Failed, Some(reason));
            take(&mut report, &News::Concluded(&failed));
        }
    }
    let status = report.status(now());
    assert_eq!(status["counts"]["failed"], 3);
    assert_eq!(status["failedByReason"][0]["reason"], "RUN_FACTS_INVALID");
    assert_eq!(status["failedByReason"][0]["count"], 2);
}

#[test]
fn waiting_is_a_condition_that_says_for_what_and_is_counted_once() {
    let mut report = Report::new(
        ReadyTriggerStatus::default(),
        "file:/b".into(),
        false,
        now(),
    );
    let down = Wait::Downstream("weir: is down".into());
    for _ in 0..3 {
        take(
            &mut report,
            &News::Waiting {
                message_id: "m",
                wait: &down,
            },
        );
    }
    let status = report.status(now());
    assert_eq!(
        (&status["waiting"], &status["counts"]["deferred"]),
        (&1.into(), &1.into())
    );
    let deferred = condition(&status, "Deferred");
    assert_eq!(
        (&deferred["status"], &deferred["reason"]),
        (&"True".into(), &"DownstreamNotReady".into())
    );
    assert!(
        deferred["message"]
            .as_str()
            .unwrap()
            .contains("weir: is down"),
        "{deferred}"
    );
    assert_eq!(deferred["lastTransitionTime"], "2031-05-04T03:02:01Z");
    assert_eq!(condition(&status, "Following")["status"], "True");
    // The bus is away for a while.
    take(&mut report, &News::Away(Some("fp-control: refused")));
    let status = report.status(now());
    let following = condition(&status, "Following");
    assert_eq!(following["reason"], "NotFollowing");
    let message = following["message"].as_str().unwrap();
    assert!(message.contains("fp-control: refused"), "{message}");
    assert!(!report.ready());
    take(&mut report, &News::Away(None));
    let status = report.status(now());
    assert_eq!(condition(&status, "Following")["status"], "True");
    assert!(report.ready());
    // Nobody knows the active run: nothing is followed to any purpose.
    let unknown = Wait::Scope("ConfigMap moon: is not there".into());
    take(
        &mut report,
        &News::Waiting {
            message_id: "m",
            wait: &unknown,
        },
    );
    let status = report.status(now());
    assert_eq!(condition(&status, "Following")["reason"], "NotFollowing");
    assert_eq!(condition(&status, "Deferred")["reason"], "ActiveRunUnknown");
    let claimed = Wait::Claim("owls/otter".into());
    take(
        &mut report,
        &News::Waiting {
            message_id: "m",
            wait: &claimed,
        },
    );
    let status = report.status(now());
    assert_eq!(condition(&status, "Deferred")["reason"], "ClaimedElsewhere");
    take(
        &mut report,
        &News::Started {
            message_id: "m",
            engine_run_root: "/w",
        },
    );
    let status = report.status(now());
    assert_eq!(condition(&status, "Deferred")["status"], "False");
    assert_eq!(status["waiting"], 0);
}

#[test]
fn a_restart_goes_on_from_what_was_written() {
    let mut before = Report::new(ReadyTriggerStatus::default(), "file:/b".into(), true, now());
    before.moved("shard-0:7");
    before.scope("platform_20310504T030201Z");
    take(
        &mut before,
        &News::Started {
            message_id: "m",
            engine_run_root: "/w",
        },
    );
    before.follows(Some(Failure::new(Reason::ControlBusStreamMissing, "brook")));
    let written = before.status(now());
    assert_eq!(
        condition(&written, "Following")["reason"],
        "CONTROL_BUS_STREAM_MISSING"
    );
    assert_eq!(condition(&written, "Suspended")["status"], "True");
    let read: ReadyTriggerStatus = serde_json::from_value(written).unwrap();
    let mut after = Report::new(read, "file:/b".into(), false, now());
    assert_eq!(after.position().as_deref(), Some("shard-0:7"));
    let status = after.status(now());
    assert_eq!(
        (&status["active"], &status["counts"]["started"]),
        (&0.into(), &1.into())
    );
    // Killed once more, before anything was heard of it.
    let read: ReadyTriggerStatus = serde_json::from_value(status).unwrap();
    let mut after = Report::new(read, "file:/b".into(), false, now());
    assert_eq!(after.status(now())["last"][0]["status"], "STREAMING");
    // Its stream is followed on: it was counted as begun.
    let ended = [
        (Status::SkippedDuplicate, Some(Status::Streamed)),
        (Status::SkippedDuplicate, Some(Status::Streamed)),
    ];
    for (status, recorded) in ended {
        let repeat = Conclusion {
            recorded,
            ..conclusion("m", status, None)
        };
        take(&mut after, &News::Concluded(&repeat));
    }
    let status = after.status(now());
    // It got its record before that was counted; the second time it is a repeat.
    assert_eq!(
        (&status["counts"]["streamed"], &status["counts"]["skipped"]),
        (&1.into(), &1.into())
    );
    assert_eq!(status["last"][0]["status"], "STREAMED");
    assert_eq!(status["scope"], "platform_20310504T030201Z");
}

/// The pod dies between a failure's record and the status that counts it, once before a stream
/// began and once at its end.
#[test]
fn a_failure_that_a_kill_left_uncounted_is_counted_by_its_record() {
    let mut before = Report::new(
        ReadyTriggerStatus::default(),
        "file:/b".into(),
        false,
        now(),
    );
    take(
        &mut before,
        &News::Started {
            message_id: "m",
            engine_run_root: "/w",
        },
    );
    let read = serde_json::from_value(before.status(now())).unwrap();
    let later = now() + jiff::SignedDuration::from_secs(60);
    let mut after = Report::new(read, "file:/b".into(), false, later);
    let failed = |second: i64, reason| FailedBefore {
        at: EventTime::from_micros(now().as_microsecond() + second * 1_000_000).unwrap(),
        reason: Some(reason),
        emitted: Some(7),
    };
    let streamed = [
        failed(-9, Reason::StreamFailed),
        failed(9, Reason::IgPushRejected),
    ];
    let unread = [failed(3, Reason::RunFactsInvalid)];
    for _ in 0..2 {
        for (message_id, records) in [("m", &streamed[..]), ("n", &unread[..])] {
            let news = News::FailedBefore {
                message_id,
                records,
            };
            take(&mut after, &news);
        }
    }
    let status = after.status(later);
    let counts = |status: &Value| {
        let count = |name: &str| status["counts"][name].as_u64().unwrap();
        (count("started"), count("failed"))
    };
    assert_eq!(counts(&status), (1, 2), "{status}");
    assert_eq!(status["last"][1]["worldStream"], "stream-m");
    assert_eq!(status["last"][1]["reason"], "IG_PUSH_REJECTED");
    let reasons = status["failedByReason"].as_array().unwrap();
    assert_eq!(reasons.len(), 2, "{status}");
    // What comes now is another attempt, and counts by itself.
    take(
        &mut after,
        &News::Started {
            message_id: "m",
            engine_run_root: "/w",
        },
    );
    let again = conclusion("n", Status::Failed, Some(Reason::RunFactsInvalid));
    take(&mut after, &News::Concluded(&again));
    let status = after.status(later);
    assert_eq!(counts(&status), (2, 3), "{status}");
}
