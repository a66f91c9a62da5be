//! Triggers, and gates of profiles, that the API server refuses, each with the words that name the
//! mistake.

use serde_json::{Value, json};

use crate::refused::{Case, case, refuse};

fn trigger(change: Value, says: &'static [&'static str]) -> Case {
    case("ReadyTrigger", change, says)
}

#[test]
fn triggers() {
    let key = json!({ "secret": { "name": "s", "key": "k" } });
    let keys = json!({ "accessKeyId": key, "secretAccessKey": key });
    let file = |root: &str| json!({ "bus": { "kinesis": null, "file": { "root": root } } });
    let volume =
        |path: &str| json!({ "volumes": [{ "persistentVolumeClaim": "v", "mountPath": path }] });
    refuse(&[
        trigger(
            json!({ "profile": null }),
            &["spec.profile: Required value"],
        ),
        trigger(json!({ "bus": null }), &["spec.bus: Required value"]),
        trigger(json!({ "store": null }), &["spec.store: Required value"]),
        trigger(
            json!({ "store": { "root": null } }),
            &["spec.store.root: Required value"],
        ),
        trigger(json!({ "buses": [] }), &["unknown field \"spec.buses\""]),
        trigger(
            json!({ "bus": { "kafka": {} } }),
            &["unknown field \"spec.bus.kafka\""],
        ),
        trigger(
            json!({ "bus": { "file": {} } }),
            &["spec.bus.kinesis", "expected one bus"],
        ),
        trigger(
            json!({ "bus": { "topic": "a/b" } }),
            &["spec.bus.topic", "without slashes"],
        ),
        trigger(
            json!({ "bus": { "topic": ".." } }),
            &["spec.bus.topic", "begins with no dot"],
        ),
        trigger(
            json!({ "bus": { "topic": "" } }),
            &["spec.bus.topic", "at least 1 chars"],
        ),
        trigger(
            json!({ "bus": { "maxMessageBytes": "1MB" } }),
            &["spec.bus.maxMessageBytes", "MiB"],
        ),
        trigger(
            file("bus"),
            &["spec.bus.file.root", "an absolute path or s3://bucket"],
        ),
        trigger(file("/mnt/../etc"), &["spec.bus.file.root", "without `..`"]),
        trigger(
            file("/mnt/%2e%2e/etc"),
            &["spec.bus.file.root", "percent signs"],
        ),
        trigger(
            json!({ "bus": { "kinesis": null, "file": { "root": "/b", "pollInterval": "0s" } } }),
            &["spec.bus.file.pollInterval", "more than 0"],
        ),
        trigger(
            json!({ "bus": { "kinesis": { "credentials": { "accessKeyId": {}, "secretAccessKey": key } } } }),
            &[
                "spec.bus.kinesis.credentials.accessKeyId",
                "exactly one of file, env, secret",
            ],
        ),
        trigger(
            json!({ "bus": { "kinesis": { "credentials": { "secretAccessKey": { "value": "hunter2" } } } } }),
            &["unknown field \"spec.bus.kinesis.credentials.secretAccessKey.value\""],
        ),
        trigger(
            json!({ "bus": { "kinesis": { "caFile": "/a", "caConfigMap": { "name": "a", "key": "b" } } } }),
            &["spec.bus.kinesis.caConfigMap", "expected either"],
        ),
        trigger(
            json!({ "store": { "root": "gs://bucket" } }),
            &["spec.store.root", "s3://bucket"],
        ),
        trigger(
            json!({ "store": { "root": "s3://" } }),
            &["spec.store.root", "s3://bucket"],
        ),
        trigger(
            json!({ "store": { "s3": { "anonymous": true, "credentials": keys } } }),
            &["spec.store.s3.credentials", "expected either"],
        ),
        trigger(
            json!({ "facts": { "allowedRoots": ["/a", "b"] } }),
            &["spec.facts.allowedRoots[1]", "an absolute path"],
        ),
        trigger(
            json!({ "scope": null }),
            &["spec.scope", "exactly one of platformRunId, configMap"],
        ),
        trigger(
            json!({ "scope": { "configMap": { "name": "a", "key": "b" } } }),
            &["spec.scope", "exactly one of"],
        ),
        trigger(
            json!({ "scope": { "platformRunId": "today" } }),
            &["spec.scope.platformRunId"],
        ),
        trigger(
            json!({ "concurrencyPolicy": "Replace" }),
            &["spec.concurrencyPolicy", "Forbid"],
        ),
        trigger(
            json!({ "concurrencyPolicy": "Forbid", "maxActive": 2 }),
            &["spec.maxActive", "one stream after the other"],
        ),
        trigger(json!({ "maxActive": 0 }), &["spec.maxActive", "equal to 1"]),
        trigger(json!({ "maxActive": 257 }), &["spec.maxActive", "256"]),
        trigger(
            json!({ "historyLimit": -1 }),
            &["spec.historyLimit", "equal to 0"],
        ),
        trigger(
            json!({ "deferral": { "minInterval": "90s", "maxInterval": "1m" } }),
            &["spec.deferral.maxInterval", "at least minInterval"],
        ),
        trigger(
            json!({ "deferral": { "minInterval": "0s" } }),
            &["spec.deferral.minInterval"],
        ),
        trigger(
            json!({ "stream": { "inFlight": 300 } }),
            &["spec.stream.inFlight", "256"],
        ),
        trigger(
            json!({ "stream": { "outputs": ["a/b"] } }),
            &["spec.stream.outputs[0]", "letters, digits"],
        ),
        trigger(
            json!({ "stream": { "lanes": { "count": 2, "only": 2 } } }),
            &["spec.stream.lanes.only", "below count"],
        ),
        trigger(
            json!({ "stream": { "attempt": "2" } }),
            &["unknown field \"spec.stream.attempt\""],
        ),
        trigger(
            volume("/etc/worldstream/secrets"),
            &["spec.volumes[0].mountPath", "not below /etc"],
        ),
        trigger(
            volume("bus"),
            &["spec.volumes[0].mountPath", "an absolute path"],
        ),
        trigger(
            json!({ "volumes": [
                { "persistentVolumeClaim": "v", "mountPath": "/a" },
                { "persistentVolumeClaim": "w", "mountPath": "/a" },
            ] }),
            &["spec.volumes[1]: Duplicate value"],
        ),
        trigger(
            json!({ "volumes": [{ "hostPath": "/" }] }),
            &["unknown field \"spec.volumes[0].hostPath\""],
        ),
        trigger(
            json!({ "resources": { "limits": { "memory": "much" } } }),
            &["spec.resources.limits"],
        ),
    ]);
}

