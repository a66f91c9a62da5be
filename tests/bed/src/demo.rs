//! A cluster with something to see: the operator by its charts, and a namespace with a world, a gate
//! and a profile, in which one `kubectl apply` starts a replay. Twice is as good as once.

use std::path::Path;

use crate::bed::{Bed, SharedFolder};
use crate::error::{Doing as _, Result};
use crate::image::Images;
use crate::say::{say, stage};

/// Where the operator is.
pub const SYSTEM: &str = "worldstream-system";
/// Where streams are, and what they need.
pub const REPLAYS: &str = "replays";
/// The image's name in the samples.
const SAMPLE_IMAGE: &str = "image: worldstream:0.1.0";

/// Installs and applies all of it. `root` is the checkout; the images are in the cluster already.
pub fn demo(bed: &dyn Bed, root: &Path, images: &Images) -> Result<()> {
    let chart = |name: &str| root.join("charts").join(name).display().to_string();
    let helm = |name: &str, more: &[String]| {
        let folder = chart(name);
        let mut args = ["upgrade", "--install", name, &folder]
            .map(String::from)
            .to_vec();
        args.extend(["--namespace", SYSTEM, "--create-namespace"].map(String::from));
        args.extend_from_slice(more);
        // The addresses of images are long, and those of this cluster alone.
        stage(&format!("helm upgrade --install {name}"), || {
            bed.helm(&args)
        })
    };
    // Definitions that are there already, from whomever, are taken over.
    helm("worldstream-crds", &["--take-ownership".to_owned()])?;
    let mut values = vec!["--wait".to_owned(), "--timeout=5m".to_owned()];
    let set = |name: &str, value: &str| ["--set".to_owned(), format!("{name}={value}")];
    for (name, image) in [
        ("image", &images.operator),
        ("worker.image", &images.worker),
    ] {
        let (repository, tag) = image.rsplit_once(':').unwrap_or((image, "latest"));
        values.extend(set(&format!("{name}.repository"), repository));
        values.extend(set(&format!("{name}.tag"), tag));
    }
    values.extend(set("watchNamespaces", &format!("{{{REPLAYS}}}")));
    // Its Role is made in the namespace that it looks after.
    bed.restricted_namespace(REPLAYS)?;
    helm("worldstream", &values)?;
    stage("a volume, and a key for the gate", || {
        if !there(bed, "pvc", "worlds")? {
            let folder = bed.shared_folder(&format!("{REPLAYS}-worlds"))?;
            bed.apply(&volume(&folder))?;
        }
        if !there(bed, "secret", "ingestion-gate")? {
            bed.apply(&secret()?)?;
        }
        Ok(())
    })?;
    let sample = |name: &str| {
        let file = root.join("config").join(name);
        std::fs::read_to_string(&file).doing(format_args!("reading {}", file.display()))
    };
    let within = |words: &[&str]| bed.kubectl(["-n", REPLAYS].iter().chain(words)).map(drop);
    let apply = |text: &str| {
        let mut apply = bed.command("kubectl")?;
        apply.args(["-n", REPLAYS, "apply", "-f", "-"]);
        crate::command::output_with_input(&mut apply, text).map(drop)
    };
    stage("a gate, a world and a profile", || {
        let ours = format!("image: {}", images.worker);
        // A Job's image cannot be changed.
        within(&["delete", "job", "world-a", "--ignore-not-found"])?;
        apply(&sample("demo/gate_and_world.yaml")?.replace(SAMPLE_IMAGE, &ours))?;
        apply(&sample("samples/cluster/streamprofile.yaml")?)?;
        within(&[
            "rollout",
            "status",
            "deployment/ingestion-gate",
            "--timeout=5m",
        ])?;
        within(&[
            "wait",
            "--for=condition=Complete",
            "job/world-a",
            "--timeout=5m",
        ])
    })?;
    say("the next command starts two replays of the world, which take half a minute:");
    say(format_args!(
        "  kubectl -n {REPLAYS} apply -f config/samples/cluster/worldstreams.yaml"
    ));
    Ok(())
}

fn there(bed: &dyn Bed, kind: &str, name: &str) -> Result<bool> {
    let args = [
        "-n",
        REPLAYS,
        "get",
        kind,
        name,
        "--ignore-not-found",
        "-o",
        "name",
    ];
    Ok(!bed.kubectl(args)?.trim().is_empty())
}

fn secret() -> Result<String> {
    use std::io::Read as _;
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut from| from.read_exact(&mut bytes))
        .doing("reading /dev/urandom")?;
    let key = const_hex::encode(bytes);
    Ok(format!(
        r#"apiVersion: v1
kind: Secret
metadata: {{name: ingestion-gate, namespace: {REPLAYS}}}
stringData: {{api-key: "{key}"}}
"#
    ))
}

/// A folder of the nodes, as a cluster's storage would give it.
fn volume(folder: &SharedFolder) -> String {
    let path = folder.node.display();
    format!(
        r#"apiVersion: v1
kind: PersistentVolume
metadata: {{name: {REPLAYS}-worlds}}
spec:
  capacity: {{storage: 1Gi}}
  accessModes: [ReadWriteMany]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: ""
  claimRef: {{namespace: {REPLAYS}, name: worlds}}
  hostPath: {{path: "{path}", type: Directory}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: worlds, namespace: {REPLAYS}}}
spec:
  accessModes: [ReadWriteMany]
  storageClassName: ""
  volumeName: {REPLAYS}-worlds
  resources: {{requests: {{storage: 1Gi}}}}
"#
    )
}
