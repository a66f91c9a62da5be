use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::rbac::v1::Role;
use serde_json::{Value, json};
use worldstream_crds::ReadyTriggerStatus;
use worldstream_crds::plan::ReadyPlan;

use super::build::children;
use super::status::derive;
use super::validate::{Found, Valid, validate};
use super::*;
use crate::build::{Child, merge};
use crate::fixtures::{now, profile};
use crate::invalid::Invalid;

fn trigger(more: Value) -> TriggerView {
    let mut spec = json!({
        "profile": "pond",
        "bus": {"kinesis": {
            "stream": "brook",
            "credentials": {
                "accessKeyId": {"secret": {"name": "acorn", "key": "id"}},
                "secretAccessKey": {"secret": {"name": "acorn", "key": "kernel"}},
            },
        }},
        "store": {"root": "s3://burrow/deep"},
        "scope": {"platformRunId": "platform_20310504T030201Z"},
    });
    merge(&mut spec, more);
    TriggerView {
        key: Key {
            namespace: "meadow".into(),
            name: "lark".into(),
        },
        uid: "uid-lark".into(),
        generation: 5,
        deleting: false,
        spec: serde_json::from_value(spec).unwrap(),
        status: ReadyTriggerStatus::default(),
    }
}

fn valid(trigger: &TriggerView, of_profile: Value) -> Result<Valid, Invalid> {
    let found = Found {
        profile: Some(Arc::new(profile(of_profile))),
        texts: [(
            ("moon".into(), "phase".into()),
            "platform_20310504T030201Z\n".into(),
        )]
        .into(),
    };
    validate(trigger, &found, "reg.example/otter:7")
}

fn of_kind<'a>(all: &'a [Child], kind: &str) -> &'a Child {
    all.iter()
        .find(|child| child.resource.kind == kind)
        .unwrap()
}

#[test]
fn secrets_are_files_and_the_plan_names_no_secret() {
    let trigger = trigger(json!({}));
    let gates = json!({"ready": {"downstream": [{
        "name": "weir",
        "http": {"url": "http://weir/state", "headers": [
            {"name": "Authorization", "secret": {"secret": {"name": "nut", "key": "shell"}}},
        ]},
    }]}});
    let valid = valid(&trigger, gates).unwrap();
    let plan: ReadyPlan = serde_json::from_str(&valid.text).unwrap();
    assert_eq!(plan.name, "lark");
    assert!(
        !valid.text.contains("acorn") && !valid.text.contains("nut"),
        "{}",
        valid.text
    );
    let mut secrets: Vec<&str> = valid.mounted.iter().map(|it| it.name.as_str()).collect();
    secrets.sort();
    assert_eq!(secrets, ["acorn", "acorn", "nut"]);
    for file in &valid.mounted {
        assert!(
            valid.text.contains(&file.folder),
            "{}: {}",
            file.folder,
            valid.text
        );
    }
}

