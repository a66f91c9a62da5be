//! Every file of the project that is generated, as (path from the repository's top, text).

mod charts;
mod commands;
mod conditions;
mod documents;
mod metrics;
mod reasons;

/// All of them. To generate another file, add it here.
pub fn files() -> Vec<(String, String)> {
    let definitions = worldstream_crds::crd_yaml()
        .into_iter()
        .map(|(name, text)| (format!("crds/{name}"), text));
    let reference = [
        ("reason-codes.md", reasons::reason_codes()),
        ("exit-codes.md", reasons::exit_codes()),
        ("cli.md", commands::page()),
        ("documents.md", documents::page()),
        ("resources.md", documents::resources()),
        ("conditions.md", conditions::page()),
        ("worker-metrics.md", metrics::worker()),
    ]
    .map(|(name, text)| (format!("docs/reference/{name}"), text));
    definitions
        .chain(charts::files())
        .chain(reference)
        .collect()
}

/// The first lines of a generated page.
fn head(title: &str) -> String {
    format!("# {title}\n\n<!-- Generated: make generate. Do not edit. -->\n\n")
}

/// Text as a cell of a Markdown table: one line, bars and angle brackets escaped where they are
/// not code.
fn cell(text: &str) -> String {
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut code = false;
    let mut cell = String::new();
    for c in one_line.chars() {
        match c {
            '`' => {
                code = !code;
                cell.push(c);
            }
            '|' => cell.push_str("\\|"),
            '<' if !code => cell.push_str("&lt;"),
            _ => cell.push(c),
        }
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stay_cells() {
        assert_eq!(cell("a\n  b | `<c>` <d>"), "a b \\| `<c>` &lt;d>");
    }

    #[test]
    fn every_code_every_command_and_every_field_has_its_line() {
        let files = files();
        let text = |name: &str| {
            let path = format!("docs/reference/{name}");
            let found = files.iter().find(|(file, _)| *file == path);
            found.map(|(_, text)| text.as_str()).unwrap()
        };
        for reason in worldstream_crds::Reason::ALL {
            let heading = format!("\n## {reason}\n");
            assert!(text("reason-codes.md").contains(&heading), "{reason}");
            assert!(text("reason-codes.md").contains(reason.advice()));
        }
        for (code, meaning) in worldstream_crds::ExitCode::ALL {
            let line = format!("| {} | {meaning} |", code.code());
            assert!(text("exit-codes.md").contains(&line), "{line}");
        }
        for command in [
            "run",
            "plan",
            "sample",
            "dev-gate",
            "checkpoints reset",
            "demo",
        ] {
            let heading = format!("\n## worldstream {command}\n");
            assert!(text("cli.md").contains(&heading), "{command}");
        }
        for field in [
            "`spec.gate.quarantine.maxCount`",
            "`spec.ratePlan[].target_eps`",
        ] {
            assert!(text("documents.md").contains(field), "{field}");
        }
    }
}
