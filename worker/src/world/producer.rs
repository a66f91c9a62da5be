//! Whether the producer may send at all: its id against the allowlist file (contracts section
//! 10).

use std::path::Path;

use worldstream_crds::Reason;

use crate::failure::{Failure, Result};
use crate::plan::Named;

/// Checks that `id` is on the allowlist: an id a line, `#` for comments.
///
/// # Errors
/// `PRODUCER_ID_MISSING`, `PRODUCER_ALLOWLIST_MISSING` (none named, or the file is absent),
/// `PRODUCER_ALLOWLIST_UNREADABLE`, `PRODUCER_ALLOWLIST_EMPTY`, `PRODUCER_NOT_ALLOWED`.
pub fn check(id: &str, allowlist: Option<&Named>) -> Result<()> {
    if id.trim().is_empty() {
        return Err(Failure::new(Reason::ProducerIdMissing, "profile")
            .field("producer.id")
            .found("nothing")
            .expected("a producer id"));
    }
    let Some(allowlist) = allowlist else {
        return Err(Failure::new(Reason::ProducerAllowlistMissing, "profile")
            .field("producer.allowlist")
            .found("nothing")
            .expected("a file of producer ids"));
    };
    let text = allowlist.text.as_ref().map_err(|cause| {
        // The text is gone; only the file system still knows whether there is such a file.
        let (reason, found) = if Path::new(&allowlist.name).exists() {
            let found = "a file that cannot be read";
            (Reason::ProducerAllowlistUnreadable, found)
        } else {
            (Reason::ProducerAllowlistMissing, "no such file")
        };
        Failure::new(reason, &allowlist.name)
            .found(found)
            .expected("a text file of producer ids")
            .detail(cause)
    })?;
    let ids: Vec<&str> = text.lines().filter_map(entry).collect();
    if ids.is_empty() {
        return Err(
            Failure::new(Reason::ProducerAllowlistEmpty, &allowlist.name)
                .found("no id")
                .expected("a producer id a line"),
        );
    }
    if !ids.contains(&id) {
        return Err(Failure::new(Reason::ProducerNotAllowed, &allowlist.name)
            .field("producer.id")
            .found(id)
            .expected(format!("one of {}", ids.join(", "))));
    }
    Ok(())
}

/// The id of a line: what stands before a comment, which begins at the line or after a space.
fn entry(line: &str) -> Option<&str> {
    let end = line
        .match_indices('#')
        .map(|(at, _)| at)
        .find(|at| {
            line[..*at]
                .chars()
                .next_back()
                .is_none_or(char::is_whitespace)
        })
        .unwrap_or(line.len());
    Some(line[..end].trim()).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Named {
        Named {
            name: "allow.txt".into(),
            text: Ok(text.into()),
        }
    }

    #[test]
    fn an_id_a_line_with_comments() {
        let text = "# who may\r\n\n  svc:a#b  \nsvc:c # since May\n";
        for id in ["svc:a#b", "svc:c"] {
            check(id, Some(&list(text))).unwrap();
        }
        for id in ["svc:a", "svc:c # since May", "since", "SVC:C"] {
            let failure = check(id, Some(&list(text))).unwrap_err();
            assert_eq!(failure.reason(), Reason::ProducerNotAllowed);
            assert!(failure.message().contains("svc:a#b, svc:c"));
        }
    }
}
