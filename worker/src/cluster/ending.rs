//! The last words of a pod: what the kubelet finds in its termination message, for every exit code
//! but 0.

use std::path::Path;

use serde::{Deserialize, Serialize};
use worldstream_crds::ExitCode;

use crate::failure::Failure;

/// Where the kubelet looks for them.
pub const TERMINATION_LOG: &str = "/dev/termination-log";
/// The reason of a pod that was asked to stop: no code of the contract, as nothing failed.
pub const INTERRUPTED: &str = "Interrupted";
/// The kubelet reads 4096 bytes; the rest of the document needs some of them.
const MESSAGE_MAX: usize = 3_000;

/// Why a pod ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ending {
    /// A reason code (contracts section 10), `Interrupted`, or `Usage`.
    pub reason: String,
    /// What was found and what was expected; one line.
    pub message: String,
    /// The exit code.
    pub exit_code: u8,
    /// The output; none of a preflight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// The lane; none of a preflight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<u32>,
}

impl Ending {
    /// A process that ends with a failure.
    pub fn failed(failure: &Failure, whose: Option<(&str, u32)>) -> Self {
        Self::new(
            failure.reason().as_str(),
            &failure.message(),
            failure.exit_code(),
            whose,
        )
    }

    /// A process that was asked to stop, and saved everything.
    pub fn interrupted(whose: Option<(&str, u32)>) -> Self {
        let message = "asked to stop; everything that was sent is saved";
        Self::new(INTERRUPTED, message, ExitCode::Interrupted, whose)
    }

    /// A process that ends for a reason.
    pub fn new(reason: &str, message: &str, exit: ExitCode, whose: Option<(&str, u32)>) -> Self {
        let mut message = message.to_owned();
        if message.len() > MESSAGE_MAX {
            let end = (0..=MESSAGE_MAX)
                .rev()
                .find(|at| message.is_char_boundary(*at));
            message.truncate(end.unwrap_or(0));
            message.push('…');
        }
        Ending {
            reason: reason.to_owned(),
            message,
            exit_code: exit.code(),
            output: whose.map(|(output, _)| output.to_owned()),
            lane: whose.map(|(_, lane)| lane),
        }
    }

    /// Leaves the last words. The kubelet makes its own file before the pod starts: where it is
    /// not there, nobody would read them, and none is made.
    pub fn leave(&self, path: &Path) {
        let ours = path == Path::new(TERMINATION_LOG);
        if ours && !path.exists() {
            return;
        }
        let text = serde_json::to_string(self).unwrap_or_else(|error| error.to_string());
        if let Err(error) = std::fs::write(path, text) {
            tracing::warn!(%error, path = %path.display(), "no termination message");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use worldstream_crds::Reason;

    #[test]
    fn last_words_fit_and_say_everything() {
        let failure = Failure::new(Reason::LagLimit, "out_7Q").detail("é".repeat(4_000));
        let ending = Ending::failed(&failure, Some(("out_7Q", 3)));
        let text = serde_json::to_string(&ending).unwrap();
        assert!(text.len() < 4_096, "{}", text.len());
        let read: Ending = serde_json::from_str(&text).unwrap();
        assert_eq!((read.reason.as_str(), read.exit_code), ("LAG_LIMIT", 10));
        assert_eq!(
            (read.output.as_deref(), read.lane),
            (Some("out_7Q"), Some(3))
        );
        let text = serde_json::to_string(&Ending::interrupted(None)).unwrap();
        assert!(!text.contains("output"), "{text}");
    }
}
