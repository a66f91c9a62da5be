//! Who streams a message: a claim beside its record, which precedes the stream and remembers what
//! a restart must know. One holder at a time; a holder that is gone leaves nothing to clean up.
//!
//! In a folder the kernel holds the claim: a locked file. In S3 it is an object that names its
//! holder and when it expires, renewed as long as the holder lives, each write on the condition
//! that nobody else wrote meanwhile.

mod file;
mod object;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use worldstream_crds::{ExitCode, Reason};

use crate::audit::Records;
use crate::failure::{Failure, Result};
use crate::stop::Stop;

/// How long a claim in S3 outlives its holder. It is renewed four times as often, so that clocks
/// may differ by most of it.
pub const TERM: Duration = Duration::from_secs(60);

/// Takes claims, for one holder.
#[derive(Debug, Clone)]
pub struct Claims {
    /// Who takes them, for people; and in S3 whoever has the same name takes them over at once.
    pub holder: String,
    /// How long one in S3 outlives us.
    pub term: Duration,
}

/// What a claim remembers of its message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// A stream was begun, and its end is not recorded.
    pub open: bool,
    /// The session log says that the message came.
    pub received: bool,
    /// The stream was deleted half way: it is not streamed again by itself.
    pub deleted: bool,
    /// Events that were taken before this stream, so that it counts its own across restarts.
    pub counted_from: Option<u64>,
    /// What the launcher calls the stream, where it has a name.
    pub stream: Option<String>,
    /// The stream has ended, and its record is being written.
    pub pending: Option<Pending>,
}

/// How a stream ended, before that is recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The record's line, its newline included: the same bytes are appended once.
    pub record: String,
    /// The stream was deleted half way.
    pub deleted: bool,
}

/// The outcome of asking for a claim.
pub enum Taken {
    /// We have it.
    Ours(Claim),
    /// Somebody else has it: who, for people.
    Theirs(String),
}

/// A claim that we hold until it is released or dropped.
#[derive(Debug)]
pub struct Claim {
    held: Held,
}

#[derive(Debug)]
enum Held {
    File(file::Locked),
    Object(object::Leased),
}

/// A claim as it is written down.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Document {
    message_id: String,
    holder: String,
    /// Tells one claim of a holder from the next.
    nonce: String,
    claimed_at_utc: String,
    /// Wall clock; none where the kernel holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at_utc: Option<String>,
    /// Nobody holds it.
    #[serde(default)]
    released: bool,
    #[serde(default)]
    memory: Memory,
}

impl Claims {
    /// What is remembered of a message, without taking its claim; nothing of one that was never
    /// claimed.
    ///
    /// # Errors
    /// `STREAM_FAILED` where the claim cannot be read.
    pub async fn look(&self, run: &Records, message_id: &str) -> Result<Memory> {
        let found = run.read(&relative(message_id)).await?;
        Ok(found.map(|bytes| read(&bytes)).unwrap_or_default())
    }

    /// Takes the claim of a message, or says who has it.
    ///
    /// # Errors
    /// `STREAM_FAILED` where it can be neither read nor written.
    pub async fn take(&self, run: &Records, message_id: &str) -> Result<Taken> {
        let document = Document {
            message_id: message_id.to_owned(),
            holder: self.holder.clone(),
            nonce: nonce(),
            claimed_at_utc: crate::time::EventTime::wall_now().to_string(),
            expires_at_utc: None,
            released: false,
            memory: Memory::default(),
        };
        let relative = relative(message_id);
        match run {
            Records::Folder(folder) => file::take(&folder.join(relative), document),
            Records::Bucket { .. } => {
                object::take(run.clone(), relative, document, self.term).await
            }
        }
    }
}

impl Claim {
    /// What it remembers.
    pub fn memory(&self) -> Memory {
        match &self.held {
            Held::File(locked) => locked.memory(),
            Held::Object(leased) => leased.memory(),
        }
    }

    /// Changes what it remembers, durably.
    ///
    /// # Errors
    /// As [`Claims::take`], and `CHECKPOINT_CONFLICT` where the claim was lost.
    pub async fn remember(&self, change: impl FnOnce(&mut Memory)) -> Result<()> {
        match &self.held {
            Held::File(locked) => locked.remember(change),
            Held::Object(leased) => leased.write(|document| change(&mut document.memory)).await,
        }
    }

    /// Waits until the claim is lost to another holder; for ever if it is not.
    pub async fn lost(&self) {
        match &self.held {
            Held::File(_) => std::future::pending().await,
            Held::Object(leased) => leased.lost().wait().await,
        }
    }

