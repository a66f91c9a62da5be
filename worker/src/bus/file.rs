//! The file bus: a folder that is looked at whenever something tells of a change, and now and then
//! in any case. What was given is known by its content, so that a file that is touched, copied over
//! with the same bytes, or found half written is given once, and whole; and after a restart what was
//! settled before is not given again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use serde::de::IgnoredAny;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc::error::SendError;
use tracing::warn;
use worldstream_crds::ExitCode;

use super::backoff::Backoff;
use super::feed::{Feed, Out};
use super::folder::{Content, Entry, Folder, Version};
use super::settled::{self, Key};
use super::troubles::Troubles;
use super::watch::Watch;
use super::{Arrival, Bus, Message, Place};
use crate::failure::Result;
use crate::plan::ready::{BusPlan, FileBusPlan};
use crate::time::EventTime;

/// So long a file that is no JSON may still be being written; then it is given as it is.
const GRACE: Duration = Duration::from_secs(1);
/// How soon a file that is being written is looked at again.
const SOON: Duration = Duration::from_millis(100);
/// Two changes within this may have one time: what changed so lately is looked at again.
const TICK_MICROS: i64 = 100_000;
/// A look at a large folder takes a while: at most this share of the time is spent looking.
const SHARE: u32 = 20;

/// A folder of messages that is read.
pub(super) struct FileBus {
    feed: Feed<Arrival>,
    seen: Arc<Mutex<Seen>>,
    /// The folder's.
    name: String,
    troubles: Troubles,
}

/// What is known of the folder.
#[derive(Debug, Default)]
struct Seen {
    /// Its files, by name.
    files: BTreeMap<String, Known>,
    /// All of it was looked at once: before, nobody knows what of a position still counts.
    looked: bool,
    /// The position, as long as nothing of it changes.
    position: Option<Option<String>>,
}

/// A file.
#[derive(Debug, Default)]
struct Known {
    /// The state that needs no second look.
    version: Option<Version>,
    /// It is no JSON yet, in this state since then.
    waits: Option<(Version, Instant)>,
    /// It cannot be read in this state, which has been told.
    unreadable: Option<Version>,
    /// What was given of it last.
    given: Option<Given>,
    /// It is settled in this state.
    settled: Option<Key>,
}

#[derive(Debug)]
struct Given {
    digest: [u8; 32],
    identity: String,
    place: Place,
    settled: bool,
    key: Key,
}

impl FileBus {
    /// Starts to look.
    pub fn open(plan: &BusPlan, file: &FileBusPlan, position: Option<&str>) -> Result<FileBus> {
        let folder = Folder::open(plan, file)?;
        let name = folder.name("");
        let before = position.map(|text| settled::read(text, &name));
        if let Some(None) = before {
            warn!(
                bus = name,
                "a position that is not of this control bus is passed over"
            );
        }
        let seen = Arc::<Mutex<Seen>>::default();
        let troubles = Troubles::default();
        let watch = match &folder {
            Folder::Local(path) => Some(Watch::new(path)),
            Folder::Bucket { .. } => None,
        };
        let mut looker = Looker {
            limit: plan.max_message_bytes,
            poll: file.poll_interval,
            seen: seen.clone(),
            before: before.flatten().unwrap_or_default(),
            troubles: troubles.clone(),
            folder,
        };
        let feed = Feed::start(|out| async move {
            // Nobody reads on where sending fails.
            let _ = looker.run(watch, &out).await;
        })?;
        Ok(FileBus {
            feed,
            seen,
            name,
            troubles,
        })
    }
}

impl Bus for FileBus {
    fn next(&mut self) -> BoxFuture<'_, Result<Arrival>> {
        Box::pin(self.feed.next())
    }

    fn settle(&mut self, place: &Place) {
        let mut seen = lock(&self.seen);
        for known in seen.files.values_mut() {
            if let Some(given) = known.given.as_mut().filter(|it| it.place == *place) {
                given.settled = true;
                known.settled = Some(given.key);
            }
        }
        seen.position = None;
    }

    fn position(&self) -> Option<String> {
        let mut seen = lock(&self.seen);
        if !seen.looked {
            return None;
        }
        let Seen {
            files, position, ..
        } = &mut *seen;
        let known = files.values().filter_map(|known| known.settled);
        let position = position.get_or_insert_with(|| settled::position(&self.name, known));
        position.clone()
    }

    fn trouble(&self) -> Option<String> {
        self.troubles.lasting(Instant::now())
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks at the folder, and gives what is new.
struct Looker {
    folder: Folder,
    limit: u64,
    poll: Duration,
    seen: Arc<Mutex<Seen>>,
    /// What was settled when the folder was opened, and was not met yet.
    before: BTreeSet<Key>,
    troubles: Troubles,
}

/// What a look left to do.
#[derive(Debug, Default, Clone, Copy)]
struct Left {
    /// Files that are being written, as it seems.
    waiting: bool,
    /// Files that changed so lately that they may change unseen.
    unsure: bool,
}

/// What to do about a file's content.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Give,
    Wait,
    Pass,
}

