//! The Lease by which one of several operators leads.

use serde_json::json;

use worldstream_tests::bed::cluster::Signal;

use crate::operator::{Operator, SYSTEM, wait};
use crate::outside::Outside;

/// Told to stop, an operator gives it up; one that loses it ends.
pub fn the_lease_is_given_up_at_once_and_its_loss_is_the_end(operator: &Operator) {
    operator.scale(0);
    wait("operators that are gone", || operator.pods().is_empty());
    // Its process ended before its pod went.
    assert_eq!(operator.holder("worldstream"), "");

    let mut process = Outside::start(operator, SYSTEM, "suite");
    let leads = || operator.holder(SYSTEM) == "suite";
    wait("a process that leads", leads);
    process.signal(Signal::Terminate);
    assert_eq!(process.end().code(), Some(0));
    assert_eq!(operator.holder(SYSTEM), "");

    let mut process = Outside::start(operator, SYSTEM, "suite");
    wait("the next that leads", leads);
    // What others write to it is no loss.
    let kubectl = |verb: &str, more: &[&str]| {
        let lease = ["-n", SYSTEM, verb, "lease", SYSTEM];
        operator.bed.kubectl(lease.iter().chain(more)).unwrap();
    };
    let renewed = || operator.names("leases", ".spec.renewTime");
    let before = renewed();
    kubectl("label", &["looked-at=yes", "--overwrite"]);
    wait("another renewal", || renewed() != before);
    assert!(leads());
    let stolen = json!({ "spec": { "holderIdentity": "thief", "leaseDurationSeconds": 3600 } });
    kubectl("patch", &["--type=merge", "-p", &stolen.to_string()]);
    assert_eq!(process.end().code(), Some(1));
    kubectl("delete", &[]);
    operator.scale(1);
    operator.until_it_leads();
}
