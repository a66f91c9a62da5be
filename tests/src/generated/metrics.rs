//! The reference of the worker's metrics.

use worldstream::cluster::metrics::METRICS;

use super::{cell, head};

/// A line for each metric.
pub fn worker() -> String {
    let mut page = head("Metrics of a worker");
    page.push_str(
        "Scraped from `/metrics`. `output` and `lane` are the worker's own; no label has a value \
         that is not known from the plan.\n\n\
         | metric | type | labels | meaning |\n| --- | --- | --- | --- |\n",
    );
    for metric in METRICS {
        let labels: Vec<String> = metric.labels.iter().map(|it| format!("`{it}`")).collect();
        page.push_str(&format!(
            "| `{}` | {} | {} | {} |\n",
            metric.name,
            metric.kind,
            labels.join(", "),
            cell(metric.help)
        ));
    }
    page
}