/// A file that was given already is given again only in another's place, and only if it was not
/// settled; one that is no JSON is given once it has not changed for a while.
fn judge(
    given: Option<&Given>,
    digest: [u8; 32],
    identity: &str,
    whole: bool,
    waited: Duration,
) -> Verdict {
    match given.filter(|given| given.digest == digest) {
        Some(given) if given.settled || given.identity == identity => Verdict::Pass,
        Some(_) => Verdict::Give,
        None if whole || waited >= GRACE => Verdict::Give,
        None => Verdict::Wait,
    }
}

type Sent<T> = std::result::Result<T, SendError<Result<Arrival>>>;

impl Looker {
    async fn run(&mut self, mut watch: Option<Watch>, out: &Out<Arrival>) -> Sent<()> {
        let first = Duration::from_millis(200);
        let mut backoff = Backoff::new(self.folder.name(""), first, &self.troubles);
        let (mut answered, mut caught_up) = (false, false);
        if self.folder.missing() {
            let bus = self.folder.name("");
            warn!(
                bus,
                "the control bus's folder is not there, and is empty until it is"
            );
        }
        loop {
            if let Some(watch) = &mut watch {
                watch.renew();
            }
            let began = Instant::now();
            let left = match self.folder.list().await {
                Ok(entries) => self.look(entries, out).await?,
                // What only a person can mend is said at once; later on it is waited for.
                Err(failure) if !answered && failure.exit_code() == ExitCode::FailClosed => {
                    return out.send(Err(failure)).await;
                }
                Err(failure) => {
                    tokio::time::sleep(backoff.failed(&failure)).await;
                    continue;
                }
            };
            backoff.worked();
            answered = true;
            lock(&self.seen).looked = true;
            if !caught_up && !left.waiting {
                caught_up = true;
                out.send(Ok(Arrival::CaughtUp)).await?;
            }
            let took = began.elapsed();
            let pause = match left.waiting || left.unsure {
                true => self.poll.min(SOON),
                false => self.poll,
            };
            // Also where one change follows the other.
            tokio::time::sleep(took.min(self.poll)).await;
            let pause = tokio::time::sleep(pause.max(took * SHARE));
            match &watch {
                Some(watch) => tokio::select! {
                    () = watch.changed() => {}
                    () = pause => {}
                },
                None => pause.await,
            }
        }
    }

    /// Gives what is new of these files, which are all that there are.
    async fn look(&mut self, entries: Vec<Entry>, out: &Out<Arrival>) -> Sent<Left> {
        let names: BTreeSet<_> = entries.iter().map(|entry| entry.name.as_str()).collect();
        // What is gone and comes again is new.
        {
            let mut seen = lock(&self.seen);
            let all = seen.files.len();
            seen.files.retain(|name, _| names.contains(name.as_str()));
            if seen.files.len() != all {
                seen.position = None;
            }
        }
        let mut left = Left::default();
        for entry in &entries {
            if self.knows(entry) {
                continue;
            }
            match self.folder.read(entry, self.limit).await {
                Ok(Content::Gone) => {}
                Ok(Content::Changing) => left.waiting = true,
                Ok(Content::TooLarge(bytes, version)) => {
                    let digest = Sha256::digest(bytes.to_string()).into();
                    let (place, verdict) = self.meet(entry, &version, digest, true, &mut left);
                    if verdict == Verdict::Give {
                        let arrival = Arrival::TooLarge {
                            place,
                            bytes,
                            limit: self.limit,
                            published: Some(entry.modified),
                        };
                        out.send(Ok(arrival)).await?;
                    }
                }
                Ok(Content::Bytes(bytes, version)) => {
                    let digest = Sha256::digest(&bytes).into();
                    // Objects in S3 appear whole.
                    let whole = !self.is_local() || is_json(&bytes);
                    let (place, verdict) = self.meet(entry, &version, digest, whole, &mut left);
                    if verdict == Verdict::Give {
                        let published = Some(entry.modified);
                        let message = Message {
                            place,
                            bytes,
                            published,
                        };
                        out.send(Ok(Arrival::Message(message))).await?;
                    }
                }
                Err(failure) => {
                    // A store that is away has it still; what a disk refuses is that file's own.
                    let away = failure.exit_code() == ExitCode::Unavailable;
                    left.waiting |= away && !self.is_local();
                    self.unreadable(entry, &failure);
                }
            }
        }
        Ok(left)
    }

