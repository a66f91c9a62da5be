//! What a fault may be written as, and when it strikes.

use super::*;

fn spec(text: &str) -> FaultSpec {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn reads_the_grammar_and_writes_it() {
    for (text, kind) in [
        (
            "latency=50ms:from=5s,for=10s",
            FaultKind::Latency(Duration::from_millis(50)),
        ),
        ("latency=1m30s", FaultKind::Latency(Duration::from_secs(90))),
        ("refuse:for=2s", FaultKind::Refuse),
        (
            "429:retry-after=2s,p=0.05",
            FaultKind::TooMany {
                retry_after: Some(2),
            },
        ),
        ("429", FaultKind::TooMany { retry_after: None }),
        ("5xx=500:events=100..200", FaultKind::Error { status: 500 }),
        ("stall:p=0.5", FaultKind::Stall),
        ("reset", FaultKind::Reset),
        ("reset-middle:from=250ms", FaultKind::ResetMiddle),
        ("no-answer:p=0.125,events=0..3", FaultKind::NoAnswer),
    ] {
        assert_eq!(spec(text).kind, kind, "{text}");
        assert_eq!(spec(text).to_string(), text);
    }
    assert_eq!(spec("5xx"), spec("5xx:status=503"));
    assert_eq!(spec("500:p=0.1"), spec("5xx=500:p=0.1"));
    assert_eq!(spec("429:retry-after=1500ms"), spec("429:retry-after=2s"));
    assert_eq!(spec("reset:events=100..200").span, Span::Count(100..200));
    assert_eq!(spec("reset:p=0.1").share, 0.1);
}

#[test]
fn says_what_is_wrong_with_a_fault() {
    for (text, words) in [
        ("", "no fault \"\""),
        ("slow", "no fault \"slow\""),
        ("latency", "latency needs a time"),
        ("latency=soon", "\"soon\" is no time"),
        ("latency=-5ms", "\"-5ms\" is no time"),
        ("stall=3s", "stall takes no value"),
        ("429=2", "429 takes no value"),
        ("404", "no fault \"404\""),
        ("500=1", "no fault \"500\""),
        ("5xx=404", "status is \"404\""),
        ("5xx=500:status=503", "status twice"),
        ("reset:p=0", "p is \"0\""),
        ("reset:p=1.5", "p is \"1.5\""),
        ("reset:p=NaN", "p is \"NaN\""),
        ("reset:p=0.1,p=0.2", "p is given twice"),
        ("reset:p", "option \"p\" has no value"),
        ("reset:retry-after=2s", "reset has no option retry-after"),
        ("reset:events=5", "events is \"5\""),
        ("reset:events=5..5", "events is \"5..5\""),
        ("reset:events=1..2,for=3s", "does not go together"),
    ] {
        let error = text.parse::<FaultSpec>().unwrap_err();
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[test]
fn strikes_within_its_span() {
    let start = Instant::now();
    let at = |millis| start + Duration::from_millis(millis);
    let mut faults = FaultSet::new(
        vec![
            spec("latency=50ms:from=1s,for=1s"),
            spec("latency=5ms"),
            spec("stall:events=2..3"),
            spec("429:events=2..4"),
        ],
        1,
        start,
    );
    let struck = faults.on_push(at(999));
    assert_eq!(
        (struck.latency.as_millis(), struck.latencies, struck.fault),
        (5, 1, None)
    );
    let struck = faults.on_push(at(1000));
    assert_eq!(
        (struck.latency.as_millis(), struck.latencies, struck.fault),
        (55, 2, None)
    );
    assert_eq!(faults.on_push(at(1999)).fault, Some(FaultKind::Stall));
    let struck = faults.on_push(at(2000));
    assert_eq!(struck.latency.as_millis(), 5);
    assert_eq!(struck.fault, Some(FaultKind::TooMany { retry_after: None }));
    assert_eq!(faults.on_push(at(3000)).fault, None);
}

#[test]
fn draws_alike_for_a_seed_and_about_the_share() {
    let start = Instant::now();
    let draw = |seed| {
        let mut faults = FaultSet::new(vec![spec("reset:p=0.1"), spec("429:p=0.1")], seed, start);
        (0..2000)
            .map(|_| faults.on_push(start).fault)
            .collect::<Vec<_>>()
    };
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7), draw(8));
    let resets = draw(7)
        .iter()
        .filter(|fault| **fault == Some(FaultKind::Reset))
        .count();
    assert!((120..280).contains(&resets), "{resets}");
    let others = draw(7).iter().flatten().count() - resets;
    assert!(others > 100, "the second fault draws for itself: {others}");
}

#[test]
fn refusal_closes_the_listener_or_resets() {
    let start = Instant::now();
    let at = |secs| start + Duration::from_secs(secs);
    let mut closing = FaultSet::new(vec![spec("refuse:from=5s,for=10s")], 0, start);
    assert_eq!(closing.listening(at(0)), (true, Some(at(5))));
    assert_eq!(closing.listening(at(5)), (false, Some(at(15))));
    assert_eq!(closing.listening(at(15)), (true, None));
    assert!(!closing.on_connection(at(1)));
    let mut counting = FaultSet::new(vec![spec("refuse:events=1..2")], 0, start);
    assert_eq!(counting.listening(at(0)), (true, None));
    assert_eq!(
        [0; 3].map(|_| counting.on_connection(at(0))),
        [false, true, false]
    );
    assert_eq!(counting.on_push(at(0)), Struck::default());
    assert!(spec("refuse").locks_out() && !spec("refuse:for=1s").locks_out());
}
