//! Why Kinesis did not do what it was asked.

use std::error::Error;
use std::fmt;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use worldstream_crds::{ExitCode, Reason};

use crate::failure::{Failure, chain};
use crate::store::is_distrust;

/// What kind of trouble it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// More was asked than a shard or the account may be.
    Throttled,
    /// The iterator is too old.
    Expired,
    /// There is no such stream, or shard.
    Missing,
    /// A parameter has no meaning, such as a sequence number that this shard never had.
    Argument,
    /// It answers, and says no: rights, credentials, keys.
    Refused,
    /// Whoever answers is nobody that we trust.
    Distrusted,
    /// It does not answer, or is not able to.
    Away,
}

/// A request that failed.
#[derive(Debug)]
pub(super) struct KinesisError {
    pub trouble: Trouble,
    text: String,
}

impl fmt::Display for KinesisError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl KinesisError {
    /// What the client said.
    pub fn of<E, R>(error: &SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
        R: fmt::Debug,
        SdkError<E, R>: Error + 'static,
    {
        match error {
            SdkError::ServiceError(service) => {
                let code = service.err().code().unwrap_or_default();
                let message = service.err().message().unwrap_or("no more is said");
                KinesisError {
                    trouble: by_code(code),
                    text: match code {
                        "" => chain(service.err()),
                        code => format!("{code}: {message}"),
                    },
                }
            }
            error => KinesisError {
                trouble: without_answer(error),
                text: chain(error),
            },
        }
    }

    /// No answer came within so many seconds.
    pub fn late(seconds: u64) -> Self {
        KinesisError {
            trouble: Trouble::Away,
            text: format!("no answer within {seconds} s"),
        }
    }

    /// The failure that this is of a stream. `place` is where it is asked, `credentials` who we
    /// say that we are.
    pub fn failure(&self, stream: &str, place: &str, credentials: &str) -> Failure {
        let (reason, exit) = match self.trouble {
            Trouble::Missing => (Reason::ControlBusStreamMissing, None),
            Trouble::Throttled | Trouble::Away => {
                (Reason::StreamFailed, Some(ExitCode::Unavailable))
            }
            _ => (Reason::StreamFailed, None),
        };
        let failure = Failure::new(reason, format!("bus.kinesis, stream {stream} of {place}"));
        let failure = match self.trouble {
            Trouble::Missing => failure.found("no such stream"),
            Trouble::Refused => {
                failure.detail(format!("{self}, with credentials of {credentials}"))
            }
            Trouble::Distrusted => failure
                .field("bus.kinesis.caFile")
                .expected(
                    "a server that its certificates, or without one the built-in roots, vouch for",
                )
                .detail(self.to_string()),
            _ => failure.detail(self.to_string()),
        };
        match exit {
            Some(exit) => failure.exits(exit),
            None => failure,
        }
    }
}

fn by_code(code: &str) -> Trouble {
    match code {
        "ProvisionedThroughputExceededException"
        | "LimitExceededException"
        | "KMSThrottlingException"
        | "ThrottlingException" => Trouble::Throttled,
        "ExpiredIteratorException" | "ExpiredNextTokenException" => Trouble::Expired,
        "ResourceNotFoundException" => Trouble::Missing,
        "InvalidArgumentException" | "ValidationException" => Trouble::Argument,
        "AccessDeniedException"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "IncompleteSignatureException"
        | "IncompleteSignature"
        | "MissingAuthenticationTokenException"
        | "MissingAuthenticationToken"
        | "SignatureDoesNotMatch"
        | "ExpiredTokenException"
        | "OptInRequired"
        | "KMSAccessDeniedException"
        | "KMSDisabledException"
        | "KMSInvalidStateException"
        | "KMSNotFoundException"
        | "KMSOptInRequired" => Trouble::Refused,
        // A stream that is being made, a fault inside, and what a proxy says of its own.
        _ => Trouble::Away,
    }
}

/// Credentials that are not there, and trust, are what no waiting brings.
fn without_answer(error: &(dyn Error + 'static)) -> Trouble {
    let mut link = Some(error);
    while let Some(error) = link {
        if let Some(CredentialsError::InvalidConfiguration(_)) = error.downcast_ref() {
            return Trouble::Refused;
        }
        link = error.source();
    }
    match is_distrust(error) {
        true => Trouble::Distrusted,
        false => Trouble::Away,
    }
}
