//! A profile's fields, and the producer.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    let usage = "usage";
    vec![
        bad_profile(
            &[],
            usage,
            &["p.yaml:6: spec.gate.url: is missing", "--gate-url"],
        ),
        bad_profile(
            &["gate: {url: ig}"],
            usage,
            &["p.yaml:7: spec.gate.url: found \"ig\""],
        ),
        bad_profile(
            &["gate: {url: \"ftp://ig\"}"],
            usage,
            &["spec.gate.url", "http:// or https://"],
        ),
        bad_profile(
            &["gate: {url: \"http://ig/?a=b\"}"],
            usage,
            &["spec.gate.url", "no query"],
        ),
        bad_profile(
            &["gate: {url: \"http://a:b@ig\"}"],
            usage,
            &["spec.gate.url", "spec.gate.auth"],
        ),
        bad_profile(
            &[GATE, "wold: {}"],
            usage,
            &["p.yaml:8: spec.wold: unknown field", "world"],
        ),
        bad_profile(
            &[GATE, "require: {manifest: yep}"],
            usage,
            &["p.yaml:8: spec.require.manifest", "true"],
        ),
        bad_profile(
            &[GATE, "require: {gates: digest}"],
            usage,
            &["p.yaml:8: spec.require.gates", "Existence, Digest"],
        ),
        bad_profile(
            &[GATE, "require:", "  seals: true"],
            usage,
            &["p.yaml:9: spec.require.seals: unknown field"],
        ),
        bad_profile(
            &["gate: {url: \"http://ig\", inFlight: 300}"],
            usage,
            &["spec.gate.inFlight: found 300"],
        ),
        bad_profile(
            &["gate:", "  url: http://ig", "  timeout: 0s"],
            usage,
            &["p.yaml:9: spec.gate.timeout: found 0s"],
        ),
        bad_profile(
            &["gate:", "  url: http://ig", "  timeout: -1s"],
            usage,
            &["p.yaml:9: spec.gate.timeout", "\"-1s\" is no duration"],
        ),
        bad_profile(
            &["gate: {url: \"http://ig\", retry: {attempts: 0}}"],
            usage,
            &["spec.gate.retry.attempts: found 0"],
        ),
        bad_profile(
            &["gate: {url: \"http://ig\", retry: {base: 0ms}}"],
            usage,
            &["spec.gate.retry.base"],
        ),
        bad_profile(
            &["gate: {url: \"http://ig\", retry: {base: 10s}}"],
            usage,
            &["spec.gate.retry.max: found 5s, expected at least spec.gate.retry.base, 10s"],
        ),
        bad_profile(
            &["gate: {url: \"http://ig\", unavailableFor: 0s}"],
            usage,
            &["spec.gate.unavailableFor"],
        ),
        bad_profile(
            &["gate: {url: \"http://ig\", caFile: ''}"],
            usage,
            &["spec.gate.caFile: is empty"],
        ),
        bad_profile(
            &["gate: {url: \"http://ig\", auth: {}}"],
            usage,
            &[
                "spec.gate.auth: found none of its fields",
                "apiKey, serviceToken, signedToken",
            ],
        ),
        bad_profile(
            &["gate: {url: \"http://ig\", auth: {apiKey: {file: a, env: B}}}"],
            usage,
            &["spec.gate.auth.apiKey: found file and env"],
        ),
        bad_profile(
            &["gate: {url: \"http://ig\", auth: {apiKey: {env: A}, serviceToken: {env: B}}}"],
            usage,
            &["spec.gate.auth: found apiKey and serviceToken"],
        ),
        bad_profile(
            &["gate: {url: \"http://ig\", auth: {apiKey: secret}}"],
            usage,
            &["spec.gate.auth.apiKey"],
        ),
        bad_profile(
            &["gate: {url: \"http://ig\", auth: {signedToken: {principal: '', secret: {env: A}}}}"],
            usage,
            &["spec.gate.auth.signedToken.principal: is empty"],
        ),
        bad_profile(
            &["gate: {url: \"http://ig\", auth: {signedToken: {principal: p}}}"],
            usage,
            &["spec.gate.auth.signedToken", "`secret` is missing"],
        ),
        bad_profile(
            &["gate: {url: \"http://ig\", auth: {apiKey: {env: A=b}}}"],
            usage,
            &["spec.gate.auth.apiKey.env"],
        ),
        bad_profile(
            &["gate: {url: \"http://ig\", quarantine: {policy: Stop}}"],
            usage,
            &["spec.gate.quarantine.policy", "maxCount, maxShare"],
        ),
        bad_profile(
            &["gate: {url: \"http://ig\", quarantine: {maxCount: 3}}"],
            usage,
            &["spec.gate.quarantine.maxCount", "Stop"],
        ),
        bad_profile(
            &["gate: {url: \"http://ig\", quarantine: {policy: Stop, maxShare: 1.5}}"],
            usage,
            &["spec.gate.quarantine.maxShare: found 1.5, expected 0 to 1"],
        ),
        bad_profile(
            &["gate: {url: \"http://ig\", quarantine: {policy: Stop, maxShare: 0.5, window: 0}}"],
            usage,
            &["spec.gate.quarantine.window: found 0"],
        ),
        bad_profile(
            &[GATE, "checkpoints: {flushEvery: 0}"],
            usage,
            &["p.yaml:8: spec.checkpoints.flushEvery: found 0"],
        ),
        bad_profile(
            &[GATE, "checkpoints: {flushInterval: 0s}"],
            usage,
            &["spec.checkpoints.flushInterval"],
        ),
        bad_profile(
            &[GATE, "checkpoints: {file: {root: ''}}"],
            usage,
            &["spec.checkpoints.file.root: is empty"],
        ),
        bad_profile(
            &[GATE, "checkpoints: {redis: {}}"],
            usage,
            &["spec.checkpoints.redis: unknown field"],
        ),
        bad_profile(
            &[GATE, "clock: {lead: 2m}"],
            usage,
            &["spec.clock.lead: found 2m, expected at most 1m"],
        ),
        bad_profile(
            &[GATE, "defaults: {speedup: .nan}"],
            usage,
            &["spec.defaults.speedup"],
        ),
        bad_profile(
            &[GATE, "defaults: {catchUpEps: 0}"],
            usage,
            &["spec.defaults.catchUpEps: found 0"],
        ),
        bad_profile(
            &[GATE, "defaults: {maxLag: 0s}"],
            usage,
            &["spec.defaults.maxLag"],
        ),
        bad_profile(
            &[GATE, "defaults: {maxEventsPerOutput: 0}"],
            usage,
            &["spec.defaults.maxEventsPerOutput"],
        ),
        bad_profile(
            &[GATE, "runsRoot: ''"],
            usage,
            &["p.yaml:8: spec.runsRoot: is empty"],
        ),
        bad_profile(
            &[GATE, "world: {mounts: [{from: a}]}"],
            usage,
            &["spec.world.mounts[0]", "`to` is missing"],
        ),
        bad_profile(
            &[GATE, "world: {mounts: [{from: '', to: b}]}"],
            usage,
            &["spec.world.mounts[0].from: is empty"],
        ),
        bad_profile(
            &[GATE, "world: {allowedRoots: ['']}"],
            usage,
            &["spec.world.allowedRoots[0]: is empty"],
        ),
        bad_profile(
            &[GATE, "world: {oracleRoot: ''}"],
            usage,
            &["spec.world.oracleRoot: is empty"],
        ),
        bad_profile(
            &[GATE, "world: {scenario: a/b}"],
            usage,
            &["spec.world.scenario"],
        ),
        bad_profile(
            &[GATE, "catalogue: {}"],
            usage,
            &["spec.catalogue: found none", "file, builtIn, inline"],
        ),
        bad_profile(
            &[GATE, "catalogue: {builtIn: nope.yaml}"],
            usage,
            &[
                "spec.catalogue.builtIn: found \"nope.yaml\"",
                "catalogue.yaml",
            ],
        ),
        bad_profile(
            &[GATE, "gateMap: {file: a, inline: b}"],
            usage,
            &["spec.gateMap: found file and inline"],
        ),
        bad_profile(
            &[GATE, "catalogue: {file: ''}"],
            usage,
            &["spec.catalogue.file: is empty"],
        ),
        bad_profile(
            &[GATE, "trafficOutputs: {fraud: {}}"],
            usage,
            &["spec.trafficOutputs.fraud: found none"],
        ),
        bad_profile(
            &[GATE, "trafficOutputs: {fraud: {outputIds: ['a/b']}}"],
            usage,
            &["spec.trafficOutputs.fraud.outputIds[0]: found \"a/b\""],
        ),
        bad_profile(
            &[
                GATE,
                "trafficOutputs: {allowlist: {outputIds: [a]}, fraud: {outputIds: [a]}}",
            ],
            usage,
            &["spec.trafficOutputs.allowlist", "either"],
        ),
        bad_profile(
            &[
                GATE,
                "contextOutputs: {fraud: {builtIn: outputs/none.yaml}}",
            ],
            usage,
            &["spec.contextOutputs.fraud.builtIn"],
        ),
        bad_profile(
            &[GATE, "contextOutputs: {baseline: {file: $DIR/absent.yaml}}"],
            usage,
            &[
                "p.yaml:8: spec.contextOutputs.baseline.file: ",
                "absent.yaml cannot be read",
            ],
        ),
        bad_profile(
            &[GATE, "status: 1", "runsRoot: x"],
            usage,
            &["spec.status: unknown field"],
        ),
        // The producer.
        Case {
            files: vec![
                ("s.yaml", stream(&[])),
                (
                    "p.yaml",
                    profile(&[GATE]).replace("{id: p}", "{id: \"a\\tb\"}"),
                ),
            ],
            args: vec![],
            code: usage,
            parts: vec!["spec.producer.id"],
        },
    ]
}
