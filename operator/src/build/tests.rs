use super::*;
use crate::fixtures::{profile, stream};
use crate::lower::Texts;
use crate::validate::{Validated, validate};
use crate::views::Notes;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::rbac::v1::Role;

fn validated(of_stream: Value, of_profile: Value) -> Validated {
    let stream = stream(of_stream);
    validate(
        &stream,
        Some(&profile(of_profile)),
        &Texts::new(),
        "reg.example/otter:7",
    )
    .unwrap()
}

fn notes(run: u32) -> Notes {
    Notes {
        output: "river_9Z".into(),
        run,
        crashes: 2,
        cursor: "part:5;".into(),
        ..Notes::default()
    }
}

fn worker_job(of_profile: Value, run: u32) -> Job {
    let (stream, valid) = (
        stream(json!({})),
        validated(json!({"lanes": {"count": 3}}), of_profile),
    );
    let order = JobOrder {
        validated: &valid,
        plan: "owl-plan",
        image: "reg.example/otter:7",
    };
    let child = worker(&stream, &order, &notes(run), &[]);
    serde_json::from_value(child.body).unwrap()
}

#[test]
fn a_worker_job_has_its_owner_its_lanes_and_the_designs_exit_codes() {
    let job = worker_job(json!({}), 1);
    let meta = &job.metadata;
    assert_eq!(meta.namespace.as_deref(), Some("meadow"));
    let owner = &meta.owner_references.as_ref().unwrap()[0];
    assert_eq!(
        (owner.kind.as_str(), owner.uid.as_str()),
        ("WorldStream", "uid-owl")
    );
    assert_eq!(owner.controller, Some(true));
    let labels = meta.labels.as_ref().unwrap();
    assert_eq!(labels["worldstream.io/stream"], "owl");
    assert_eq!(labels["worldstream.io/component"], "worker");
    assert_eq!(labels["worldstream.io/output"], names::dns("river_9Z"));
    let spec = job.spec.unwrap();
    assert_eq!(spec.completion_mode.as_deref(), Some("Indexed"));
    assert_eq!((spec.completions, spec.parallelism), (Some(3), Some(3)));
    assert_eq!(spec.backoff_limit, Some(i32::MAX));
    assert_eq!(spec.pod_replacement_policy.as_deref(), Some("Failed"));
    assert!(spec.active_deadline_seconds.is_none());
    let rules = spec.pod_failure_policy.unwrap().rules;
    let first = &rules[0];
    assert_eq!(first.action, "Ignore");
    assert_eq!(
        first.on_pod_conditions.as_ref().unwrap()[0].type_,
        "DisruptionTarget"
    );
    let codes = |rule: usize| rules[rule].on_exit_codes.as_ref().unwrap().values.clone();
    assert_eq!((rules[1].action.as_str(), codes(1)), ("Ignore", vec![14]));
    assert_eq!(
        (rules[2].action.as_str(), codes(2)),
        ("FailJob", vec![2, 10, 11, 12])
    );
    assert_eq!(rules.len(), 3);
}

#[test]
fn pods_are_restricted_whatever_the_profile_says() {
    let job = worker_job(
        json!({"worker": {
            "env": [{"name": "POD_UID", "value": "forged"}, {"name": "TREE", "value": "oak"}],
            "podTemplate": {"labels": {"worldstream.io/stream": "forged", "team": "birds"}},
        }}),
        1,
    );
    let template = job.spec.unwrap().template;
    let labels = template.metadata.unwrap().labels.unwrap();
    assert_eq!(labels["worldstream.io/stream"], "owl");
    assert_eq!(labels["team"], "birds");
    let pod = template.spec.unwrap();
    assert_eq!(pod.restart_policy.as_deref(), Some("Never"));
    assert!(pod.host_network.is_none() && pod.host_pid.is_none());
    assert!(
        pod.volumes
            .as_ref()
            .unwrap()
            .iter()
            .all(|it| it.host_path.is_none())
    );
    let security = pod.security_context.unwrap();
    assert_eq!(security.run_as_non_root, Some(true));
    assert_eq!(security.seccomp_profile.unwrap().type_, "RuntimeDefault");
    let container = &pod.containers[0];
    let security = container.security_context.as_ref().unwrap();
    assert_eq!(security.allow_privilege_escalation, Some(false));
    assert_eq!(security.read_only_root_filesystem, Some(true));
    let drop = security.capabilities.as_ref().unwrap().drop.clone();
    assert_eq!(drop, Some(vec!["ALL".to_owned()]));
    let env = container.env.as_ref().unwrap();
    let named = |name: &str| env.iter().filter(|it| it.name == name).collect::<Vec<_>>();
    assert!(named("POD_UID")[0].value_from.is_some() && named("POD_UID").len() == 1);
    assert_eq!(named("TREE")[0].value.as_deref(), Some("oak"));
    assert!(pod.termination_grace_period_seconds.unwrap() > 30);
    let patient = pod.tolerations.unwrap();
    assert!(patient.iter().any(|it| it.toleration_seconds == Some(30)));
}

