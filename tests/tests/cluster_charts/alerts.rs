//! Alerts and dashboard: they ask for figures that are served, and alerts go off when they should,
//! by Prometheus's own tool.

use std::collections::BTreeSet;

use worldstream_tests::bed::system;
use worldstream_tests::repository;

use crate::helm::run;

const ALERTS: &str = "charts/worldstream/dashboards/alerts.yaml";
const DASHBOARD: &str = "charts/worldstream/dashboards/worldstream.json";

fn text(path: &str) -> String {
    std::fs::read_to_string(repository().join(path)).unwrap()
}

/// The names of figures in a text.
fn asked_for(text: &str) -> BTreeSet<String> {
    let of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let words = text.split(|c: char| !of_name(c));
    let ours = words.filter(|word| word.starts_with("worldstream_"));
    ours.map(|word| word.trim_end_matches("_bucket").to_owned())
        .collect()
}

#[test]
fn what_they_ask_for_is_served() {
    let workers = text("docs/reference/worker-metrics.md");
    let operator = text("operator/src/metrics.rs");
    let alerts = text(ALERTS);
    for (file, text) in [(ALERTS, &alerts), (DASHBOARD, &text(DASHBOARD))] {
        let names = asked_for(text);
        assert!(names.len() > 5, "{file}: {names:?}");
        for name in names {
            let served = match name.strip_prefix("worldstream_operator_") {
                Some(own) => {
                    let own = own.trim_end_matches("_total");
                    operator.contains(&format!("\"{own}\""))
                }
                None => workers.contains(&format!("| `{name}` |")),
            };
            assert!(served, "{file}: nobody serves {name}");
        }
    }
    // A decision that there is not would never be seen.
    let decisions = alerts.split("decision=\"").skip(1);
    for decision in decisions.map(|rest| rest.split('"').next().unwrap()) {
        let all = ["admitted", "duplicate", "quarantined", "undecided"];
        assert!(all.contains(&decision), "{decision}");
    }
}

#[test]
fn alerts_go_off_when_they_should() {
    system::ensure(&system::PROMETHEUS).unwrap();
    let file = repository().join(ALERTS).display().to_string();
    let said = run("promtool", &["check", "rules", &file], "").unwrap();
    let rules = text(ALERTS).matches("- alert:").count();
    assert!(said.contains(&format!("{rules} rules found")), "{said}");
    let tests = repository().join("tests/golden/alerts.yaml");
    let tried = text("tests/golden/alerts.yaml");
    for alert in text(ALERTS).split("- alert: ").skip(1) {
        let name = alert.lines().next().unwrap();
        assert!(
            tried.contains(&format!("alertname: {name}\n")),
            "{name} is not tried"
        );
    }
    let tests = tests.display().to_string();
    run("promtool", &["test", "rules", &tests], "").unwrap_or_else(|said| panic!("{said}"));
}
