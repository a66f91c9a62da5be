//! What a validation run found: one report, for people and as JSON.

use std::fmt::Display;

use serde::Serialize;
use worldstream_crds::Reason;

use crate::failure::{Failure, Result};
use crate::time::EventTime;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What it is, such as `the record's status`.
    pub name: String,
    /// Whether it is as it must be.
    pub ok: bool,
    /// What was found.
    pub found: String,
    /// What must be found; none where `found` says it all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
}

/// A validation run, from its start to its end.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// `smoke`, `completion` or `failures`.
    pub validation: &'static str,
    /// The platform run that it was made as.
    pub platform_run_id: String,
    /// The world.
    pub engine_run_root: String,
    /// When it began.
    pub started_at_utc: EventTime,
    /// When it ended.
    pub ended_at_utc: EventTime,
    /// Whether every check holds.
    pub ok: bool,
    /// In the order in which they were made.
    pub checks: Vec<Check>,
    /// What was not looked at, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}

/// Something that cannot be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// What it is.
    pub name: String,
    /// Why it cannot.
    pub why: String,
}

/// Checks as they are made.
#[derive(Debug, Default)]
pub struct Checks(Vec<Check>);

impl Checks {
    /// Two values that must be equal.
    pub fn equal<T: PartialEq + Display>(
        &mut self,
        name: impl Into<String>,
        found: T,
        expected: T,
    ) {
        self.0.push(Check {
            name: name.into(),
            ok: found == expected,
            found: found.to_string(),
            expected: Some(expected.to_string()),
        });
    }

    /// Something that must hold; `found` says what there is.
    pub fn holds(&mut self, name: impl Into<String>, ok: bool, found: impl Into<String>) {
        self.0.push(Check {
            name: name.into(),
            ok,
            found: found.into(),
            expected: None,
        });
    }

    /// Something that must be so, with what is expected in words.
    pub fn so(
        &mut self,
        name: impl Into<String>,
        ok: bool,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) {
        self.0.push(Check {
            name: name.into(),
            ok,
            found: found.into(),
            expected: Some(expected.into()),
        });
    }

    /// All of them.
    pub fn made(self) -> Vec<Check> {
        self.0
    }
}

impl Report {
    /// A report that ends now.
    pub fn new(
        validation: &'static str,
        platform_run_id: &str,
        engine_run_root: &str,
        started_at_utc: EventTime,
        checks: Vec<Check>,
    ) -> Report {
        Report {
            validation,
            platform_run_id: platform_run_id.to_owned(),
            engine_run_root: engine_run_root.to_owned(),
            started_at_utc,
            ended_at_utc: EventTime::wall_now(),
            ok: !checks.is_empty() && checks.iter().all(|check| check.ok),
            checks,
            left_out: Vec::new(),
        }
    }

    /// As JSON.
    ///
    /// # Errors
    /// None that can happen: every field is a text, a number or a list of such.
    pub fn json(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self).map_err(|error| {
            Failure::new(Reason::StreamFailed, "the report of a validation").cause(&error)
        })?;
        Ok(text + "\n")
    }

    /// For people: a line a check.
    pub fn text(&self) -> String {
        let mut text = format!(
            "validation  {}\nrun         {}\nworld       {}\nbegan       {}\nended       {}\n\n",
            self.validation,
            self.platform_run_id,
            self.engine_run_root,
            self.started_at_utc,
            self.ended_at_utc
        );
        let width = self.checks.iter().map(|check| check.name.chars().count());
        let width = width.max().unwrap_or_default().min(60);
        for check in &self.checks {
            let mark = if check.ok { "ok    " } else { "FAILED" };
            text.push_str(&format!("{mark}  {:width$}  {}", check.name, check.found));
            if let Some(expected) = check.expected.as_ref().filter(|_| !check.ok) {
                text.push_str(&format!("  (expected {expected})"));
            }
            text.push('\n');
        }
        for left in &self.left_out {
            text.push_str(&format!("–       {:width$}  {}\n", left.name, left.why));
        }
        let failed = self.checks.iter().filter(|check| !check.ok).count();
        text.push_str(&format!(
            "\n{}: {} of {} checks hold\n",
            if self.ok { "PASSED" } else { "FAILED" },
            self.checks.len() - failed,
            self.checks.len()
        ));
        text
    }

    /// The failure of a run whose checks do not all hold: the first that does not.
    pub fn failure(&self) -> Option<Failure> {
        let all = || {
            let object = format!("validation {}", self.validation);
            Failure::new(Reason::StreamFailed, object)
        };
        if self.checks.is_empty() {
            return Some(all().detail("nothing was checked"));
        }
        let first = self.checks.iter().find(|check| !check.ok)?;
        let failure = all().field(&first.name).found(&first.found);
        Some(match &first.expected {
            Some(expected) => failure.expected(expected),
            None => failure,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_does_not_hold() {
        let mut checks = Checks::default();
        checks.equal("rows", 3, 3);
        checks.equal("status", "FAILED", "STREAMED");
        checks.holds("the gate", true, "answers");
        let report = Report::new("smoke", "r", "w", EventTime::wall_now(), checks.made());
        assert!(!report.ok);
        let text = report.text();
        assert!(
            text.contains("FAILED  status    FAILED  (expected STREAMED)\n"),
            "{text}"
        );
        assert!(text.ends_with("FAILED: 2 of 3 checks hold\n"), "{text}");
        let failure = report.failure().unwrap();
        assert!(failure.message().contains("status"), "{failure}");
        let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert_eq!(json["checks"][1]["expected"], "STREAMED");
    }

    #[test]
    fn nothing_checked_is_no_pass() {
        let report = Report::new("smoke", "r", "w", EventTime::wall_now(), Vec::new());
        assert!(!report.ok);
        assert!(report.failure().is_some());
    }
}