    /// Gives the claim up, so that others need not wait for its end; it remembers on.
    pub async fn release(self) {
        if let Held::Object(leased) = &self.held {
            // One that cannot be released expires.
            let _ = leased.write(|document| document.released = true).await;
        }
    }
}

/// The place of a message's claim, below the run prefix.
fn relative(message_id: &str) -> String {
    format!("wsp/ready_runs/{message_id}.claim")
}

/// What a claim's bytes remember: nothing, if a crash left them broken.
fn read(bytes: &[u8]) -> Memory {
    serde_json::from_slice::<Document>(bytes)
        .map(|document| document.memory)
        .unwrap_or_default()
}

fn nonce() -> String {
    let half = || (crate::gate::random() * (1u64 << 52) as f64) as u64;
    format!("{:013x}{:013x}", half(), half())
}

/// Somebody else took the claim while we had it.
fn taken_over(name: &str, lost: &Stop) -> Failure {
    lost.set();
    Failure::new(Reason::CheckpointConflict, name)
        .found("another holder's claim")
        .expected("the one that this process took")
        .exits(ExitCode::Fenced)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use object_store::memory::InMemory;
    use object_store::path::Path;
    use std::sync::Arc;

    fn claims(holder: &str, term: u64) -> Claims {
        Claims {
            holder: holder.into(),
            term: Duration::from_millis(term),
        }
    }

    fn bucket() -> Records {
        Records::Bucket {
            store: Store::local(Arc::new(InMemory::new())),
            base: Path::from("run"),
            name: "s3://b/run".into(),
        }
    }

    async fn ours(claims: &Claims, run: &Records) -> Claim {
        match claims.take(run, "m").await.unwrap() {
            Taken::Ours(claim) => claim,
            Taken::Theirs(who) => panic!("{who} has it"),
        }
    }

    async fn theirs(claims: &Claims, run: &Records) -> String {
        match claims.take(run, "m").await.unwrap() {
            Taken::Ours(_) => panic!("two have it"),
            Taken::Theirs(who) => who,
        }
    }

    #[tokio::test]
    async fn one_has_it_and_what_it_remembers_stays() {
        let dir = tempfile::tempdir().unwrap();
        for run in [Records::Folder(dir.path().to_owned()), bucket()] {
            let (a, b) = (claims("a", 60_000), claims("b", 60_000));
            assert_eq!(a.look(&run, "m").await.unwrap(), Memory::default());
            let held = ours(&a, &run).await;
            held.remember(|memory| memory.open = true).await.unwrap();
            assert!(b.look(&run, "m").await.unwrap().open);
            let who = theirs(&b, &run).await;
            assert!(who.contains('a'), "{who}");
            held.release().await;
            let held = ours(&b, &run).await;
            assert!(held.memory().open);
            held.remember(|memory| *memory = Memory::default())
                .await
                .unwrap();
            held.release().await;
            assert_eq!(a.look(&run, "m").await.unwrap(), Memory::default());
        }
    }

    #[tokio::test]
    async fn a_claim_that_nobody_renews_is_taken_and_its_holder_sees_it() {
        let run = bucket();
        let (a, b) = (claims("a", 0), claims("b", 60_000));
        // It has expired when it is taken.
        let lost = ours(&a, &run).await;
        let held = ours(&b, &run).await;
        let failure = lost.remember(|memory| memory.open = true).await;
        assert_eq!(failure.unwrap_err().reason(), Reason::CheckpointConflict);
        lost.lost().await;
        assert!(!held.memory().open);
    }

    #[tokio::test]
    async fn a_holder_of_the_same_name_takes_over_at_once() {
        let run = bucket();
        let a = claims("namespace/trigger", 60_000);
        let before = ours(&a, &run).await;
        before.remember(|memory| memory.open = true).await.unwrap();
        let after = ours(&a, &run).await;
        assert!(after.memory().open);
        assert!(before.remember(|_| ()).await.is_err());
        after
            .remember(|memory| memory.deleted = true)
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_broken_claim_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        let run = Records::Folder(dir.path().to_owned());
        let path = dir.path().join(relative("m"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        for left in ["", "{\"message_id\"", "[]"] {
            std::fs::write(&path, left).unwrap();
            let held = ours(&claims("a", 60_000), &run).await;
            assert_eq!(held.memory(), Memory::default());
            held.remember(|memory| memory.open = true).await.unwrap();
        }
    }
}
