//! Why something cannot be carried out as it is written.

use worldstream_crds::ConditionReason;

/// Why a stream or a trigger cannot be carried out as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The condition's reason: of [`ConditionReason`] or a code of the contracts.
    pub reason: String,
    /// What was found where, and what is expected.
    pub message: String,
}

impl Invalid {
    /// For a reason.
    pub fn new(reason: &str, message: impl Into<String>) -> Self {
        Invalid {
            reason: reason.to_owned(),
            message: message.into(),
        }
    }

    /// A mistake in the profile.
    pub fn profile(message: impl Into<String>) -> Self {
        Invalid::new(ConditionReason::InvalidProfile.as_str(), message)
    }
}
