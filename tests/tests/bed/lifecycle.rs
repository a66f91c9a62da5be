//! Up, up again, one more node, mended, down: and then it is as if it had never been there.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use worldstream_tests::bed::Cluster;
use worldstream_tests::bed::cluster::{Status, names};
use worldstream_tests::stream::until;

#[test]
fn it_comes_up_once_and_goes_without_a_trace() {
    let cluster = Cluster::named(&format!("life-{}", std::process::id())).unwrap();
    let before = machine(&cluster);
    assert_eq!(cluster.status(), Status::Down);

    cluster.up(1).unwrap();
    assert_eq!(cluster.status(), Status::Up { nodes: 1 });
    let processes = own_processes(&cluster);
    assert!(!processes.is_empty());
    cluster.up(1).unwrap();
    assert_eq!(own_processes(&cluster), processes, "the second up");

    cluster.up(2).unwrap();
    assert_eq!(cluster.status(), Status::Up { nodes: 2 });
    assert!(
        processes.is_subset(&own_processes(&cluster)),
        "one more node"
    );

    // What has lost a part begins anew.
    let network = std::fs::metadata(cluster.namespace().path()).unwrap().ino();
    let etcd = in_network(network)
        .into_iter()
        .find(|id| command_line(*id).contains("/etcd "))
        .expect("etcd runs");
    kill(etcd);
    until("the loss to be seen", || {
        matches!(cluster.status(), Status::Broken { .. })
    });
    cluster.up(1).unwrap();
    assert_eq!(cluster.status(), Status::Up { nodes: 1 });

    let network = std::fs::metadata(cluster.namespace().path()).unwrap().ino();
    cluster.down().unwrap();
    assert_eq!(cluster.status(), Status::Down);
    until("the network to be empty", || in_network(network).is_empty());
    assert_eq!(own_processes(&cluster), BTreeSet::new());
    let after = machine(&cluster);
    let left: Vec<_> = after.difference(&before).collect();
    assert!(left.is_empty(), "{left:#?}");
    cluster.down().unwrap();
}

#[test]
fn a_bed_ends_with_the_process_that_it_was_for() {
    let cluster = Cluster::named(&format!("owned-{}", std::process::id())).unwrap();
    let mut owner = std::process::Command::new("sleep")
        .arg("1000")
        .spawn()
        .unwrap();
    let up = std::process::Command::new(worldstream_tests::built("bed"))
        .args(["--name", cluster.name(), "up", "--while-runs"])
        .arg(owner.id().to_string())
        .status()
        .unwrap();
    assert!(up.success());
    assert_eq!(cluster.status(), Status::Up { nodes: 1 });
    owner.kill().unwrap();
    owner.wait().unwrap();
    until("the bed to go", || cluster.status() == Status::Down);
}

#[test]
fn names_and_numbers_are_checked() {
    for name in ["", "Upper", "a/b", "a-name-that-is-far-too-long"] {
        let error = Cluster::named(name).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("1 to 20"), "{error}");
    }
    let error = Cluster::named("three").unwrap().up(3).unwrap_err();
    assert!(error.to_string().contains("1 or 2"), "{error}");
}

/// What a bed could leave on the machine; what belongs to other beds is left out.
fn machine(cluster: &Cluster) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    found.extend(mounts.lines().map(|line| format!("mount {line}")));
    groups(Path::new("/sys/fs/cgroup"), &mut found);
    for folder in ["/run", "/run/netns", "/sys/class/net", "/tmp", "/var/lib"] {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            // Tests make temporary files all the time.
            let temporary = path.starts_with("/tmp") && !path.to_string_lossy().contains("bed");
            if !temporary {
                found.insert(format!("file {}", path.display()));
            }
        }
    }
    let others = names().into_iter().any(|name| name != cluster.name());
    found.retain(|it| {
        let of_bed = it.contains("wsbed-") || it.contains("worldstream-bed-");
        let of_others = of_bed && !it.contains(cluster.name());
        // Made by the first bed, removed by the last.
        let of_all = others
            && ["/run/netns", "/var/lib/cni", "/var/lib/kubelet"]
                .iter()
                .any(|folder| it.contains(folder));
        !of_others && !of_all
    });
    found
}

fn groups(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.insert(format!("group {}", entry.path().display()));
            groups(&entry.path(), found);
        }
    }
}

/// Processes that name the bed's folder or run in one of its groups. What has ended and is not yet
/// collected by its parent has no program any more.
fn own_processes(cluster: &Cluster) -> BTreeSet<u32> {
    let folder = format!("{}/", cluster.folder().display());
    let group = format!("/wsbed-{}-", cluster.name());
    ids()
        .into_iter()
        .filter(|id| {
            let groups = std::fs::read_to_string(format!("/proc/{id}/cgroup")).unwrap_or_default();
            let runs = std::fs::read_link(format!("/proc/{id}/exe")).is_ok();
            runs && (command_line(*id).contains(&folder) || groups.contains(&group))
        })
        .collect()
}

/// Processes in a network namespace.
fn in_network(inode: u64) -> Vec<u32> {
    let of = |id: &u32| std::fs::metadata(format!("/proc/{id}/ns/net")).map(|it| it.ino());
    ids()
        .into_iter()
        .filter(|id| of(id).is_ok_and(|own| own == inode))
        .collect()
}

fn ids() -> Vec<u32> {
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

fn command_line(id: u32) -> String {
    let bytes = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

fn kill(id: u32) {
    let status = std::process::Command::new("kill")
        .args(["-KILL", &id.to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}