    /// Whether a file needs no look: in this state it had one, or it is an object, which needs not
    /// be read to be known, and was settled before the folder was opened.
    fn knows(&mut self, entry: &Entry) -> bool {
        let mut seen = lock(&self.seen);
        if let Some(known) = seen.files.get(&entry.name) {
            return known.version.as_ref() == Some(&entry.version);
        }
        let key = settled::key(&entry.name, entry.version.content.as_bytes());
        let settled = matches!(self.folder, Folder::Bucket { .. }) && self.before.remove(&key);
        if settled {
            let known = Known {
                version: Some(entry.version.clone()),
                settled: Some(key),
                ..Known::default()
            };
            seen.files.insert(entry.name.clone(), known);
            seen.position = None;
        }
        settled
    }

    /// Judges a file in a state, and keeps what was decided.
    fn meet(
        &mut self,
        entry: &Entry,
        version: &Version,
        digest: [u8; 32],
        whole: bool,
        left: &mut Left,
    ) -> (Place, Verdict) {
        let place = Place {
            source: self.folder.name(&entry.name).into(),
            at: const_hex::encode(digest.get(..8).unwrap_or_default()).into(),
        };
        // A disk's files have nothing beside their bytes that is sure to tell them apart.
        let key = match &self.folder {
            Folder::Local(_) => settled::key(&entry.name, &digest),
            Folder::Bucket { .. } => settled::key(&entry.name, version.content.as_bytes()),
        };
        // Objects in S3 have tags, which cannot stay the same.
        let unsure = self.is_local()
            && EventTime::wall_now().micros() - entry.modified.micros() < TICK_MICROS;
        let mut seen = lock(&self.seen);
        seen.position = None;
        let known = seen.files.entry(entry.name.clone()).or_default();
        if known.given.is_none() && self.before.remove(&key) {
            known.given = Some(Given {
                digest,
                identity: version.identity.clone(),
                place: place.clone(),
                settled: true,
                key,
            });
        }
        let since = match &known.waits {
            Some((waits, since)) if waits == version => *since,
            _ => Instant::now(),
        };
        let identity = version.identity.as_str();
        let verdict = judge(
            known.given.as_ref(),
            digest,
            identity,
            whole,
            since.elapsed(),
        );
        match verdict {
            Verdict::Wait => {
                known.waits = Some((version.clone(), since));
                left.waiting = true;
                return (place, verdict);
            }
            Verdict::Give => {
                known.given = Some(Given {
                    digest,
                    identity: identity.to_owned(),
                    place: place.clone(),
                    settled: false,
                    key,
                });
            }
            Verdict::Pass => {}
        }
        let settled = known.given.as_ref().filter(|given| given.settled);
        known.settled = settled.map(|given| given.key);
        known.waits = None;
        known.unreadable = None;
        left.unsure |= unsure;
        known.version = (!unsure).then(|| version.clone());
        (place, verdict)
    }

    fn is_local(&self) -> bool {
        matches!(self.folder, Folder::Local(_))
    }

    /// Says once that a file cannot be read; it is tried again at each look.
    fn unreadable(&self, entry: &Entry, failure: &crate::Failure) {
        let mut seen = lock(&self.seen);
        let known = seen.files.entry(entry.name.clone()).or_default();
        if known.unreadable.as_ref() != Some(&entry.version) {
            known.unreadable = Some(entry.version.clone());
            warn!(%failure, "a message that cannot be read is tried again, the others are not held up");
        }
    }
}

/// Whether it is the whole of some JSON. What is broken off is none.
fn is_json(bytes: &Bytes) -> bool {
    serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(settled: bool) -> Given {
        Given {
            digest: [1; 32],
            identity: "a".into(),
            place: Place {
                source: "f".into(),
                at: "1".into(),
            },
            settled,
            key: [0; 8],
        }
    }

    #[test]
    fn the_same_bytes_come_again_only_in_anothers_place_and_unsettled() {
        for (settled, identity, expect) in [
            (false, "a", Verdict::Pass),
            (true, "a", Verdict::Pass),
            (true, "b", Verdict::Pass),
            (false, "b", Verdict::Give),
        ] {
            let given = given(settled);
            let found = judge(Some(&given), [1; 32], identity, true, Duration::ZERO);
            assert_eq!(found, expect, "{settled} {identity}");
        }
    }

    #[test]
    fn what_is_no_json_is_waited_for() {
        for (whole, waited, expect) in [
            (true, Duration::ZERO, Verdict::Give),
            (false, Duration::ZERO, Verdict::Wait),
            (false, GRACE, Verdict::Give),
        ] {
            for given in [None, Some(&given(true))] {
                assert_eq!(judge(given, [2; 32], "a", whole, waited), expect);
            }
        }
        assert!(is_json(&Bytes::from_static(b" {\"a\": 1}\n")));
        for part in [&b""[..], b"{", b"{\"a\": 1", b"{} {"] {
            assert!(!is_json(&Bytes::from_static(part)));
        }
    }
}
