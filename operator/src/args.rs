//! The command line.

use std::net::SocketAddr;

use clap::{Parser, ValueEnum};

/// Turns WorldStream resources into paced worker Jobs.
#[derive(Parser, Clone, Debug)]
#[command(name = "worldstream-operator", version)]
pub struct Args {
    /// Watch this namespace alone; repeatable, or separated by commas [default: all]
    #[arg(long = "namespace", value_delimiter = ',')]
    pub namespaces: Vec<String>,

    /// The image of workers whose profile names none
    #[arg(long)]
    pub worker_image: String,

    /// Where /metrics, /healthz and /readyz are served
    #[arg(long, default_value = "0.0.0.0:8080")]
    pub metrics_addr: SocketAddr,

    /// How the log is written
    #[arg(long, default_value = "text")]
    pub log_format: LogFormat,

    /// Work at once, without a Lease: for a single process
    #[arg(long)]
    pub no_leader_election: bool,

    /// The namespace of the Lease [default: the pod's, as $POD_NAMESPACE has it]
    #[arg(long)]
    pub lease_namespace: Option<String>,

    /// The name of the Lease
    #[arg(long, default_value = "worldstream-operator")]
    pub lease_name: String,

    /// What this process is called in the Lease and in events [default: the pod's name, as
    /// $POD_NAME has it]
    #[arg(long)]
    pub identity: Option<String>,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// An object a line.
    Json,
}
