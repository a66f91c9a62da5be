//! The examples of README and docs, run as they are written: of each page, all blocks marked
//! `sh run` in order, in an empty folder, with `worldstream` on the PATH; blocks marked
//! `yaml file=NAME` are written to that file before.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use worldstream_tests::{program, repository, run};

/// A fenced block of a page.
struct Block {
    info: String,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in page.lines() {
        match (line.strip_prefix("```"), open.as_mut()) {
            (Some(info), None) => {
                open = Some(Block {
                    info: info.to_owned(),
                    text: String::new(),
                });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a fence is left open");
    blocks
}

/// README and every page of docs/ that people write.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![repository().join("README.md")];
    for entry in std::fs::read_dir(repository().join("docs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "md") {
            pages.push(path);
        }
    }
    pages.sort();
    pages
}

/// The port that the pages' gate listens on. Another one is taken here: this one may be in use.
const PORT: &str = "8081";

fn free_port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port().to_string()
}

/// Runs a page's examples, and gives what they printed if one failed. Everything that they left
/// running is ended.
fn try_page(page: &Path) -> Result<usize, String> {
    let text = std::fs::read_to_string(page).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut port = free_port();
    let (mut script, mut count, mut gates) = ("set -eux\n".to_owned(), 0, 0);
    for Block { info, text } in blocks(&text) {
        // A block that starts a gate has it to itself; the first is the one that was named before.
        if text.contains("dev-gate") {
            if gates > 0 {
                port = free_port();
            }
            gates += 1;
        }
        let text = text.replace(PORT, &port);
        if let Some(name) = info.strip_prefix("yaml file=") {
            script.push_str(&format!(
                "cat > {name} <<'END-OF-FILE'\n{text}END-OF-FILE\n"
            ));
        } else if info == "sh run" {
            script.push_str(&text);
            count += 1;
        } else if info != "sh cluster" {
            // Those are run by the suite `cluster`.
            assert!(
                !info.contains(' '),
                "{}: a block marked {info:?} is not run",
                page.display()
            );
        }
    }
    if count == 0 {
        return Ok(0);
    }
    let log = dir.path().join("log");
    let own = program().parent().unwrap().display().to_string();
    let path = format!("{own}:{}", std::env::var("PATH").unwrap_or_default());
    let mut shell = Command::new("sh")
        .arg("-c")
        .arg(&script)
        .env("PATH", path)
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&log).unwrap())
        .stderr(std::fs::File::options().append(true).open(&log).unwrap())
        .process_group(0)
        .spawn()
        .unwrap();
    let group = format!("-{}", shell.id());
    let status = shell.wait().unwrap();
    // The gates that it started in the background; none may be left.
    let _ = Command::new("kill")
        .args(["-KILL", "--", &group])
        .stderr(Stdio::null())
        .status();
    match status.success() {
        true => Ok(count),
        false => Err(std::fs::read_to_string(&log).unwrap_or_default()),
    }
}

#[test]
fn every_example_works_as_it_is_written() {
    program();
    let results: Vec<_> = std::thread::scope(|scope| {
        let tries: Vec<_> = pages()
            .into_iter()
            .map(|page| {
                scope.spawn(move || {
                    let result = try_page(&page);
                    (page, result)
                })
            })
            .collect();
        tries.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let mut run = 0;
    for (page, result) in results {
        run += result.unwrap_or_else(|log| panic!("{}:\n{log}", page.display()));
    }
    assert!(run >= 10, "only {run} blocks were found");
}

#[test]
fn links_of_the_pages_lead_somewhere() {
    let mut all = pages();
    for entry in std::fs::read_dir(repository().join("docs/reference")).unwrap() {
        all.push(entry.unwrap().path());
    }
    let mut seen = 0;
    for page in all {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1) {
            let target = link.split(')').next().unwrap();
            if target.contains("://") {
                continue;
            }
            seen += 1;
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let to = match path {
                "" => page.clone(),
                path => page.parent().unwrap().join(path),
            };
            assert!(to.exists(), "{}: {target}", page.display());
            if !anchor.is_empty() {
                let text = std::fs::read_to_string(&to).unwrap();
                let found = text.lines().any(|line| {
                    let heading = line.trim_start_matches('#');
                    heading.len() < line.len()
                        && heading.trim().to_lowercase().replace(' ', "-") == anchor
                });
                assert!(found, "{}: {target}", page.display());
            }
        }
    }
    assert!(seen > 50, "only {seen} links were found");
}

#[test]
fn the_readme_names_the_two_commands_and_make_lists_them() {
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    let help = Command::new("make")
        .arg("-C")
        .arg(repository())
        .args(["--no-print-directory"])
        .env_remove("MAKEFLAGS")
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for command in ["make demo", "make test"] {
        assert!(readme.contains(&format!("\n{command} ")), "{command}");
        assert!(help.contains(&format!("  {command} ")), "{help}");
    }
    for target in ["bench", "help", "generate"] {
        assert!(help.contains(&format!("  make {target} ")), "{help}");
    }
}

#[test]
fn the_samples_are_plans() {
    let dir = tempfile::tempdir().unwrap();
    run([
        "sample",
        "--out",
        "demo/world",
        "--rows",
        "200",
        "--days",
        "2",
    ])
    .dir(dir.path())
    .finish()
    .expect(0);
    for name in ["worldstream.yaml", "worldstream_full.yaml"] {
        let file = repository().join("config/samples").join(name);
        let plan = run(["plan", "--json", "-f", &file.display().to_string()])
            .dir(dir.path())
            .finish()
            .expect(0)
            .json();
        assert!(plan["outputs"][0]["rows"].as_u64().unwrap() > 0, "{plan:#}");
    }
}
