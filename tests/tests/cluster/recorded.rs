//! What a person sees of a stream: `docs/cluster/seen.md`, written from a real run by
//! `make cluster-seen`, which sets WORLDSTREAM_RECORD.

use std::time::{Duration, Instant};

use worldstream_tests::bed::demo::REPLAYS;
use worldstream_tests::repository;

use crate::operator::Operator;

/// The page as it grows, where one is asked for.
pub struct Recorded<'a> {
    operator: &'a Operator,
    page: Option<String>,
}

impl<'a> Recorded<'a> {
    pub fn begin(operator: &'a Operator) -> Recorded<'a> {
        let asked = std::env::var_os("WORLDSTREAM_RECORD").is_some();
        let page = asked.then(|| {
            "# What is to be seen of a stream\n\n<!-- Recorded: make cluster-seen. Do not edit. -->\n\n\
             From the run that [README](../../README.md) describes: two streams of one world, an hour of \
             event time a second.\n"
                .to_owned()
        });
        Recorded { operator, page }
    }

    fn run(&self, command: &str) -> Result<String, String> {
        let mut args: Vec<&str> = command.split_whitespace().collect();
        args.extend(["-n", REPLAYS]);
        let said = self.operator.bed.kubectl(&args);
        said.map_err(|error| error.to_string())
    }

    /// What a command of kubectl prints, under a heading.
    fn see(&mut self, heading: &str, commands: &[&str]) {
        if self.page.is_none() {
            return;
        }
        let mut text = format!("\n## {heading}\n");
        for command in commands {
            let said = self.run(command).unwrap();
            let lines: Vec<&str> = said.lines().map(str::trim_end).collect();
            let said = lines.join("\n");
            text += &format!("\n```text\n$ kubectl {command}\n{}\n```\n", said.trim_end());
        }
        if let Some(page) = &mut self.page {
            page.push_str(&text);
        }
    }

    /// In the middle of the run.
    pub fn while_it_runs(&mut self) {
        if self.page.is_none() {
            return;
        }
        let phase = "get ws world-a-fraud -o jsonpath={.status.phase}{.status.percent}";
        let end = Instant::now() + Duration::from_secs(120);
        let middle = |said: String| {
            let percent = said.strip_prefix("Running").unwrap_or_default();
            percent.parse::<u32>().is_ok_and(|percent| percent >= 30)
        };
        while !self.run(phase).is_ok_and(middle) {
            assert!(Instant::now() < end, "it does not run");
            std::thread::sleep(Duration::from_millis(300));
        }
        self.see(
            "While it runs",
            &[
                "get ws,sckpt",
                "get ws,sckpt -o wide",
                "get pods",
                "describe ws world-a-fraud",
            ],
        );
    }

    /// After its end.
    pub fn end(mut self) {
        self.see(
            "At its end",
            &[
                "get ws,sckpt -o wide",
                "get sclk world-a-fraud -o wide",
                "events --for ws/world-a-fraud",
            ],
        );
        self.see(
            "What the fields mean",
            &[
                "explain ws.spec",
                "explain ws.spec.speedup",
                "explain ws.status.outputs",
                "explain sckpt.status",
            ],
        );
        if let Some(page) = &self.page {
            std::fs::write(repository().join("docs/cluster/seen.md"), page).unwrap();
        }
    }
}
