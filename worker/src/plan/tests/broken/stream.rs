//! A stream's fields.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    let usage = "usage";
    let lane = "WSP_LANE_CONFIG_INVALID";
    vec![
        bad_stream(
            &["sped: 3"],
            usage,
            &["s.yaml:9: spec.sped: unknown field", "speedup"],
        ),
        bad_stream(
            &["engine_run_root: x"],
            usage,
            &[
                "s.yaml:9: spec.engine_run_root: unknown field",
                "engineRunRoot",
            ],
        ),
        bad_stream(
            &["speedup: fast"],
            usage,
            &["s.yaml:9: spec.speedup: found `fast`, expected a number"],
        ),
        bad_stream(
            &["speedup: .nan"],
            usage,
            &["s.yaml:9: spec.speedup", "finite"],
        ),
        bad_stream(
            &["speedup: .inf"],
            usage,
            &["s.yaml:9: spec.speedup", "finite"],
        ),
        bad_stream(&["speedup: [1]"], usage, &["s.yaml:9: spec.speedup"]),
        bad_stream(
            &["inFlight: 0"],
            usage,
            &["s.yaml:9: spec.inFlight: found 0, expected 1 to 256"],
        ),
        bad_stream(
            &["speedup: 1", "inFlight: 257"],
            usage,
            &["s.yaml:10: spec.inFlight: found 257"],
        ),
        bad_stream(
            &["inFlight: -1"],
            usage,
            &["s.yaml:9: spec.inFlight", "`-1`"],
        ),
        bad_stream(
            &["inFlight: 1.5"],
            usage,
            &["s.yaml:9: spec.inFlight", "`1.5`"],
        ),
        bad_stream(
            &["trafficMode: Fraud"],
            usage,
            &["s.yaml:9: spec.trafficMode", "fraud, baseline"],
        ),
        bad_stream(
            &["overload: hold"],
            usage,
            &["s.yaml:9: spec.overload", "Hold, CatchUp, Fail"],
        ),
        bad_stream(
            &["onOutputFailure: Stop"],
            usage,
            &["s.yaml:9: spec.onOutputFailure", "StopAll, Continue"],
        ),
        bad_stream(
            &["maxLag: 5"],
            usage,
            &["s.yaml:9: spec.maxLag", "\"5\" is no duration"],
        ),
        bad_stream(
            &["maxLag: 0s"],
            usage,
            &["s.yaml:9: spec.maxLag: found 0s, expected more than 0"],
        ),
        bad_stream(
            &["maxLag: 5 minutes"],
            usage,
            &[
                "s.yaml:9: spec.maxLag",
                "is no duration",
                "250ms, 5s, 2m or 1h",
            ],
        ),
        bad_stream(
            &["startFrom: yesterday"],
            usage,
            &["s.yaml:9: spec.startFrom", "RFC 3339"],
        ),
        bad_stream(
            &["startFrom: 2026-01-01"],
            usage,
            &["s.yaml:9: spec.startFrom", "RFC 3339"],
        ),
        bad_stream(
            &["until: 2026-13-01T00:00:00Z"],
            usage,
            &["s.yaml:9: spec.until", "RFC 3339"],
        ),
        bad_stream(
            &[
                "startFrom: 2026-01-02T00:00:00Z",
                "until: 2026-01-01T00:00:00Z",
            ],
            usage,
            &[
                "s.yaml:10: spec.until",
                "after the start, 2026-01-02T00:00:00.000000Z",
            ],
        ),
        bad_stream(
            &[
                "startFrom: 2026-01-01T00:00:00Z",
                "until: 2026-01-01T00:00:00Z",
            ],
            usage,
            &["spec.until"],
        ),
        bad_stream(
            &["maxEventsPerOutput: 0"],
            usage,
            &["s.yaml:9: spec.maxEventsPerOutput: found 0"],
        ),
        bad_stream(
            &["scenarioRunId: abc"],
            usage,
            &[
                "s.yaml:9: spec.scenarioRunId: found \"abc\"",
                "32 lower-case hex",
            ],
        ),
        bad_stream(
            &["scenarioRunId: ABABABABABABABABABABABABABABABAB"],
            usage,
            &["s.yaml:9: spec.scenarioRunId"],
        ),
        bad_stream(
            &["scenario: ../x"],
            usage,
            &["s.yaml:9: spec.scenario: found \"../x\""],
        ),
        bad_stream(
            &["scenario: ''"],
            usage,
            &["s.yaml:9: spec.scenario: found \"\""],
        ),
        bad_stream(
            &["attempt: a|b"],
            usage,
            &["s.yaml:9: spec.attempt: found \"a|b\""],
        ),
        bad_stream(
            &["outputs: [a b]"],
            usage,
            &["s.yaml:9: spec.outputs[0]: found \"a b\""],
        ),
        bad_stream(
            &["outputs:", "  - fine", "  - ''"],
            usage,
            &["s.yaml:11: spec.outputs[1]: found \"\""],
        ),
        bad_stream(
            &["outputs: s3_event_stream_with_fraud_6B"],
            usage,
            &["s.yaml:9: spec.outputs"],
        ),
        bad_stream(
            &["lanes: {count: 0}"],
            lane,
            &["s.yaml:9: spec.lanes: count: found 0, expected 1 to 64"],
        ),
        bad_stream(&["lanes: {count: 65}"], lane, &["count: found 65"]),
        bad_stream(
            &["lanes: {count: 4, only: 4}"],
            lane,
            &["only: found 4, expected a lane from 0 to 3"],
        ),
        bad_stream(&["lanes: 4"], usage, &["s.yaml:9: spec.lanes"]),
        bad_stream(
            &["lanes: {only: 0}"],
            usage,
            &["spec.lanes", "the field `count` is missing"],
        ),
        bad_stream(
            &[
                "ratePlan:",
                "  - {start_offset_seconds: 0, target_eps: 0, burst_seconds: 1}",
            ],
            usage,
            &["s.yaml:10: spec.ratePlan[0].target_eps: found 0, expected more than 0"],
        ),
        bad_stream(
            &[
                "ratePlan:",
                "  - {start_offset_seconds: 5, target_eps: 1, burst_seconds: 1}",
                "  - {start_offset_seconds: 5, target_eps: 1, burst_seconds: 1}",
            ],
            usage,
            &[
                "s.yaml:11: spec.ratePlan[1].start_offset_seconds",
                "more than 5",
            ],
        ),
        bad_stream(
            &["ratePlan: [{start_offset_seconds: 0, targetEps: 1}]"],
            usage,
            &["spec.ratePlan[0].targetEps: unknown field", "target_eps"],
        ),
        bad_stream(
            &["profile: other"],
            usage,
            &["s.yaml:9: spec.profile: is there twice"],
        ),
        Case {
            files: vec![("s.yaml", but("profile: mine", "profile: other"))],
            args: vec![],
            code: usage,
            parts: vec![
                "s.yaml:6: spec.profile: found no StreamProfile \"other\"",
                "local, local_parity",
            ],
        },
        bad_file(
            &but("platform_20260101T000000Z", "platform_20260101"),
            usage,
            &[
                "s.yaml:8: spec.platformRunId: found \"platform_20260101\"",
                "platform_YYYYMMDDTHHMMSSZ",
            ],
        ),
        bad_file(
            &but("platform_20260101T000000Z", "platform_20260101t000000z"),
            usage,
            &["spec.platformRunId"],
        ),
        bad_file(
            &but("  platformRunId: platform_20260101T000000Z\n", ""),
            "PLATFORM_RUN_ID_MISSING",
            &["spec.platformRunId", "--platform-run-id"],
        ),
        bad_file(
            &but("platform_20260101T000000Z", "''"),
            "PLATFORM_RUN_ID_MISSING",
            &["spec.platformRunId"],
        ),
        bad_file(
            &but("  engineRunRoot: w\n", ""),
            "ENGINE_ROOT_MISSING",
            &["spec.engineRunRoot", "--engine-run-root"],
        ),
        bad_file(
            &but("engineRunRoot: w", "engineRunRoot: ' '"),
            "ENGINE_ROOT_MISSING",
            &["s.yaml: WorldStream a"],
        ),
    ]
}
