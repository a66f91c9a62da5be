//! The cluster is a real one.

use worldstream_tests::bed::cluster::Signal;
use worldstream_tests::bed::stores::{MinioOptions, MinioServer};
use worldstream_tests::stream::until;

use crate::pods::{NODES, Pod, bed, namespace};

#[test]
fn pods_resolve_names_and_reach_each_other_and_the_host() {
    let bed = bed();
    let _all = NODES.read();
    let namespace = namespace(bed, "names");
    let nodes = bed.nodes().unwrap();
    let looked = Pod::probe(&namespace, "lookup", &["lookup", "kubernetes.default.svc"]);
    let found = looked.finish(bed);
    assert!(found.starts_with("[10."), "{found}");

    // A server on one node, asked by name from the other.
    let server = Pod {
        node: nodes.first().map(String::as_str),
        ..Pod::probe(&namespace, "server", &["serve", "8080"])
    };
    server.start(bed);
    server.wait(bed, "Running");
    bed.kubectl(["-n", &namespace, "expose", "pod", "server", "--port=8080"])
        .unwrap();
    let url = format!("http://server.{namespace}.svc:8080/");
    let args = ["get", url.as_str()];
    let client = Pod {
        node: nodes.last().map(String::as_str),
        ..Pod::probe(&namespace, "client", &args)
    };
    assert_eq!(client.finish(bed).trim(), "200 server");

    // The same Service, from a process of the host.
    let reached = bed.reach(&namespace, "server", 8080).unwrap();
    let place = bed.place();
    until("the host reaches the Service", || {
        place.connect_to(reached.address).is_ok()
    });

    // A store of the host behind a Service.
    let minio = MinioServer::start_at(place, MinioOptions::default()).unwrap();
    bed.serve_host_port(&namespace, "minio", minio.server.port)
        .unwrap();
    let url = format!(
        "http://minio.{namespace}.svc:{}/minio/health/live",
        minio.server.port
    );
    let asked = Pod::probe(&namespace, "asks", &["get", &url]).finish(bed);
    assert!(asked.starts_with("200"), "{asked}");
}

#[test]
fn the_restricted_standard_is_enforced() {
    let bed = bed();
    let namespace = namespace(bed, "restricted");
    let refused = bed.apply(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: loose, namespace: {namespace}}}\n\
         spec: {{containers: [{{name: main, image: x}}]}}\n"
    ));
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("violates PodSecurity"), "{refused}");
}

#[test]
fn roles_are_enforced() {
    let bed = bed();
    let who = "--as=system:serviceaccount:default:default";
    // kubectl says it by its exit code, too.
    let may = bed.kubectl(["auth", "can-i", "create", "pods", who]);
    assert!(may.is_err(), "{may:?}");
    let refused = bed
        .kubectl(["get", "secrets", who])
        .unwrap_err()
        .to_string();
    assert!(refused.contains("forbidden"), "{refused}");
}

#[test]
fn a_lost_node_is_seen_and_its_pods_go_on() {
    let bed = bed();
    let _alone = NODES.write();
    let namespace = namespace(bed, "lost");
    let node = bed.nodes().unwrap().pop().expect("a second node");
    let shared = bed.shared_folder(&namespace).unwrap();
    bed.apply(&volume(&namespace, &shared.node.display().to_string()))
        .unwrap();
    let pod = Pod {
        node: Some(&node),
        claim: Some("shared"),
        ..Pod::probe(&namespace, "ticks", &["tick", "/shared/ticks"])
    };
    pod.start(bed);
    let ticks = || std::fs::read_to_string(shared.host.join("ticks")).unwrap_or_default();
    let goes_on = || {
        let before = ticks().len();
        until("the pod ticks", || ticks().len() > before);
    };
    goes_on();

    bed.signal_kubelet(&node, Signal::Stop).unwrap();
    let wait = |ready: &str| {
        bed.kubectl([
            "wait",
            "--timeout=180s",
            &format!("--for=condition=Ready={ready}"),
            &format!("node/{node}"),
        ])
        .unwrap();
    };
    wait("unknown");
    goes_on();
    assert_eq!(
        bed.signal_containers(&node, "/shared/ticks", Signal::Stop)
            .unwrap(),
        1
    );
    bed.signal_containers(&node, "/shared/ticks", Signal::Continue)
        .unwrap();
    goes_on();

    bed.signal_kubelet(&node, Signal::Continue).unwrap();
    wait("true");
}

/// A folder of the nodes as a volume, and the claim of it.
fn volume(namespace: &str, folder: &str) -> String {
    format!(
        r#"apiVersion: v1
kind: PersistentVolume
metadata: {{name: {namespace}}}
spec:
  capacity: {{storage: 1Gi}}
  accessModes: [ReadWriteMany]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: ""
  claimRef: {{namespace: {namespace}, name: shared}}
  hostPath: {{path: {folder}, type: Directory}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: shared, namespace: {namespace}}}
spec:
  accessModes: [ReadWriteMany]
  storageClassName: ""
  volumeName: {namespace}
  resources: {{requests: {{storage: 1Gi}}}}
"#
    )
}

#[test]
fn the_projects_images_run_in_it() {
    let bed = bed();
    let _all = NODES.read();
    let namespace = namespace(bed, "images");
    let images = worldstream_tests::images(bed);
    let pod = Pod {
        image: &images.worker,
        ..Pod::probe(&namespace, "version", &["--version"])
    };
    let version = format!("worldstream {}", env!("CARGO_PKG_VERSION"));
    assert_eq!(pod.finish(bed).trim(), version);

    // What each was built of lies in it.
    for archive in &images.archives {
        let bill = bill_of(archive);
        assert_eq!(bill["bomFormat"], "CycloneDX");
        let names: Vec<_> = bill["components"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|component| component["name"].as_str())
            .collect();
        assert!(names.contains(&"worldstream-crds"), "{names:?}");
        assert!(names.contains(&"serde_core"), "{names:?}");
        // The one runs in the compiler, the other in tests.
        for tool in ["serde_derive", "proptest"] {
            assert!(!names.contains(&tool), "{tool}: {names:?}");
        }
    }
}

fn bill_of(archive: &std::path::Path) -> serde_json::Value {
    let dir = tempfile::tempdir().unwrap();
    let tar = |archive: &std::path::Path| {
        let status = std::process::Command::new("tar")
            .arg("-C")
            .arg(dir.path())
            .arg("-xf")
            .arg(archive)
            .status()
            .unwrap();
        assert!(status.success());
    };
    tar(archive);
    let manifest = std::fs::read(dir.path().join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let config = dir.path().join(manifest[0]["Config"].as_str().unwrap());
    let config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(config).unwrap()).unwrap();
    assert_eq!(config["config"]["User"], "65532:65532");
    let labels = &config["config"]["Labels"];
    let place = labels["io.worldstream.sbom"].as_str().unwrap();
    tar(&dir.path().join(manifest[0]["Layers"][0].as_str().unwrap()));
    let bill = std::fs::read(dir.path().join(place.trim_start_matches('/'))).unwrap();
    serde_json::from_slice(&bill).unwrap()
}
