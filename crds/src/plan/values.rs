//! What single values may be. Each check takes a value as it was given and returns it as the plan
//! has it, or one sentence with what was found and what is expected.

use std::time::Duration;

use crate::{DurationText, RateStepSpec};

use super::RateStep;
use crate::time::EventTime;

/// What a check gives: the value, or what is wrong with it.
pub type Checked<T> = Result<T, String>;

/// The path that events are pushed to (contracts section 5).
pub const PUSH_PATH: &str = "/v1/ingest/push";

/// IG's URL, made to end in [`PUSH_PATH`]. A path before it is kept; a query, a fragment and
/// credentials are refused, and credentials are not repeated in the message.
pub fn push_url(text: &str) -> Checked<String> {
    let expected =
        "expected http:// or https://, a host and no query, such as https://ig.example.net";
    if text.contains('@') {
        return Err(format!(
            "found a user or a password in the URL, {expected}; credentials belong in spec.gate.auth"
        ));
    }
    let wrong = || format!("found {text:?}, {expected}");
    let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
    let scheme = scheme.to_ascii_lowercase();
    if (scheme != "http" && scheme != "https") || !rest.is_ascii() || rest.contains(['?', '#']) {
        return Err(wrong());
    }
    let (host, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    let authority: http::uri::Authority = host.parse().map_err(|_| wrong())?;
    let port = host.strip_prefix(authority.host()).unwrap_or_default();
    if authority.host().is_empty() || (!port.is_empty() && authority.port_u16().unwrap_or(0) == 0) {
        return Err(wrong());
    }
    let path = path.trim_end_matches('/');
    let path = path.strip_suffix(PUSH_PATH).unwrap_or(path);
    let url = format!("{scheme}://{authority}{path}{PUSH_PATH}");
    url.parse::<http::Uri>().map_err(|_| wrong())?;
    Ok(url)
}

/// The URL of a store: http or https and a host, without a path. Credentials are refused and not
/// repeated in the message.
pub fn endpoint(text: String) -> Checked<String> {
    let expected =
        "expected http:// or https:// and a host, such as https://minio.example.net:9000";
    if text.contains('@') {
        return Err(format!("found a user or a password in the URL, {expected}"));
    }
    let wrong = || format!("found {text:?}, {expected}");
    let uri: http::Uri = text.trim_end_matches('/').parse().map_err(|_| wrong())?;
    let scheme = uri
        .scheme_str()
        .filter(|it| matches!(*it, "http" | "https"));
    let (Some(scheme), Some(authority)) = (scheme, uri.authority()) else {
        return Err(wrong());
    };
    let port = authority.as_str().strip_prefix(authority.host());
    let bad_port = port.is_none_or(|port| !port.is_empty() && authority.port_u16().is_none());
    if authority.host().is_empty() || bad_port || uri.path_and_query().is_some_and(|it| it != "/") {
        return Err(wrong());
    }
    Ok(format!("{scheme}://{authority}"))
}

/// `platform_YYYYMMDDTHHMMSSZ`.
pub fn platform_run_id(text: String) -> Checked<String> {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let good = text
        .strip_prefix("platform_")
        .and_then(|rest| rest.strip_suffix('Z'))
        .and_then(|rest| rest.split_once('T'))
        .is_some_and(|(day, time)| {
            day.len() == 8 && time.len() == 6 && digits(day) && digits(time)
        });
    match good {
        true => Ok(text),
        false => Err(format!(
            "found {text:?}, expected the form platform_YYYYMMDDTHHMMSSZ, such as platform_20260101T000000Z"
        )),
    }
}

/// 32 lower-case hex digits.
pub fn scenario_run_id(text: String) -> Checked<String> {
    hex(text, 32)
}

/// So many lower-case hex digits.
pub fn hex(text: String, digits: usize) -> Checked<String> {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    match text.len() == digits && text.bytes().all(hex) {
        true => Ok(text),
        false => Err(format!(
            "found {text:?}, expected {digits} lower-case hex digits"
        )),
    }
}

/// A scenario's id, which is part of paths below the run root.
pub fn scenario(text: String) -> Checked<String> {
    let bad = text.is_empty()
        || text.chars().count() > 256
        || text.contains(['/', '\\'])
        || text.chars().any(char::is_control);
    match bad {
        false => Ok(text),
        true => Err(format!(
            "found {text:?}, expected 1 to 256 characters without slashes, such as baseline_v1"
        )),
    }
}

/// An attempt's id. Keys are made of it with bars in between.
pub fn attempt(text: String) -> Checked<String> {
    let bad =
        text.chars().count() > 128 || text.contains('|') || text.chars().any(char::is_control);
    match bad {
        false => Ok(text),
        true => Err(format!(
            "found {text:?}, expected at most 128 characters without a bar (|)"
        )),
    }
}

/// An output's id.
pub fn output_id(text: &str) -> Checked<String> {
    let good = !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    match good {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "found {text:?}, expected an output id of letters, digits, underscores, hyphens and dots"
        )),
    }
}

