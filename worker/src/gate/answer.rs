//! The body of an answer: the decision found in it without building the rest, and what a message
//! shows of it.

use std::borrow::Cow;

use serde::Deserialize;

use super::Decision;

/// IG's answers are about 2 kB; more than this is not read.
pub const BODY_MAX: usize = 1 << 20;

/// How much of an answer's body a message shows, in characters.
const CLIP: usize = 160;

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    decision: Cow<'a, str>,
}

/// The known decision in the field `decision` of a JSON object, none for any other text.
pub fn decision(body: &[u8]) -> Option<Decision> {
    // serde reads a struct from a list, too.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    let answer: Answer = serde_json::from_slice(body).ok()?;
    match answer.decision.as_ref() {
        "ADMIT" => Some(Decision::Admit),
        "DUPLICATE" => Some(Decision::Duplicate),
        "QUARANTINE" => Some(Decision::Quarantine),
        _ => None,
    }
}

/// The start of a body, for a message: on one line, and without the credential, should it have
/// been echoed.
pub fn clip(body: &[u8], credential: Option<&str>) -> String {
    let text = String::from_utf8_lossy(body);
    let text = match credential {
        Some(secret) if !secret.is_empty() => text.replace(secret, "[credential]"),
        _ => text.into_owned(),
    };
    let mut clipped: String = text
        .trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(CLIP)
        .collect();
    if text.trim().chars().nth(CLIP).is_some() {
        clipped.push('…');
    }
    clipped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_decision_is_found_anywhere_in_the_object_and_nowhere_else() {
        for (body, found) in [
            (r#"{"decision":"ADMIT"}"#, Some(Decision::Admit)),
            (
                r#" { "receipt": {"decision":"ADMIT","a":[1,2,{}]}, "receipt_ref": null, "decision" : "DUPLICATE" } "#,
                Some(Decision::Duplicate),
            ),
            (
                r#"{"decision":"QUARANTINE","receipt":{"x":"\u00fc"}}"#,
                Some(Decision::Quarantine),
            ),
            (r#"{"d\u0065cision":"ADMIT"}"#, Some(Decision::Admit)),
            (r#"{"receipt":{"decision":"ADMIT"}}"#, None),
            (r#"{"decision":"admit"}"#, None),
            (r#"{"decision":"MAYBE"}"#, None),
            (r#"{"decision":null}"#, None),
            (r#"{"decision":1}"#, None),
            (r#"{"decision":"ADMIT","decision":"QUARANTINE"}"#, None),
            (r#"{"decision":"ADMIT"#, None),
            (r#"{"decision":"ADMIT"} x"#, None),
            (r#"[{"decision":"ADMIT"}]"#, None),
            (r#"["ADMIT"]"#, None),
            (r#"{"decision":{"ADMIT":null}}"#, None),
            (r#""ADMIT""#, None),
            ("<html>", None),
            ("", None),
        ] {
            assert_eq!(decision(body.as_bytes()), found, "{body}");
        }
    }

    #[test]
    fn a_clipped_body_is_short_and_holds_no_credential() {
        assert_eq!(clip(b"  no\r\nway ", None), "no  way");
        assert_eq!(clip(b"bad key k3y!", Some("k3y")), "bad key [credential]!");
        let long = "ü".repeat(200);
        assert_eq!(
            clip(long.as_bytes(), Some("k")),
            format!("{}…", "ü".repeat(CLIP))
        );
        // A credential that the cut would have split.
        let split = format!("{}secret", "a".repeat(CLIP - 3));
        assert!(!clip(split.as_bytes(), Some("secret")).contains("sec"));
        assert_eq!(clip(&[0xff, b'x'], None), "\u{fffd}x");
    }
}
