//! The API server with the definitions, and kubectl for it.

use std::process::Stdio;
use std::sync::OnceLock;

use serde_json::{Value, json};
use worldstream_bed::Bed;
use worldstream_tests::repository;

/// A namespace for the objects of these tests alone.
pub const NAMESPACE: &str = "api-tests";

/// The cluster, with the definitions of this checkout and an empty namespace.
pub fn cluster() -> &'static dyn Bed {
    static READY: OnceLock<&'static dyn Bed> = OnceLock::new();
    *READY.get_or_init(|| {
        let bed = worldstream_tests::cluster(1);
        let definitions = repository().join("crds");
        for file in std::fs::read_dir(definitions).unwrap() {
            let file = file.unwrap().path();
            if file
                .extension()
                .is_some_and(|extension| extension == "yaml")
            {
                bed.apply(&std::fs::read_to_string(&file).unwrap())
                    .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            }
        }
        let all = [
            "wait",
            "--for=condition=Established",
            "--timeout=60s",
            "crd",
            "--all",
        ];
        bed.kubectl(all).unwrap();
        let gone = [
            "delete",
            "namespace",
            NAMESPACE,
            "--ignore-not-found",
            "--wait",
        ];
        bed.kubectl(gone).unwrap();
        bed.kubectl(["create", "namespace", NAMESPACE]).unwrap();
        bed
    })
}

/// What kubectl said: its output, or what it was refused with.
pub fn kubectl(args: &[&str], input: Option<&Value>) -> Result<String, String> {
    use std::io::Write as _;
    let mut command = cluster().command("kubectl").unwrap();
    command
        .args(["--namespace", NAMESPACE])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    if let Some(input) = input {
        stdin.write_all(input.to_string().as_bytes()).unwrap();
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    match output.status.success() {
        true => Ok(text(output.stdout)),
        false => Err(text(output.stderr)),
    }
}

/// A document, checked by the server as strictly as it can and not kept.
pub fn check(document: &Value) -> Result<String, String> {
    let args = ["create", "--dry-run=server", "--validate=strict", "-f", "-"];
    kubectl(&args, Some(document))
}

/// Makes an object.
pub fn create(document: &Value) {
    kubectl(&["create", "--validate=strict", "-f", "-"], Some(document))
        .unwrap_or_else(|error| panic!("{document:#}: {error}"));
}

/// Merges a patch into an object, or only asks whether it might.
pub fn patch(object: &str, status: bool, dry: bool, patch: &Value) -> Result<String, String> {
    let patch = patch.to_string();
    let mut args = vec!["patch", object, "--type=merge", "-p", &patch];
    if status {
        args.push("--subresource=status");
    }
    if dry {
        args.push("--dry-run=server");
    }
    kubectl(&args, None)
}

/// A document of a kind.
pub fn document(kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "worldstream.io/v1alpha1",
        "kind": kind,
        "metadata": { "name": name },
        "spec": spec,
    })
}

/// Does something with each of many cases, several at once, and says all that went wrong.
pub fn for_each<T: Sync>(cases: &[T], work: impl Fn(&T) -> Result<(), String> + Sync) {
    cluster();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let wrong = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(case) =
                    cases.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    if let Err(error) = work(case) {
                        wrong.lock().unwrap().push(error);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}
