//! What an answer means and how long it is waited before the next attempt: pure functions of
//! what was seen (contracts section 5).

use std::time::{Duration, SystemTime};

use http::StatusCode;

use super::Decision;
use crate::plan::RetryPlan;

/// A `Retry-After` beyond this is not believed: a gate that asks for more is asked again after
/// this time.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

macro_rules! retry_reasons {
    ($($variant:ident = $text:literal, $meaning:literal;)*) => {
        /// Why a push is tried again. A closed set: it labels metrics.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum RetryReason {
            $(#[doc = $meaning] $variant,)*
        }

        impl RetryReason {
            /// Every reason, in the order of [`RetryReason::index`].
            pub const ALL: &'static [RetryReason] = &[$(RetryReason::$variant,)*];

            /// The reason as a label.
            pub fn as_str(self) -> &'static str {
                match self { $(RetryReason::$variant => $text,)* }
            }

            /// What it means, for people.
            pub fn meaning(self) -> &'static str {
                match self { $(RetryReason::$variant => $meaning,)* }
            }
        }
    };
}

retry_reasons! {
    Resolve = "resolve", "The gate's name could not be resolved.";
    Connect = "connect", "No connection to the gate could be made.";
    Tls = "tls", "The gate's certificate was refused, or the TLS handshake failed.";
    Reset = "reset", "The connection ended before the answer was whole.";
    Malformed = "malformed", "What was answered is not HTTP.";
    Timeout = "timeout", "No whole answer came in time.";
    Unauthorized = "unauthorized", "A 401: the credential was read again.";
    Status408 = "status_408", "A 408.";
    Status429 = "status_429", "A 429.";
    Status5xx = "status_5xx", "A 500 or above.";
    Redirect = "redirect", "A redirect, which is never followed.";
    NoDecision = "no_decision", "An answer without a known decision.";
}

impl RetryReason {
    /// Its place in [`RetryReason::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }
}

/// What an answer means for the event that was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// IG has it.
    Taken(Option<Decision>),
    /// The same bytes are sent again.
    Retry(RetryReason),
    /// The credential is read again, once; then it is a refusal.
    Unauthorized,
    /// It will never be taken.
    Rejected,
}

/// What an answer of this status means, with the decision that its body holds, if any.
pub fn classify(status: StatusCode, decision: Option<Decision>, require_decision: bool) -> Verdict {
    match status.as_u16() {
        // A 101 leaves HTTP, and no other answer below 200 is the last.
        ..200 => Verdict::Retry(RetryReason::Malformed),
        200..400 if decision.is_some() || !require_decision => Verdict::Taken(decision),
        300..400 => Verdict::Retry(RetryReason::Redirect),
        200..300 => Verdict::Retry(RetryReason::NoDecision),
        401 => Verdict::Unauthorized,
        408 => Verdict::Retry(RetryReason::Status408),
        429 => Verdict::Retry(RetryReason::Status429),
        400..500 => Verdict::Rejected,
        500.. => Verdict::Retry(RetryReason::Status5xx),
    }
}

/// The pause before attempt `attempt + 1`: `min(max, base * 2^(attempt-1))` and a part `random`
/// (0 to 1) of the same length. `attempt` counts from 1.
pub fn backoff(plan: &RetryPlan, attempt: u32, random: f64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(31);
    let full = plan.base.saturating_mul(1 << doublings).min(plan.max);
    full.saturating_add(full.mul_f64(random.clamp(0.0, 1.0)))
}

/// What is done after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Tried again after this pause.
    Wait(Duration),
    /// Given up.
    Exhausted,
}

/// Whether and when it is tried again, after `attempt` attempts that took `elapsed` together.
///
/// The pause is the longer of the backoff and `retry_after` (at most [`RETRY_AFTER_MAX`]), cut to
/// what is left of `unavailable_for`, so that a last attempt is made when that is over.
pub fn next(
    plan: &RetryPlan,
    attempt: u32,
    elapsed: Duration,
    retry_after: Option<Duration>,
    random: f64,
) -> Next {
    let asked = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
    let pause = backoff(plan, attempt, random).max(asked);
    match plan.unavailable_for {
        Some(allowed) if elapsed >= allowed => Next::Exhausted,
        Some(allowed) => Next::Wait(pause.min(allowed - elapsed)),
        None if attempt >= plan.attempts => Next::Exhausted,
        None => Next::Wait(pause),
    }
}

