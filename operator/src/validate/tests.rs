use super::*;
use crate::fixtures::{profile, stream};
use serde_json::{Value, json};

const IMAGE: &str = "reg.example/otter:7";

fn valid(of_stream: Value, of_profile: Value) -> Result<Validated, Invalid> {
    validate(
        &stream(of_stream),
        Some(&profile(of_profile)),
        &Texts::new(),
        IMAGE,
    )
}

#[test]
fn a_sound_stream_becomes_a_plan() {
    let valid = valid(json!({"lanes": {"count": 3}}), json!({})).unwrap();
    let ids: Vec<&str> = valid.outputs.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(ids, ["Reed_2", "river_9Z"]);
    assert_eq!(valid.outputs[0].role, OutputRole::Context);
    assert_eq!((valid.lanes, valid.image.as_str()), (3, IMAGE));
    assert_eq!(
        valid.plan.identity.platform_run_id,
        "platform_20310504T030000Z"
    );
    assert_eq!(valid.profile_generation, 8);
    assert!(valid.live.fences);
    let text: StreamPlan = serde_json::from_str(&valid.text).unwrap();
    assert_eq!(text, valid.plan);
}

#[test]
fn the_same_makes_the_same_plan_and_live_settings_are_the_streams_first() {
    let one = valid(json!({}), json!({})).unwrap();
    assert_eq!(one.hash, valid(json!({}), json!({})).unwrap().hash);
    let other = valid(json!({}), json!({"gate": {"url": "https://weir.example"}})).unwrap();
    assert_ne!(one.hash, other.hash);
    let live = valid(
        json!({"speedup": 7.0, "maxLag": "9s"}),
        json!({"defaults": {"speedup": 2.0, "ttlAfterFinished": "1h"}, "worker": {"crashLimit": 9}}),
    )
    .unwrap()
    .live;
    assert_eq!((live.speedup, live.max_lag), (7.0, Duration::from_secs(9)));
    assert_eq!(
        (live.crash_limit, live.ttl),
        (9, Some(Duration::from_secs(3600)))
    );
}

#[test]
fn what_is_wrong_has_a_reason_and_names_the_field() {
    for (of_stream, of_profile, reason, part) in [
        (
            json!({}),
            json!({"gate": {"url": "sluice"}}),
            "InvalidProfile",
            "spec.gate.url",
        ),
        (
            json!({}),
            json!({"gate": {"url": null}}),
            "InvalidProfile",
            "spec.gate.url",
        ),
        (
            json!({"speedup": null, "until": "soon"}),
            json!({}),
            "InvalidSpec",
            "spec.until",
        ),
        (
            json!({"engineRunRoot": "/hollow/../x"}),
            json!({}),
            "ROOT_NOT_ALLOWED",
            "..",
        ),
        (
            json!({"engineRunRoot": "ftp://hollow/x"}),
            json!({}),
            "ROOT_NOT_ALLOWED",
            "ftp",
        ),
        (
            json!({}),
            json!({"world": {"oracleRoot": null}}),
            "InvalidProfile",
            "allowedRoots",
        ),
        (
            json!({"outputs": ["brook"]}),
            json!({}),
            "NO_TRAFFIC_OUTPUTS",
            "brook",
        ),
        (
            json!({}),
            json!({"contextOutputs": {"fraud": {"outputIds": ["brook"]}}}),
            "OUTPUT_UNKNOWN",
            "brook",
        ),
        (
            json!({}),
            json!({"catalogue": {"inline": "outputs: 3"}}),
            "STREAM_FAILED",
            "inline",
        ),
        (
            json!({}),
            json!({"gateMap": {"builtIn": null, "configMap": {"name": "m", "key": "k"}}}),
            "ConfigMapNotFound",
            "ConfigMap m: k",
        ),
        (
            json!({}),
            json!({"checkpoints": {"file": {}}}),
            "InvalidProfile",
            "spec.checkpoints.file.volume",
        ),
    ] {
        let error = valid(of_stream, of_profile).unwrap_err();
        assert_eq!(error.reason, reason, "{}", error.message);
        assert!(error.message.contains(part), "{}", error.message);
    }
    let error = validate(&stream(json!({})), None, &Texts::new(), IMAGE).unwrap_err();
    assert_eq!(error.reason, "ProfileNotFound");
    assert!(
        error.message.contains("\"pond\" in namespace meadow"),
        "{}",
        error.message
    );
}

#[test]
fn identity_is_of_the_run_and_the_selection() {
    let one = stream(json!({"outputs": ["b", "a"]}));
    assert_eq!(
        identity(&one),
        identity(&stream(json!({"outputs": ["a", "b"]})))
    );
    for other in [
        json!({"outputs": ["a"]}),
        json!({"outputs": ["a", "b"], "attempt": "2"}),
        json!({"outputs": ["a", "b"], "trafficMode": "baseline"}),
        json!({"outputs": ["a", "b"], "platformRunId": "platform_20200101T000000Z"}),
    ] {
        assert_ne!(identity(&one), identity(&stream(other.clone())), "{other}");
    }
    assert_eq!(
        identity(&stream(json!({"attempt": ""}))),
        identity(&stream(json!({})))
    );
}