/// Any finite number; 0 and less is no waiting, and 0 in the plan (contracts section 6).
pub fn speedup(value: f64) -> Checked<f64> {
    match value.is_finite() {
        true => Ok(value.max(0.0)),
        false => Err(format!(
            "found {value}, expected a finite number; 0 is no waiting"
        )),
    }
}

/// 1 to 256.
pub fn in_flight(value: u32) -> Checked<u16> {
    u16::try_from(value)
        .ok()
        .filter(|value| (1..=256).contains(value))
        .ok_or_else(|| format!("found {value}, expected 1 to 256"))
}

/// 1 or more.
pub fn cap(value: u64) -> Checked<u64> {
    match value {
        0 => Err("found 0, expected 1 or more; leave it out for no cap".into()),
        value => Ok(value),
    }
}

/// Longer than nothing.
pub fn some_time(value: DurationText) -> Checked<Duration> {
    match value.0.is_zero() {
        true => Err(format!("found {value}, expected more than 0")),
        false => Ok(value.0),
    }
}

/// A text that is not empty.
pub fn some_text(value: String) -> Checked<String> {
    match value.trim().is_empty() {
        true => Err("is empty".into()),
        false => Ok(value),
    }
}

/// The root of an object store or of a bus: `s3://bucket` with or without a prefix, else an absolute
/// path; a relative one, which counts from the working directory, where there is one.
pub fn store_root(text: &str, in_cluster: bool) -> Checked<String> {
    let wrong = |expected: &str| Err(format!("found {text:?}, expected {expected}"));
    let dots = text.split('/').any(|part| part == ".." || part == ".");
    if text.trim().is_empty() || text.contains(['\0', '%', '\\']) || (dots && in_cluster) {
        return wrong(
            "an absolute path or s3://bucket, without `..`, percent signs and backslashes",
        );
    }
    if let Some(rest) = text.strip_prefix("s3://") {
        let bucket = rest.split('/').next().unwrap_or_default();
        return match bucket.is_empty() || dots {
            true => wrong("a bucket, such as s3://fraud-platform"),
            false => Ok(text.trim_end_matches('/').to_owned()),
        };
    }
    match text {
        _ if text.contains("://") || text.starts_with("s3:") => {
            wrong("an absolute path or s3://bucket")
        }
        _ if in_cluster && !text.starts_with('/') => wrong("an absolute path or s3://bucket"),
        "/" => Ok(text.to_owned()),
        _ => Ok(text.trim_end_matches('/').to_owned()),
    }
}

/// A topic of a control bus, which is a folder's name where the bus is a folder.
pub fn topic(text: String) -> Checked<String> {
    let bad = text.is_empty()
        || text.len() > 256
        || text == "."
        || text == ".."
        || text.contains(['/', '\\'])
        || text.chars().any(char::is_control);
    match bad {
        false => Ok(text),
        true => Err(format!(
            "found {text:?}, expected 1 to 256 characters without slashes, such as fp.bus.control.v1"
        )),
    }
}

/// A URL of http or https. Credentials are refused and not repeated in the message.
pub fn url(text: &str) -> Checked<String> {
    let expected =
        "expected http:// or https:// and a host, such as http://ig.example.net/v1/state";
    if text.contains('@') {
        return Err(format!("found a user or a password in the URL, {expected}"));
    }
    let wrong = || format!("found {text:?}, {expected}");
    let uri: http::Uri = text.parse().map_err(|_| wrong())?;
    let web = matches!(uri.scheme_str(), Some("http" | "https"));
    match web && uri.host().is_some_and(|host| !host.is_empty()) {
        true => Ok(text.to_owned()),
        false => Err(wrong()),
    }
}

