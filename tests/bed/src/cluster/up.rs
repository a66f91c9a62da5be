//! Bringing a cluster up. Twice is as good as once; what is half there is taken down first.

use super::control::{self, kubectl};
use super::state::until;
use super::{State, Status, dns, down, network, node};
use crate::error::{BedError, Result};
use crate::pins::{KUBERNETES, Kit};
use crate::say::{say, stage};
use crate::system;

/// The file that says how many nodes there are; written last.
const NODES: &str = "nodes";

/// Brings a cluster up with so many nodes, unless it is.
pub(super) fn up(state: &State, nodes: usize) -> Result<()> {
    if !(1..=2).contains(&nodes) {
        return Err(BedError::new(format!("{nodes} nodes: a bed has 1 or 2")));
    }
    if !system::is_root() {
        return Err(BedError::new(
            "needs root, for network namespaces and control groups (or KUBECONFIG with a cluster \
             of yours)",
        ));
    }
    system::ensure(&system::NODES)?;
    Kit::Kubernetes.ensure()?;
    Kit::CoreDns.ensure()?;
    let _held = state.hold()?;
    let from = match status(state) {
        Status::Up { nodes: up } if up >= nodes => {
            say(format_args!("{} is up, with {up} node(s)", state.name()));
            return Ok(());
        }
        Status::Up { nodes: up } => up,
        Status::Down => 0,
        Status::Broken { why } => {
            say(format_args!("{}: {why}; it begins anew", state.name()));
            down::end(state)?;
            down::clear(state)?;
            0
        }
    };
    let began = std::time::Instant::now();
    if let Err(error) = start(state, from, nodes) {
        return Err(BedError::new(format!(
            "{error}\nlogs: {}",
            state.file("log").display()
        )));
    }
    state.write(NODES, &nodes.to_string())?;
    say(format_args!(
        "{} is up: Kubernetes {KUBERNETES}, {nodes} node(s), after {:.1} s",
        state.name(),
        began.elapsed().as_secs_f64()
    ));
    Ok(())
}

fn start(state: &State, from: usize, nodes: usize) -> Result<()> {
    state.make("log")?;
    state.make("processes")?;
    network::make(state, nodes)?;
    let new = from + 1..=nodes;
    stage("API server and containerd", || {
        if from == 0 {
            control::start_api(state)?;
        }
        // They start, and unpack their images, while the API server does.
        for node in new.clone() {
            node::start_containerd(state, node)?;
        }
        if from == 0 {
            control::start_controllers(state)?;
            dns::apply(state)?;
        }
        Ok(())
    })?;
    stage("nodes ready", || {
        for node in new {
            node::start_kubelet(state, node)?;
        }
        until(state, "the nodes to be ready", || ready(state) >= nodes)
    })?;
    stage("DNS ready", || until(state, "DNS", || dns::ready(state)))
}

fn ready(state: &State) -> usize {
    let conditions = kubectl(
        state,
        &[
            "get",
            "nodes",
            "-o",
            r#"jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}"#,
        ],
    );
    conditions.map_or(0, |it| {
        it.split_whitespace().filter(|it| *it == "True").count()
    })
}

/// Whether a cluster is up.
pub(super) fn status(state: &State) -> Status {
    if !state.folder().exists() {
        return Status::Down;
    }
    let all = state.all_recorded();
    let nodes = std::fs::read_to_string(state.file(NODES))
        .ok()
        .and_then(|text| text.trim().parse().ok());
    let Some(nodes) = nodes else {
        return if all.is_empty() {
            Status::Down
        } else {
            Status::Broken {
                why: "was left half way up".into(),
            }
        };
    };
    match all.iter().find(|(_, process)| !process.runs()) {
        Some((name, _)) => Status::Broken {
            why: format!("{name} has ended"),
        },
        None => Status::Up { nodes },
    }
}
