//! Flags.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    let usage = "usage";
    let lane = "WSP_LANE_CONFIG_INVALID";
    let mut cases = vec![
        bad_args(
            &["--rate-plan", "$DIR/absent"],
            usage,
            &["absent: cannot be read"],
        ),
        bad_args(
            &["-f", "$DIR/absent.yaml"],
            usage,
            &["absent.yaml: cannot be read"],
        ),
        bad_args(
            &["--profile", "$DIR/absent.yaml"],
            usage,
            &["absent.yaml: cannot be read"],
        ),
        bad_args(
            &["--profile", "nope"],
            usage,
            &[
                "--profile: found no StreamProfile \"nope\"",
                "mine, local, local_parity, dev, prod",
            ],
        ),
        bad_args(
            &["--profile", "$DIR/s.yaml"],
            usage,
            &["--profile", "holds 0 StreamProfiles"],
        ),
        bad_args(&["--speedup", "fast"], usage, &["--speedup"]),
        bad_args(&["--speedup", "NaN"], usage, &["--speedup: found NaN"]),
        bad_args(&["--speedup", "inf"], usage, &["--speedup: found inf"]),
        bad_args(
            &["--in-flight", "0"],
            usage,
            &["--in-flight: found 0, expected 1 to 256"],
        ),
        bad_args(&["--in-flight", "many"], usage, &["--in-flight"]),
        bad_args(&["--lanes", "0"], lane, &["count: found 0"]),
        bad_args(&["--lanes", "65"], lane, &["count: found 65"]),
        bad_args(
            &["--lanes", "3", "--lane", "3"],
            lane,
            &["only: found 3, expected a lane from 0 to 2"],
        ),
        bad_args(&["--lane", "1"], lane, &["only: found 1"]),
        bad_args(
            &["--traffic-mode", "both"],
            usage,
            &["--traffic-mode", "fraud, baseline"],
        ),
        bad_args(
            &["--overload", "wait"],
            usage,
            &["--overload", "hold, catch-up, fail"],
        ),
        bad_args(
            &["--on-output-failure", "stop"],
            usage,
            &["--on-output-failure", "stop-all, continue"],
        ),
        bad_args(&["--max-lag", "5"], usage, &["--max-lag", "is no duration"]),
        bad_args(&["--max-lag", "0s"], usage, &["--max-lag: found 0s"]),
        bad_args(
            &["--start-from", "now"],
            usage,
            &["--start-from", "RFC 3339"],
        ),
        bad_args(
            &[
                "--start-from",
                "2026-01-02T00:00:00Z",
                "--until",
                "2026-01-01T00:00:00Z",
            ],
            usage,
            &["--until: found 2026-01-01"],
        ),
        bad_args(
            &["--max-events-per-output", "0"],
            usage,
            &["--max-events-per-output: found 0"],
        ),
        bad_args(
            &["--platform-run-id", "run1"],
            usage,
            &[
                "--platform-run-id: found \"run1\"",
                "platform_YYYYMMDDTHHMMSSZ",
            ],
        ),
        bad_args(
            &["--scenario-run-id", "x"],
            usage,
            &["--scenario-run-id: found \"x\""],
        ),
        bad_args(
            &["--gate-url", "localhost:8080"],
            usage,
            &["--gate-url: found \"localhost:8080\""],
        ),
        bad_args(
            &["--gate-url", "http://u:hunter2@ig"],
            usage,
            &["--gate-url: found a user or a password"],
        ),
        bad_args(&["--attempt", "a|b"], usage, &["--attempt"]),
        bad_args(&["--scenario", ""], usage, &["--scenario: found \"\""]),
        bad_args(&["--output", "a b"], usage, &["--output: found \"a b\""]),
        bad_args(&["--checkpoint-root", ""], usage, &["--checkpoint-root"]),
        bad_args(&["--sped", "3"], usage, &["--sped"]),
        bad_args(&["stray"], usage, &["stray"]),
        Case {
            files: vec![],
            args: vec!["--engine-run-root", "w"],
            code: usage,
            parts: vec![
                "--profile: no profile is named",
                "local, local_parity, dev, prod",
            ],
        },
        Case {
            files: vec![],
            args: vec!["--profile", "local"],
            code: "ENGINE_ROOT_MISSING",
            parts: vec!["the command line"],
        },
        Case {
            files: vec![],
            args: vec!["--profile", "local", "--engine-run-root", "w"],
            code: "PLATFORM_RUN_ID_MISSING",
            parts: vec!["the command line"],
        },
        Case {
            files: vec![],
            args: vec![
                "--profile",
                "local",
                "--engine-run-root",
                "w",
                "--platform-run-id",
                "",
            ],
            code: "PLATFORM_RUN_ID_MISSING",
            parts: vec![],
        },
        // What a document says is checked even where a flag wins.
        Case {
            args: vec!["--speedup", "5"],
            ..bad_stream(&["speedup: .nan"], usage, &["s.yaml:9: spec.speedup"])
        },
        Case {
            args: vec!["--lanes", "2"],
            ..bad_stream(&["lanes: {count: 99}"], lane, &["count: found 99"])
        },
    ];
    let outright = profile(&[GATE, "trafficOutputs: {allowlist: {outputIds: [a, b]}}"]);
    cases.push(Case {
        files: vec![
            ("s.yaml", stream(&["trafficMode: baseline"])),
            ("p.yaml", outright.clone()),
        ],
        args: vec![],
        code: usage,
        parts: vec!["s.yaml:9: spec.trafficMode", "outright"],
    });
    cases.push(Case {
        files: vec![("s.yaml", stream(&[])), ("p.yaml", outright)],
        args: vec!["--traffic-mode", "fraud"],
        code: usage,
        parts: vec!["--traffic-mode: the profile mine"],
    });
    cases
}
