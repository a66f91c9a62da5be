//! Watching the stream's clock: what is new in it goes to the conductor.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::watcher;
use tokio::sync::mpsc;
use tracing::warn;
use worldstream_crds::{Overshoot, StreamClock};

use super::access::Access;
use super::follow::{self, Follower, Sent};
use super::reporter::total;
use crate::clock::{ClockReader, Mono, Monotonic, Revision, WallOffset};
use crate::engine::Board;
use crate::time::EventTime;

/// How often it is noted how many events were sent.
const SAMPLE: Duration = Duration::from_millis(100);
/// A watch of the clock is renewed this often: a connection that is silently gone is noticed then.
const WATCH_SECONDS: u32 = 30;
/// Between two attempts to watch the clock; after the first failure much less, as a watch that
/// merely broke is there again at once, and a change of the clock is not to be learned late.
const WATCH_PAUSE: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// What is needed to follow a StreamClock.
pub struct Following {
    /// The API server.
    pub access: Access,
    /// The clock's name.
    pub name: String,
    /// What the lanes show.
    pub board: Arc<Board>,
    /// The clock as it is known.
    pub clock: ClockReader,
    /// Where new revisions go.
    pub revisions: mpsc::UnboundedSender<Revision>,
    /// What a late revision came too late for.
    pub overshoot: Arc<Mutex<Option<Overshoot>>>,
}

/// Watches the stream's clock for ever, and tells the conductor what is new.
pub async fn follow_clock(following: Following) {
    let Following {
        access,
        name,
        board,
        clock,
        revisions,
        overshoot,
    } = following;
    let config = watcher::Config::default()
        .fields(&format!("metadata.name={name}"))
        .timeout(WATCH_SECONDS);
    let mut events = std::pin::pin!(watcher(access.clocks(), config));
    let (mut follower, mut sent, mut away) = (Follower::default(), Sent::default(), false);
    let mut sampling = tokio::time::interval(SAMPLE);
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            _ = sampling.tick() => {
                sent.note(Mono::now(), total(&board, |lane| lane.sent.load(Relaxed)));
                continue;
            }
        };
        let told: StreamClock = match event {
            Some(Ok(watcher::Event::Apply(told) | watcher::Event::InitApply(told))) => told,
            Some(Ok(_)) => continue,
            Some(Err(error)) => {
                let pause = match away {
                    true => WATCH_PAUSE,
                    false => FIRST_PAUSE,
                };
                if !away {
                    warn!(%error, "the StreamClock cannot be watched: going on by what is known");
                    away = true;
                }
                tokio::time::sleep(pause).await;
                continue;
            }
            // A watch never ends by itself.
            None => return,
        };
        away = false;
        let now = Mono::now();
        let offset = wall_offset();
        let learned = match follower.learn(&told.spec, now, offset) {
            Ok(Some(learned)) => learned,
            Ok(None) => continue,
            Err(error) => {
                warn!(
                    clock = name,
                    error, "the StreamClock is not understood: going on as before"
                );
                continue;
            }
        };
        if let (Some(late), Some(newest)) = (learned.late, learned.revisions.last()) {
            let last = board.lanes.iter().filter_map(|lane| lane.issued()).max();
            let sent_now = total(&board, |lane| lane.sent.load(Relaxed));
            let timeline = clock.borrow().clone();
            let shot = follow::overshoot(late, newest, &timeline, now, last, &sent, sent_now);
            warn!(
                revision = shot.revision,
                late = ?late,
                events = shot.events,
                "a revision of the clock was learned late"
            );
            *overshoot.lock().unwrap_or_else(PoisonError::into_inner) = Some(shot);
        }
        for revision in learned.revisions {
            // A conductor that is gone needs no clock.
            let _ = revisions.send(revision);
        }
    }
}

/// How far the wall clock is ahead of the monotonic one, and never further than it is. The process may
/// lose its turn between the two readings: read in this order, what that costs makes every moment
/// late and none early, and the best of some readings is off by next to nothing.
fn wall_offset() -> WallOffset {
    let read = || {
        let wall = EventTime::wall_now();
        WallOffset::between(wall, Mono::now())
    };
    let readings = std::iter::repeat_with(read).take(8);
    readings.max_by_key(|offset| offset.0).unwrap_or_else(read)
}
