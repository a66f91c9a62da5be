//! What `worldstream ready` prints: a line for each message that is done with, and the totals.

use std::cell::RefCell;
use std::io::Write;

use serde_json::json;

use crate::cli::run::print;
use crate::failure::Failure;
use crate::ready::{Conclusion, News, Observer, Totals};

/// Prints.
pub struct Say<'a> {
    json: bool,
    out: RefCell<&'a mut dyn Write>,
}

impl<'a> Say<'a> {
    /// Prints to `out`, as text, or a JSON object a line.
    pub fn new(out: &'a mut dyn Write, json: bool) -> Self {
        Say {
            json,
            out: RefCell::new(out),
        }
    }

    /// The end.
    pub fn totals(&self, totals: &Totals) -> Result<(), Failure> {
        let line = match self.json {
            true => {
                let mut line = json!({"totals": totals});
                line["totals"]["left"] = json!(totals.left());
                line.to_string()
            }
            false => format!(
                "{}: {} streamed, {} skipped, {} repeated, {} deferred, {} failed, {} not valid, \
                 {} of other topics{}",
                match totals.seen {
                    1 => "1 message".to_owned(),
                    seen => format!("{seen} messages"),
                },
                totals.streamed,
                totals.skipped,
                totals.duplicate,
                totals.deferred,
                totals.failed,
                totals.invalid,
                totals.other_topic,
                match totals.left() {
                    0 => String::new(),
                    left => format!("; {left} left to the next start"),
                }
            ),
        };
        self.line(&line)
    }

    fn line(&self, line: &str) -> Result<(), Failure> {
        print(&mut **self.out.borrow_mut(), &format!("{line}\n"))
    }

    fn concluded(&self, it: &Conclusion) -> String {
        let reason = it.reason.map(|reason| reason.as_str());
        if self.json {
            return json!({
                "message_id": it.message_id,
                "run_id": it.run_id,
                "status": it.status,
                "reason": reason,
                "emitted": it.emitted,
                "engine_run_root": it.engine_run_root,
                "scenario_id": it.scenario_id,
                "detail": it.detail,
            })
            .to_string();
        }
        let mut line = format!("{:<20}  {}", it.status.as_str(), it.message_id);
        if let Some(emitted) = it.emitted {
            line.push_str(&format!("  {emitted} events"));
        }
        for more in [reason, it.detail.as_deref()].into_iter().flatten() {
            line.push_str(&format!("  {more}"));
        }
        line
    }
}

impl Observer for Say<'_> {
    fn tell(&self, news: &News<'_>) {
        let line = match news {
            News::Concluded(conclusion) => self.concluded(conclusion),
            News::Invalid {
                place,
                message_id,
                why,
            } => match self.json {
                true => json!({
                    "message_id": message_id,
                    "status": "INVALID",
                    "place": place.to_string(),
                    "detail": why,
                })
                .to_string(),
                false => format!("{:<20}  {place}  {why}", "INVALID"),
            },
            News::OtherTopic { place, topic } => match self.json {
                true => json!({
                    "status": "OTHER_TOPIC",
                    "place": place.to_string(),
                    "detail": topic,
                })
                .to_string(),
                false => format!("{:<20}  {place}  {topic}", "OTHER_TOPIC"),
            },
            _ => return,
        };
        // What cannot be printed is in the records.
        let _ = self.line(&line);
    }
}
