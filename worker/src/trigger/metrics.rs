//! A trigger's metrics: the counts of its status, in Prometheus's words.

use std::fmt::Write;

use worldstream_crds::ReadyCounts;

/// A scrape, as OpenMetrics text.
pub fn text(counts: &ReadyCounts, active: usize, waiting: usize) -> String {
    let mut text = String::from(
        "# HELP worldstream_trigger_messages What became of the messages of the bus.\n\
         # TYPE worldstream_trigger_messages counter\n",
    );
    let ReadyCounts {
        seen,
        started,
        streamed,
        skipped,
        deferred,
        failed,
        invalid,
    } = counts;
    for (what, count) in [
        ("seen", seen),
        ("started", started),
        ("streamed", streamed),
        ("skipped", skipped),
        ("deferred", deferred),
        ("failed", failed),
        ("invalid", invalid),
    ] {
        line(
            &mut text,
            &format!("messages_total{{what=\"{what}\"}}"),
            *count,
        );
    }
    for (name, help, value) in [
        ("active_streams", "WorldStreams that run.", active),
        (
            "waiting_messages",
            "Messages that wait for their downstream.",
            waiting,
        ),
    ] {
        let _ = writeln!(text, "# HELP worldstream_trigger_{name} {help}");
        let _ = writeln!(text, "# TYPE worldstream_trigger_{name} gauge");
        line(&mut text, name, value as u64);
    }
    text.push_str("# EOF\n");
    text
}

fn line(text: &mut String, name: &str, value: u64) {
    // Writing to a text does not fail.
    let _ = writeln!(text, "worldstream_trigger_{name} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_has_its_line() {
        let counts = ReadyCounts {
            seen: 7,
            failed: 2,
            ..ReadyCounts::default()
        };
        let text = text(&counts, 1, 3);
        for line in [
            "worldstream_trigger_messages_total{what=\"seen\"} 7\n",
            "worldstream_trigger_messages_total{what=\"failed\"} 2\n",
            "worldstream_trigger_active_streams 1\n",
            "worldstream_trigger_waiting_messages 3\n# EOF\n",
        ] {
            assert!(text.contains(line), "{line} {text}");
        }
    }
}