#[test]
fn the_template_hash_is_of_what_decides_the_pod() {
    let hash = |job: &Job| job.metadata.annotations.as_ref().unwrap()[note::TEMPLATE].clone();
    let (one, two) = (worker_job(json!({}), 1), worker_job(json!({}), 2));
    assert_eq!(hash(&one), hash(&two));
    assert_ne!(one.metadata.name, two.metadata.name);
    let other = worker_job(
        json!({"worker": {"podTemplate": {"labels": {"a": "b"}}}}),
        1,
    );
    assert_ne!(hash(&one), hash(&other));
    let (stream, valid) = (stream(json!({})), validated(json!({}), json!({})));
    let order = JobOrder {
        validated: &valid,
        plan: "owl-plan",
        image: "reg.example/otter:7",
    };
    let taken = worker(&stream, &order, &notes(1), &["pod-0".into()]);
    let plain = worker(&stream, &order, &notes(1), &[]);
    assert_eq!(taken.name, plain.name);
    assert!(taken.body.to_string().contains(TAKE_OVER));
}

#[test]
fn a_role_names_the_streams_own_objects_and_nothing_else() {
    let stream = stream(json!({}));
    let own = vec!["owl-river".to_owned(), "owl-reed".to_owned()];
    let who = |arn: &str| json!({"serviceAccountAnnotations": {"eks.amazonaws.com/role-arn": arn}});
    let valid = validated(
        json!({}),
        json!({"worker": who("reader"), "oracle": who("writer")}),
    );
    for kind in [Kind::Worker, Kind::Preflight, Kind::Build] {
        let children = roles(&stream, &valid.pods, kind, &own);
        let annotations = &children[0].body["metadata"]["annotations"];
        let expected = if kind == Kind::Build {
            "writer"
        } else {
            "reader"
        };
        assert_eq!(annotations["eks.amazonaws.com/role-arn"], expected);
        assert_eq!(children.len(), 3);
        let role = children
            .iter()
            .find(|it| it.resource.kind == "Role")
            .unwrap();
        let role: Role = serde_json::from_value(role.body.clone()).unwrap();
        for rule in role.rules.unwrap() {
            let names = rule.resource_names.unwrap();
            assert!(!names.is_empty());
            assert!(names.iter().all(|name| own.contains(name) || name == "owl"));
            assert_eq!(rule.api_groups.unwrap(), ["worldstream.io"]);
        }
    }
}

#[test]
fn no_secret_is_in_a_child_but_its_name() {
    let valid = validated(
        json!({}),
        json!({"gate": {"auth": {"apiKey": {"secret": {"name": "otter", "key": "pelt"}}}}}),
    );
    let stream = stream(json!({}));
    assert!(!plan(&stream, &valid).body.to_string().contains("pelt"));
    let order = JobOrder {
        validated: &valid,
        plan: "p",
        image: "i",
    };
    let child = worker(&stream, &order, &notes(1), &[]);
    let job: Job = serde_json::from_value(child.body).unwrap();
    let pod = job.spec.unwrap().template.spec.unwrap();
    let secret = pod
        .volumes
        .unwrap()
        .into_iter()
        .find_map(|it| it.secret)
        .unwrap();
    assert_eq!(secret.secret_name.as_deref(), Some("otter"));
    let mounts = pod.containers[0].volume_mounts.clone().unwrap();
    assert!(
        mounts
            .iter()
            .any(|it| it.mount_path == "/etc/worldstream/secrets/gate-auth-apikey")
    );
}

