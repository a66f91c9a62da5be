//! Moments between two steps at which a test has the process killed, as a crash would: builds for
//! tests and development alone know them.

/// The variable that names the moment: none of those that a profile may not set.
#[cfg(debug_assertions)]
const VARIABLE: &str = "KILL_WORLDSTREAM_AT";

/// Every moment, in the order of the steps.
pub const MOMENTS: [&str; 15] = [
    "read",
    "not_recorded",
    "facts_read",
    "agreed",
    "in_scope",
    "downstream_ready",
    "world_named",
    "claimed",
    "claim_open",
    "started",
    "streamed",
    "ended",
    "noted",
    "recorded",
    "closed",
];

/// Kills this process with SIGKILL if this is the moment that the environment names.
#[cfg(debug_assertions)]
pub fn moment(name: &str) {
    debug_assert!(MOMENTS.contains(&name), "{name}");
    if std::env::var_os(VARIABLE).is_some_and(|at| at == name) {
        let own = rustix::process::getpid();
        // It cannot fail: the process is there, and our own.
        let _ = rustix::process::kill_process(own, rustix::process::Signal::KILL);
        // The first process of a container cannot kill itself; nothing of ours runs behind this.
        std::process::exit(137);
    }
}

/// Nothing, in a release build.
#[cfg(not(debug_assertions))]
pub fn moment(_: &str) {}