#[test]
fn the_pods_rights_are_its_own_and_no_more() {
    let by_map = json!({"scope": {
        "platformRunId": null,
        "configMap": {"name": "moon", "key": "phase"},
    }});
    let trigger = trigger(by_map);
    let made = children(&trigger, &valid(&trigger, json!({})).unwrap());
    let role: Role = serde_json::from_value(of_kind(&made.all, "Role").body.clone()).unwrap();
    let rules = role.rules.unwrap();
    let told: Vec<String> = rules
        .iter()
        .map(|rule| {
            format!(
                "{} {} {}",
                rule.resources.clone().unwrap().join(","),
                rule.verbs.join(","),
                rule.resource_names.clone().unwrap_or_default().join(",")
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "worldstreams get,list,watch,create,patch,delete ",
            "readytriggers/status get,patch lark",
            "configmaps get moon",
        ]
    );
    for child in &made.all {
        let owner = &child.body["metadata"]["ownerReferences"][0];
        assert_eq!(
            (owner["kind"].as_str(), owner["uid"].as_str()),
            (Some("ReadyTrigger"), Some("uid-lark"))
        );
    }
}

#[test]
fn a_deployment_is_one_restricted_pod_that_changes_with_its_plan_alone() {
    let before = trigger(json!({}));
    let made = children(&before, &valid(&before, json!({})).unwrap());
    let last = made.all.last().unwrap();
    let found: Deployment = serde_json::from_value(last.body.clone()).unwrap();
    assert_eq!(found.metadata.name.as_deref(), Some("lark-trigger"));
    let spec = found.spec;
    assert_eq!(spec.replicas, Some(1));
    assert_eq!(spec.strategy.unwrap().type_.as_deref(), Some("Recreate"));
    let pod = spec.template.spec.unwrap();
    assert_eq!(pod.service_account_name.as_deref(), Some("lark-trigger"));
    assert_eq!(pod.security_context.unwrap().run_as_non_root, Some(true));
    let container = &pod.containers[0];
    assert_eq!(container.image.as_deref(), Some("reg.example/otter:7"));
    let own = container.security_context.as_ref().unwrap();
    assert_eq!(own.read_only_root_filesystem, Some(true));
    assert_eq!(own.allow_privilege_escalation, Some(false));
    let labels = spec.template.metadata.unwrap().labels.unwrap();
    for (key, value) in spec.selector.match_labels.unwrap() {
        assert_eq!(labels.get(&key), Some(&value), "{key}");
    }
    // The same again is the same; another plan is another.
    let again = children(&before, &valid(&before, json!({})).unwrap());
    assert_eq!(again.hash, made.hash);
    let after = trigger(json!({"maxActive": 3}));
    let other = children(&after, &valid(&after, json!({})).unwrap());
    assert_ne!((other.hash, other.plan), (made.hash, made.plan));
}

#[test]
fn what_is_wrong_is_named_by_reason_and_field() {
    let file = |root: &str, volumes: Value| {
        json!({
            "bus": {"kinesis": null, "file": {"root": root}},
            "store": {"root": "/warren"},
            "volumes": volumes,
        })
    };
    let warren = json!([{"persistentVolumeClaim": "w", "mountPath": "/warren"}]);
    let sealed = json!([{"persistentVolumeClaim": "w", "mountPath": "/warren", "readOnly": true}]);
    let of_profile = json!({"gate": {"url": "nowhere"}});
    for (spec, of_profile, reason, words) in [
        (
            json!({"bus": {"kinesis": {"stream": null}}}),
            json!({}),
            "CONTROL_BUS_STREAM_MISSING",
            "kinesis.stream",
        ),
        (
            json!({"bus": {"kinesis": null}}),
            json!({}),
            "CONTROL_BUS_KIND_UNSUPPORTED",
            "spec.bus.kind",
        ),
        (
            file("/brook", warren.clone()),
            json!({}),
            "InvalidSpec",
            "lies on no volume",
        ),
        (
            file("/warren/bus", sealed),
            json!({}),
            "InvalidSpec",
            "readOnly",
        ),
        (
            file("/warrens", warren),
            json!({}),
            "InvalidSpec",
            "spec.bus.file.root",
        ),
        (
            json!({"stream": {"inFlight": 0}}),
            json!({}),
            "InvalidSpec",
            "spec.stream.inFlight",
        ),
        (json!({}), of_profile, "InvalidProfile", "spec.gate.url"),
        (
            json!({"scope": {"platformRunId": null, "configMap": {"name": "sun", "key": "phase"}}}),
            json!({}),
            "ConfigMapNotFound",
            "sun",
        ),
        (
            json!({"store": {"s3": {"credentials": {
                "accessKeyId": {"env": "A"}, "secretAccessKey": {"env": "B"},
            }}}}),
            json!({}),
            "InvalidSpec",
            "is for runs without a cluster",
        ),
    ] {
        let error = valid(&trigger(spec.clone()), of_profile).unwrap_err();
        assert_eq!(error.reason, reason, "{spec}: {error:?}");
        assert!(error.message.contains(words), "{spec}: {error:?}");
    }
}

#[test]
fn ready_is_what_the_pod_is() {
    let trigger = trigger(json!({}));
    let running = DeploymentView {
        observed: true,
        updated: 1,
        ready: 1,
        replicas: 1,
        ..DeploymentView::default()
    };
    let said = |invalid: Option<&Invalid>, deployment: Option<&DeploymentView>, trouble| {
        let said = derive(&trigger, invalid, deployment, trouble, now());
        let of = |kind: &str| said.conditions.iter().find(|it| it.type_ == kind).unwrap();
        let text = |kind: &str| format!("{} {}", of(kind).status, of(kind).reason);
        (text("Accepted"), text("Ready"))
    };
    let words = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(
        said(None, Some(&running), None),
        words("True Valid", "True Following")
    );
    assert_eq!(
        said(None, None, None),
        words("True Valid", "False TriggerStarting")
    );
    let invalid = Invalid::new("ProfileNotFound", "found no StreamProfile");
    assert_eq!(
        said(Some(&invalid), None, None),
        words("False ProfileNotFound", "False NotStarted")
    );
    // The old pod's word is none for the new plan.
    let replaced = DeploymentView {
        observed: false,
        ..running.clone()
    };
    assert_eq!(
        said(None, Some(&replaced), None),
        words("True Valid", "False TriggerStarting")
    );
    let stuck = DeploymentView {
        ready: 0,
        ..running
    };
    assert_eq!(
        said(None, Some(&stuck), Some("pod x: ErrImagePull: no")).1,
        "False TriggerAway"
    );
}
