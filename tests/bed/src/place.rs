//! Where processes of the host are to be reached: an address, and the network namespace it is in.

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::command::command;
use crate::error::{BedError, Doing as _, Result};

/// A place for servers, such as the machine's loopback or a bed's first node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where a server listens, and its clients look for it.
    pub address: IpAddr,
    /// The network namespace, as the path that `nsenter --net=` takes; none: the machine's own.
    pub namespace: Option<PathBuf>,
}

impl Place {
    /// The machine's loopback.
    pub fn loopback() -> Place {
        Place {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            namespace: None,
        }
    }

    /// A command that runs there.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        match &self.namespace {
            None => command(program),
            Some(namespace) => {
                let mut enter = command("nsenter");
                let mut net = std::ffi::OsString::from("--net=");
                net.push(namespace);
                enter.arg(net).arg("--").arg(program);
                enter
            }
        }
    }

    /// Moves the calling thread there, and with it every thread and process that it starts from
    /// then on. It stays there.
    pub fn enter(&self) -> Result<()> {
        match &self.namespace {
            None => Ok(()),
            Some(namespace) => enter(namespace),
        }
    }

    /// Does something there, on a thread of its own.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let Some(namespace) = &self.namespace else {
            return work();
        };
        let done = std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    enter(namespace)?;
                    work()
                })
                .join()
        });
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// A port that nobody listens on there.
    pub fn free_port(&self) -> Result<u16> {
        self.within(|| {
            TcpListener::bind(SocketAddr::new(self.address, 0))
                .and_then(|listener| listener.local_addr())
                .map(|at| at.port())
                .doing(format_args!("looking for a free port at {}", self.address))
        })
    }

    /// A connection to a port there. It lasts, on whatever thread it is used.
    pub fn connect(&self, port: u16) -> Result<TcpStream> {
        let to = SocketAddr::new(self.address, port);
        self.connect_to(to)
    }

    /// A connection from there.
    pub fn connect_to(&self, to: SocketAddr) -> Result<TcpStream> {
        self.within(|| {
            TcpStream::connect_timeout(&to, Duration::from_secs(10))
                .doing(format_args!("connecting to {to}"))
        })
    }
}

fn enter(namespace: &Path) -> Result<()> {
    use std::os::fd::AsFd as _;
    let doing = || format!("entering {}", namespace.display());
    let file = std::fs::File::open(namespace).doing(doing())?;
    rustix::thread::move_into_link_name_space(
        file.as_fd(),
        Some(rustix::thread::LinkNameSpaceType::Network),
    )
    .map_err(|error| BedError::new(format!("{}: {error}", doing())))
}