/// What each kind of pod mounts: claims with whether read-only, and the folders of files.
fn mounts(body: &Value) -> (Vec<(String, bool)>, Vec<String>) {
    let spec = &body["spec"]["template"]["spec"];
    let volumes = spec["volumes"].as_array().unwrap();
    let mounts = spec["containers"][0]["volumeMounts"].as_array().unwrap();
    let of = |name: &Value| volumes.iter().find(|it| it["name"] == *name).unwrap();
    let (mut claims, mut files) = (Vec::new(), Vec::new());
    for mount in mounts {
        let volume = of(&mount["name"]);
        if let Some(claim) = volume.get("persistentVolumeClaim") {
            assert_eq!(claim["readOnly"], mount["readOnly"]);
            let name = claim["claimName"].as_str().unwrap().to_owned();
            claims.push((name, mount["readOnly"] == true));
        } else if volume.get("secret").is_some() {
            files.push(mount["mountPath"].as_str().unwrap().to_owned());
        }
    }
    (claims, files)
}

#[test]
fn only_who_builds_a_view_may_write_to_worlds_and_it_has_nothing_of_the_gate() {
    let secret = |name: &str| json!({"secret": {"name": name, "key": "k"}});
    let keys = |who: &str| json!({"accessKeyId": secret(who), "secretAccessKey": secret(who)});
    let valid = validated(
        json!({}),
        json!({
            "gate": {"auth": {"apiKey": secret("otter")}},
            "world": {
                "volume": {"persistentVolumeClaim": "hollows", "mountPath": "/hollow"},
                "s3": {"credentials": keys("reader")},
            },
            "checkpoints": {"file": {
                "volume": {"persistentVolumeClaim": "marks", "mountPath": "/marks"},
            }},
            "oracle": {
                "buildViews": "IfMissing",
                "credentials": keys("writer"),
                "memory": "96MiB",
                "scratch": {"persistentVolumeClaim": "heap", "mountPath": "/heap"},
            },
        }),
    );
    let stream = stream(json!({}));
    let order = JobOrder {
        validated: &valid,
        plan: "owl-plan",
        image: "i",
    };
    let build = view(&stream, &order, &notes(3));
    let (claims, files) = mounts(&build.body);
    let claim = |name: &str, read_only: bool| (name.to_owned(), read_only);
    assert_eq!(claims, [claim("hollows", false), claim("heap", false)]);
    assert_eq!(files.len(), 4);
    assert!(files.iter().all(|it| !it.contains("gate")), "{files:?}");
    for other in [
        worker(&stream, &order, &notes(1), &[]),
        preflight(&stream, &order, &notes(1)),
    ] {
        let (claims, files) = mounts(&other.body);
        assert_eq!(claims, [claim("hollows", true), claim("marks", false)]);
        assert!(files.iter().all(|it| !it.contains("oracle")), "{files:?}");
        assert_eq!(files.len(), 3);
    }
    let job: Job = serde_json::from_value(build.body).unwrap();
    let labels = job.metadata.labels.unwrap();
    assert_eq!(labels["worldstream.io/component"], "build-view");
    let pod = job.spec.unwrap().template.spec.unwrap();
    let container = &pod.containers[0];
    assert_eq!(
        container.args.as_ref().unwrap().join(" "),
        "build-view --plan /etc/worldstream/plan/plan.json --stream meadow/owl --output river_9Z \
         --memory 96MiB --spill-dir /heap"
    );
    assert_eq!(pod.security_context.unwrap().run_as_non_root, Some(true));
    let limits = container.resources.clone().unwrap().limits.unwrap();
    assert_eq!(limits["memory"].0, ((96 + 128) << 20).to_string());
}
