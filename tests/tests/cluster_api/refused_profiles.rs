//! Profiles that the API server refuses, each with the words that name the mistake.

use serde_json::{Value, json};

use crate::cluster::{check, document};
use crate::refused::{Case, case, good, lay_over, refuse};

fn profile(change: Value, says: &'static [&'static str]) -> Case {
    case("StreamProfile", change, says)
}

#[test]
fn sources() {
    let key = json!({ "name": "ig", "key": "k" });
    let auth = |auth: Value| json!({ "gate": { "auth": auth } });
    refuse(&[
        profile(
            json!({ "catalogue": { "builtIn": "catalogue.yaml", "inline": "x" } }),
            &[
                "spec.catalogue",
                "exactly one of file, builtIn, inline, configMap",
            ],
        ),
        profile(
            json!({ "gateMap": {} }),
            &["spec.gateMap", "exactly one of file"],
        ),
        profile(
            json!({ "catalogue": { "builtIn": "other.yaml" } }),
            &[
                "spec.catalogue.builtIn",
                "expected one of",
                "catalogue.yaml",
            ],
        ),
        profile(
            json!({ "producer": { "allowlist": { "configMap": { "name": "x" } } } }),
            &["spec.producer.allowlist.configMap.key: Required value"],
        ),
        profile(
            json!({ "trafficOutputs": { "fraud": {} } }),
            &[
                "spec.trafficOutputs.fraud",
                "exactly one of file, builtIn, outputIds, configMap",
            ],
        ),
        profile(
            json!({ "trafficOutputs": { "fraud": { "outputIds": ["a"] }, "allowlist": { "outputIds": ["a"] } } }),
            &["spec.trafficOutputs.allowlist", "expected either"],
        ),
        profile(
            json!({ "contextOutputs": { "baseline": { "outputIds": ["a/b"] } } }),
            &[
                "spec.contextOutputs.baseline.outputIds[0]",
                "letters, digits",
            ],
        ),
        profile(
            auth(json!({})),
            &[
                "spec.gate.auth",
                "exactly one of apiKey, serviceToken, signedToken",
            ],
        ),
        profile(
            auth(json!({ "apiKey": { "env": "A" }, "serviceToken": { "env": "B" } })),
            &["spec.gate.auth", "exactly one of"],
        ),
        profile(
            auth(json!({ "apiKey": { "env": "A", "secret": key } })),
            &["spec.gate.auth.apiKey", "exactly one of file, env, secret"],
        ),
        profile(
            auth(json!({ "apiKey": { "value": "hunter2" } })),
            &["unknown field \"spec.gate.auth.apiKey.value\""],
        ),
        profile(
            auth(json!({ "signedToken": { "secret": { "secret": key } } })),
            &["spec.gate.auth.signedToken.principal: Required value"],
        ),
        profile(
            auth(json!({ "signedToken": { "principal": "me", "secret": {} } })),
            &["spec.gate.auth.signedToken.secret", "exactly one of file"],
        ),
        profile(
            json!({ "gate": { "caFile": "/ca.pem", "caConfigMap": key } }),
            &["spec.gate.caConfigMap", "expected either"],
        ),
        profile(
            json!({ "checkpoints": { "kubernetes": {}, "file": {} } }),
            &["spec.checkpoints.kubernetes", "expected one store"],
        ),
        profile(
            json!({ "checkpoints": { "postgres": {}, "kubernetes": {} } }),
            &["spec.checkpoints.postgres", "expected one store"],
        ),
        profile(
            json!({ "checkpoints": { "postgres": { "dsn": { "env": "A", "secret": key } } } }),
            &[
                "spec.checkpoints.postgres.dsn",
                "exactly one of file, env, secret",
            ],
        ),
        profile(
            json!({ "checkpoints": { "postgres": { "caFile": "/ca.pem", "caConfigMap": key } } }),
            &["spec.checkpoints.postgres.caConfigMap", "expected either"],
        ),
    ]);
}