/// `Retry-After` as a pause: seconds, or an HTTP date (one that is over is no pause). None for
/// anything else.
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are a long time all the same.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let moment = httpdate::parse_http_date(value).ok()?;
    Some(moment.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: RetryPlan = RetryPlan {
        attempts: 5,
        base: Duration::from_millis(250),
        max: Duration::from_secs(5),
        unavailable_for: None,
    };

    #[test]
    fn every_status_is_what_the_contract_says() {
        use RetryReason::{Malformed, NoDecision, Redirect, Status5xx, Status408, Status429};
        use Verdict::{Rejected, Retry, Taken, Unauthorized};
        let admit = Some(Decision::Admit);
        for (status, decision, required, verdict) in [
            (200, admit, true, Taken(admit)),
            (202, admit, false, Taken(admit)),
            (302, admit, true, Taken(admit)),
            (200, None, true, Retry(NoDecision)),
            (204, None, true, Retry(NoDecision)),
            (200, None, false, Taken(None)),
            (301, None, true, Retry(Redirect)),
            (307, None, false, Taken(None)),
            (101, None, false, Retry(Malformed)),
            (400, None, true, Rejected),
            (400, admit, true, Rejected),
            (401, None, true, Unauthorized),
            (401, None, false, Unauthorized),
            (403, None, true, Rejected),
            (404, None, false, Rejected),
            (408, None, true, Retry(Status408)),
            (409, None, true, Rejected),
            (413, None, true, Rejected),
            (422, None, true, Rejected),
            (429, None, false, Retry(Status429)),
            (499, None, true, Rejected),
            (500, None, true, Retry(Status5xx)),
            (500, admit, true, Retry(Status5xx)),
            (503, None, false, Retry(Status5xx)),
            (599, None, true, Retry(Status5xx)),
            (999, None, true, Retry(Status5xx)),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(classify(status, decision, required), verdict, "{status}");
        }
    }

    #[test]
    fn backoff_doubles_to_its_limit_and_at_most_twice_that() {
        let ms = Duration::from_millis;
        for (attempt, full) in [
            (1, 250),
            (2, 500),
            (3, 1000),
            (4, 2000),
            (5, 4000),
            (6, 5000),
        ] {
            assert_eq!(backoff(&PLAN, attempt, 0.0), ms(full));
            assert_eq!(backoff(&PLAN, attempt, 0.5), ms(full * 3 / 2));
            assert_eq!(backoff(&PLAN, attempt, 1.0), ms(full * 2));
        }
        assert_eq!(backoff(&PLAN, u32::MAX, 0.0), ms(5000));
        let endless = RetryPlan {
            base: Duration::MAX,
            max: Duration::MAX,
            ..PLAN
        };
        assert_eq!(backoff(&endless, 9, 0.0), Duration::MAX);
    }

    #[test]
    fn attempts_bound_it_unless_time_does() {
        let s = Duration::from_secs;
        assert_eq!(
            next(&PLAN, 4, s(900), None, 0.0),
            Next::Wait(Duration::from_secs(2))
        );
        assert_eq!(next(&PLAN, 5, s(0), None, 0.0), Next::Exhausted);
        let timed = RetryPlan {
            unavailable_for: Some(s(60)),
            ..PLAN
        };
        assert_eq!(next(&timed, 500, s(50), None, 0.0), Next::Wait(s(5)));
        assert_eq!(next(&timed, 500, s(57), None, 0.0), Next::Wait(s(3)));
        assert_eq!(next(&timed, 500, s(60), None, 0.0), Next::Exhausted);
        assert_eq!(next(&timed, 1, s(0), Some(s(7200)), 0.0), Next::Wait(s(60)));
    }

    #[test]
    fn the_longer_of_backoff_and_retry_after_is_waited_within_a_bound() {
        let s = Duration::from_secs;
        let wait = |after| match next(&PLAN, 2, s(0), Some(after), 0.0) {
            Next::Wait(pause) => pause,
            Next::Exhausted => panic!("two of five attempts"),
        };
        assert_eq!(wait(s(0)), Duration::from_millis(500));
        assert_eq!(wait(s(7)), s(7));
        assert_eq!(wait(s(100_000)), RETRY_AFTER_MAX);
        assert_eq!(next(&PLAN, 5, s(0), Some(s(1)), 0.0), Next::Exhausted);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let s = Duration::from_secs;
        for (text, pause) in [
            ("120", Some(s(120))),
            (" 0 ", Some(s(0))),
            ("99999999999999999999999", Some(s(u64::MAX))),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(s(10))),
            ("Sunday, 06-Nov-94 08:49:47 GMT", Some(s(10))),
            ("Sun Nov  6 08:49:47 1994", Some(s(10))),
            ("Sun, 06 Nov 1994 08:49:27 GMT", Some(s(0))),
            ("", None),
            ("-5", None),
            ("1.5", None),
            ("soon", None),
        ] {
            assert_eq!(retry_after(text, now), pause, "{text:?}");
        }
    }

    #[test]
    fn reasons_have_labels_of_their_own_in_order() {
        for (place, reason) in RetryReason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), place);
            assert!(
                RetryReason::ALL[..place]
                    .iter()
                    .all(|other| other.as_str() != reason.as_str())
            );
        }
    }
}