/// A moment of event time.
pub fn event_time(text: String) -> Checked<EventTime> {
    EventTime::parse_rfc3339(&text)
}

/// The steps of a rate plan, in the order of their start (contracts section 6). The error comes
/// with the field's path below the list, such as `[1].target_eps`.
pub fn rate_plan(steps: &[RateStepSpec]) -> Result<Vec<RateStep>, (String, String)> {
    let mut before: Option<f64> = None;
    for (index, step) in steps.iter().enumerate() {
        let wrong = |field: &str, value: f64, expected: &str| {
            Err((
                format!("[{index}].{field}"),
                format!("found {value}, expected {expected}"),
            ))
        };
        let start = step.start_offset_seconds;
        if !start.is_finite() || start < 0.0 {
            return wrong("start_offset_seconds", start, "0 or more");
        }
        if let Some(before) = before.filter(|before| start <= *before) {
            return wrong(
                "start_offset_seconds",
                start,
                &format!("more than {before}, the start of the step before"),
            );
        }
        if !step.target_eps.is_finite() || step.target_eps <= 0.0 {
            return wrong("target_eps", step.target_eps, "more than 0");
        }
        if !step.burst_seconds.is_finite() || step.burst_seconds < 0.0 {
            return wrong("burst_seconds", step.burst_seconds, "0 or more");
        }
        if let Some(tokens) = step.initial_tokens
            && (!tokens.is_finite() || tokens < 0.0)
        {
            return wrong("initial_tokens", tokens, "0 or more");
        }
        before = Some(start);
    }
    Ok(steps
        .iter()
        .map(|step| RateStep {
            start_offset_seconds: step.start_offset_seconds,
            target_eps: step.target_eps,
            burst_seconds: step.burst_seconds,
            initial_tokens: step.initial_tokens,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_end_in_the_push_path_once() {
        for (given, url) in [
            ("http://ig", "http://ig/v1/ingest/push"),
            ("http://ig/", "http://ig/v1/ingest/push"),
            ("http://ig/v1/ingest/push", "http://ig/v1/ingest/push"),
            ("http://ig/v1/ingest/push/", "http://ig/v1/ingest/push"),
            ("HTTPS://ig:8443/a/b", "https://ig:8443/a/b/v1/ingest/push"),
            ("http://ig/a/v1/ingest/push", "http://ig/a/v1/ingest/push"),
            ("http://127.0.0.1:80", "http://127.0.0.1:80/v1/ingest/push"),
            ("http://[::1]:8081", "http://[::1]:8081/v1/ingest/push"),
            ("http://ig/v1/ingest", "http://ig/v1/ingest/v1/ingest/push"),
        ] {
            assert_eq!(push_url(given).as_deref(), Ok(url), "{given}");
        }
    }

    #[test]
    fn the_endpoint_of_a_store_is_a_host() {
        for (given, url) in [
            ("http://127.0.0.1:9000/", "http://127.0.0.1:9000"),
            ("HTTPS://s3.example.net", "https://s3.example.net"),
            ("http://[::1]:9000", "http://[::1]:9000"),
        ] {
            assert_eq!(endpoint(given.into()).as_deref(), Ok(url), "{given}");
        }
        for given in [
            "",
            "minio",
            "minio:9000",
            "http://",
            "ftp://x",
            "http://x/bucket",
            "http://x?y=1",
            "http://x:",
            "http://x:99999",
            "http://x y",
        ] {
            assert!(
                endpoint(given.into()).unwrap_err().contains("such as"),
                "{given}"
            );
        }
        let error = endpoint("http://me:hunter2@x".into()).unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn what_is_no_url_of_a_gate_is_refused() {
        for given in [
            "",
            "ig",
            "ig:8080",
            "http://",
            "http:///v1",
            "ftp://ig",
            "http://ig?x=1",
            "http://ig/#a",
            "http://ig:",
            "http://ig:0",
            "http://ig:99999",
            "http://i g",
            "http://ig/ü",
            "http://:80",
            " http://ig",
        ] {
            let error = push_url(given).unwrap_err();
            assert!(
                error.contains("such as https://ig.example.net"),
                "{given}: {error}"
            );
        }
        let error = push_url("http://me:hunter2@ig").unwrap_err();
        assert!(
            error.contains("spec.gate.auth") && !error.contains("hunter2"),
            "{error}"
        );
    }
}