#[test]
fn values() {
    refuse(&[
        profile(json!({ "gates": 1 }), &["unknown field \"spec.gates\""]),
        profile(
            json!({ "require": { "gates": "None" } }),
            &["spec.require.gates", "\"Existence\", \"Digest\""],
        ),
        profile(
            json!({ "world": { "mounts": [{ "from": "s3://a" }] } }),
            &["spec.world.mounts[0].to: Required value"],
        ),
        profile(
            json!({ "world": { "allowedRoots": [""] } }),
            &["spec.world.allowedRoots[0]"],
        ),
        profile(
            json!({ "gate": { "inFlight": 300 } }),
            &["spec.gate.inFlight", "256"],
        ),
        profile(
            json!({ "gate": { "timeout": "0s" } }),
            &["spec.gate.timeout", "more than 0"],
        ),
        profile(
            json!({ "gate": { "timeout": "30" } }),
            &["spec.gate.timeout", "(ms|s|m|h)"],
        ),
        profile(
            json!({ "gate": { "unavailableFor": "0ms" } }),
            &["spec.gate.unavailableFor", "more than 0"],
        ),
        profile(
            json!({ "gate": { "retry": { "attempts": 0 } } }),
            &["spec.gate.retry.attempts", "equal to 1"],
        ),
        profile(
            json!({ "gate": { "retry": { "base": "0s" } } }),
            &["spec.gate.retry.base", "more than 0"],
        ),
        profile(
            // One minute is less than ninety seconds, whatever their texts say.
            json!({ "gate": { "retry": { "base": "90s", "max": "1m" } } }),
            &["spec.gate.retry.max", "at least base"],
        ),
        profile(
            json!({ "gate": { "quarantine": { "policy": "Stop" } } }),
            &["spec.gate.quarantine.policy", "needs a bound"],
        ),
        profile(
            json!({ "gate": { "quarantine": { "maxCount": 1 } } }),
            &["spec.gate.quarantine.policy", "does nothing with Continue"],
        ),
        profile(
            json!({ "gate": { "quarantine": { "policy": "Stop", "maxShare": 1.5 } } }),
            &["spec.gate.quarantine.maxShare", "equal to 1"],
        ),
        profile(
            json!({ "gate": { "quarantine": { "window": 0 } } }),
            &["spec.gate.quarantine.window"],
        ),
        profile(
            json!({ "producer": { "id": "x".repeat(129) } }),
            &["spec.producer.id", "128"],
        ),
        profile(
            json!({ "checkpoints": { "flushEvery": 0 } }),
            &["spec.checkpoints.flushEvery", "equal to 1"],
        ),
        profile(
            json!({ "checkpoints": { "flushInterval": "0s" } }),
            &["spec.checkpoints.flushInterval", "more than 0"],
        ),
        profile(
            json!({ "checkpoints": { "maxUnsaved": "0s" } }),
            &["spec.checkpoints.maxUnsaved", "more than 0"],
        ),
        profile(
            json!({ "checkpoints": { "postgres": { "leaseTerm": "61m" } } }),
            &["spec.checkpoints.postgres.leaseTerm", "1s to 1h"],
        ),
        profile(
            json!({ "checkpoints": { "postgres": { "timeout": "0s" } } }),
            &["spec.checkpoints.postgres.timeout", "more than 0"],
        ),
        profile(
            json!({ "clock": { "lead": "61s" } }),
            &["spec.clock.lead", "at most 1m"],
        ),
        profile(
            json!({ "clock": { "primeTimeout": "0s" } }),
            &["spec.clock.primeTimeout", "more than 0"],
        ),
        profile(
            json!({ "defaults": { "catchUpEps": 0 } }),
            &["spec.defaults.catchUpEps", "more than 0"],
        ),
        profile(
            json!({ "defaults": { "maxLag": "0s" } }),
            &["spec.defaults.maxLag", "more than 0"],
        ),
        profile(json!({ "runsRoot": "" }), &["spec.runsRoot"]),
    ]);
}

/// Nothing that a profile says of pods lets them out of their confinement.
#[test]
fn pods() {
    let worker = |worker: Value| json!({ "worker": worker });
    let template = |template: Value| json!({ "worker": { "podTemplate": template } });
    let volume = |path: &str| json!({ "world": { "volume": { "persistentVolumeClaim": "worlds", "mountPath": path } } });
    let unknown = |field: &'static str| -> Case {
        let value = json!({ field: true });
        profile(
            template(value),
            &["unknown field \"spec.worker.podTemplate."],
        )
    };
    let mut cases = vec![
        profile(
            worker(json!({ "serviceAccountName": "admin" })),
            &["unknown field \"spec.worker.serviceAccountName\""],
        ),
        profile(
            worker(json!({ "securityContext": {} })),
            &["unknown field \"spec.worker.securityContext\""],
        ),
        profile(
            json!({ "world": { "volume": { "hostPath": "/" } } }),
            &["unknown field \"spec.world.volume.hostPath\""],
        ),
        profile(
            volume("worlds"),
            &["spec.world.volume.mountPath", "an absolute path"],
        ),
        profile(
            volume("/mnt/../etc"),
            &["spec.world.volume.mountPath", "without `..`"],
        ),
        profile(
            volume("/etc/worldstream/secrets"),
            &["spec.world.volume.mountPath", "not below /etc"],
        ),
        profile(
            volume("/var/run/worldstream"),
            &["spec.world.volume.mountPath", "/var/run/worldstream"],
        ),
        profile(
            json!({ "world": { "volume": { "persistentVolumeClaim": "w", "mountPath": "/mnt/w", "subPath": "../x" } } }),
            &["spec.world.volume.subPath", "a relative path"],
        ),
        profile(
            worker(json!({ "rollout": "Never" })),
            &["spec.worker.rollout", "WhenSuspended"],
        ),
        profile(
            worker(json!({ "crashLimit": 0 })),
            &["spec.worker.crashLimit", "equal to 1"],
        ),
        profile(
            worker(json!({ "imagePullPolicy": "Sometimes" })),
            &["spec.worker.imagePullPolicy", "IfNotPresent"],
        ),
        profile(
            worker(json!({ "env": [{ "name": "1A", "value": "" }] })),
            &["spec.worker.env[0].name", "such as HTTPS_PROXY"],
        ),
        profile(
            worker(json!({ "env": [{ "name": "POD_NAME", "value": "x" }] })),
            &["spec.worker.env[0].name", "are the operator's"],
        ),
        profile(
            worker(
                json!({ "env": [{ "name": "A", "value": "1" }, { "name": "A", "value": "2" }] }),
            ),
            &["spec.worker.env[1]: Duplicate value"],
        ),
        profile(
            worker(json!({ "env": [{ "name": "A", "valueFrom": {} }] })),
            &["unknown field \"spec.worker.env[0].valueFrom\""],
        ),
        profile(
            worker(json!({ "resources": { "limits": { "memory": "much" } } })),
            &["spec.worker.resources.limits"],
        ),
        profile(
            template(json!({ "labels": { "worldstream.io/stream": "x" } })),
            &["spec.worker.podTemplate.labels", "are the operator's"],
        ),
        profile(
            template(
                json!({ "annotations": { "container.apparmor.security.beta.kubernetes.io/worker": "unconfined" } }),
            ),
            &["spec.worker.podTemplate.annotations", "confinement"],
        ),
        profile(
            template(json!({ "terminationGracePeriodSeconds": 1 })),
            &["terminationGracePeriodSeconds", "equal to 5"],
        ),
        profile(
            template(json!({ "terminationGracePeriodSeconds": 30 })),
            &["terminationGracePeriodSeconds", "longer than gate.timeout"],
        ),
        profile(
            template(json!({ "tolerations": [{ "operator": true }] })),
            &["tolerations[0].operator", "string"],
        ),
    ];
    cases.extend(
        [
            "serviceAccountName",
            "hostNetwork",
            "hostPID",
            "volumes",
            "securityContext",
            "containers",
        ]
        .map(unknown),
    );
    refuse(&cases);
}