#[test]
fn gates() {
    let part = |part: Value| {
        let mut named = json!({ "name": "weir" });
        for (field, value) in part.as_object().unwrap() {
            named[field] = value.clone();
        }
        json!({ "ready": { "downstream": [named] } })
    };
    let profile = |change: Value, says| case("StreamProfile", change, says);
    let http = |more: Value| {
        let mut http = json!({ "url": "http://weir" });
        for (field, value) in more.as_object().unwrap() {
            http[field] = value.clone();
        }
        part(json!({ "http": http }))
    };
    let condition = json!({ "apiVersion": "v1", "kind": "Service", "name": "weir", "type": "Up" });
    refuse(&[
        profile(
            part(json!({})),
            &[
                "spec.ready.downstream[0]",
                "exactly one of http, file, condition",
            ],
        ),
        profile(
            part(json!({ "http": { "url": "http://a" }, "file": { "path": "/a" } })),
            &["spec.ready.downstream[0]", "exactly one of"],
        ),
        profile(
            http(json!({ "url": "weir" })),
            &["http.url", "http:// or https://"],
        ),
        profile(
            http(json!({ "url": "http://me:hunter2@weir" })),
            &["http.url", "without a user"],
        ),
        profile(
            http(json!({ "pointer": "active" })),
            &["http.pointer", "a JSON pointer"],
        ),
        profile(
            http(json!({ "timeout": "0s" })),
            &["http.timeout", "more than 0"],
        ),
        profile(
            http(json!({ "headers": [{ "name": "A" }] })),
            &["http.headers[0]", "exactly one of value, secret"],
        ),
        profile(
            http(json!({ "headers": [{ "name": "A B", "value": "c" }] })),
            &["http.headers[0].name", "the name of a header"],
        ),
        profile(
            http(json!({ "headers": [{ "name": "A", "secret": {} }] })),
            &["http.headers[0].secret", "exactly one of file, env, secret"],
        ),
        profile(
            part(json!({ "file": { "path": "state.json" } })),
            &["file.path", "an absolute path"],
        ),
        profile(
            part(json!({ "condition": condition })),
            &["spec.ready.downstream[0].condition", "needs runIdPath"],
        ),
        profile(
            part(json!({ "requireActiveRunMatch": false, "condition": {
                "apiVersion": "v1", "kind": "Service", "name": "weir", "type": "Up", "status": "Yes",
            } })),
            &["condition.status", "True, False or Unknown"],
        ),
        profile(
            json!({ "ready": { "downstream": [
                { "name": "weir", "file": { "path": "/a" } },
                { "name": "weir", "file": { "path": "/b" } },
            ] } }),
            &["spec.ready.downstream[1]: Duplicate value"],
        ),
    ]);
}
