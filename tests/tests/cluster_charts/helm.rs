//! helm and kubectl for these tests.

use std::process::{Command, Stdio};

use worldstream_bed::Bed;
use worldstream_tests::repository;

/// The cluster.
pub fn cluster() -> &'static dyn Bed {
    worldstream_tests::cluster(1)
}

/// A chart's folder.
pub fn chart(name: &str) -> String {
    repository().join("charts").join(name).display().to_string()
}

/// The file with an environment's values.
pub fn values(environment: &str) -> String {
    format!("{}/values-{environment}.yaml", chart("worldstream"))
}

/// What a program said, or what it was refused with.
pub fn run(program: &str, args: &[&str], input: &str) -> Result<String, String> {
    use std::io::Write as _;
    let mut command: Command = cluster().command(program).unwrap();
    command
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    match output.status.success() {
        true => Ok(text(output.stdout)),
        false => Err(text(output.stderr) + &text(output.stdout)),
    }
}

/// helm, which must succeed.
pub fn helm(args: &[&str]) -> String {
    run("helm", args, "").unwrap_or_else(|said| panic!("helm {}: {said}", args.join(" ")))
}

/// kubectl, which must succeed.
pub fn kubectl(args: &[&str]) -> String {
    run("kubectl", args, "").unwrap_or_else(|said| panic!("kubectl {}: {said}", args.join(" ")))
}