/// What people write of pods, as numbers and texts, is taken as it is.
#[test]
fn resources_are_numbers_or_texts() {
    let mut spec = good("StreamProfile");
    lay_over(
        &mut spec,
        &json!({ "worker": {
            "resources": { "requests": { "cpu": 1, "memory": "128Mi" }, "limits": { "cpu": "1500m" } },
            "podTemplate": {
                "labels": { "team": "fraud" },
                "nodeSelector": { "disk": "fast" },
                "tolerations": [{ "key": "replay", "operator": "Exists" }],
                "affinity": { "podAntiAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [{
                    "weight": 1,
                    "podAffinityTerm": { "topologyKey": "kubernetes.io/hostname", "labelSelector": {
                        "matchLabels": { "team": "fraud" } } },
                }] } },
                "terminationGracePeriodSeconds": 60,
            },
        } }),
    );
    check(&document("StreamProfile", "tried", spec)).unwrap();
}

#[test]
fn stores_of_worlds_and_builds_of_views() {
    let key = json!({ "secret": { "name": "s3", "key": "k" } });
    let both = json!({ "accessKeyId": key, "secretAccessKey": key });
    let s3 = |s3: Value| json!({ "world": { "s3": s3 } });
    let oracle = |oracle: Value| json!({ "oracle": oracle });
    refuse(&[
        profile(
            s3(json!({ "credentials": { "accessKeyId": key } })),
            &["spec.world.s3.credentials.secretAccessKey: Required value"],
        ),
        profile(
            s3(json!({ "credentials": both, "anonymous": true })),
            &["spec.world.s3.credentials", "expected either"],
        ),
        profile(
            s3(json!({ "caFile": "x", "caConfigMap": { "name": "a", "key": "b" } })),
            &["spec.world.s3.caConfigMap", "expected either"],
        ),
        profile(
            s3(json!({ "unavailableFor": "0s" })),
            &["spec.world.s3.unavailableFor", "more than 0"],
        ),
        profile(
            oracle(json!({ "buildViews": "Always" })),
            &["spec.oracle.buildViews", "\"Never\", \"IfMissing\""],
        ),
        profile(
            oracle(json!({ "credentials": { "accessKeyId": key, "secretAccessKey": {} } })),
            &["spec.oracle.credentials.secretAccessKey", "exactly one of"],
        ),
        profile(oracle(json!({ "memory": "much" })), &["spec.oracle.memory"]),
        profile(
            oracle(json!({ "scratch": { "persistentVolumeClaim": "x", "mountPath": "/proc/x" } })),
            &["spec.oracle.scratch.mountPath", "not below"],
        ),
    ]);
    let mut spec = good("StreamProfile");
    lay_over(
        &mut spec,
        &json!({
            "world": { "s3": { "credentials": both, "caConfigMap": { "name": "a", "key": "b" } } },
            "oracle": {
                "buildViews": "IfMissing",
                "credentials": both,
                "memory": "1Gi",
                "serviceAccountAnnotations": { "eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/x" },
                "scratch": { "persistentVolumeClaim": "x", "mountPath": "/scratch" },
            },
        }),
    );
    check(&document("StreamProfile", "tried", spec)).unwrap();
}
