//! The statements on a checkpoint's rows, each one transaction: taking, saving, renewing, giving
//! up, reading. Time is always the server's.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_postgres::types::Type;
use worldstream_crds::Reason;

use super::link::{Line, Param};
use super::trouble::Trouble;
use crate::checkpoint::document;
use crate::checkpoint::holder::Holder;
use crate::checkpoint::{Checkpoint, CheckpointKey, Cursor, Progress};
use crate::failure::{Failure, Result};

/// The version of [`Figures`]; another is refused.
const VERSION: u32 = 1;

/// Which rows.
#[derive(Debug, Clone)]
pub struct Place {
    /// What the reference's column `pack_key` holds.
    pub scope_key: String,
    /// The output.
    pub output_id: String,
    /// `0 of 3`, for people.
    pub lane: String,
}

impl Place {
    /// Of a key.
    pub fn of(key: &CheckpointKey) -> Place {
        Place {
            scope_key: key.scope_key(),
            output_id: key.output_id.clone(),
            lane: format!("{} of {}", key.lane.index, key.lane.count),
        }
    }

    /// For messages.
    pub fn name(&self, line: &Line) -> String {
        format!(
            "{}: checkpoint of {} ({})",
            line.name(),
            self.output_id,
            self.scope_key.get(..12).unwrap_or(&self.scope_key)
        )
    }
}

/// Our figures in the column `progress`, naming the cursor that they belong to.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    version: u32,
    cursor: Option<Cursor>,
    progress: Option<Progress>,
}

impl Figures {
    fn text(checkpoint: &Checkpoint) -> Result<String> {
        serde_json::to_string(&Figures {
            version: VERSION,
            cursor: checkpoint.cursor.clone(),
            progress: checkpoint.progress.clone(),
        })
        .map_err(|error| Failure::new(Reason::StreamFailed, "progress").cause(&error))
    }

    fn read(object: &str, value: Value) -> Result<Figures> {
        let unreadable = || Failure::new(Reason::CheckpointUnreadable, object).field("progress");
        if value["version"] != VERSION {
            return Err(unreadable()
                .found(format!("version {}", value["version"]))
                .expected(format!("version {VERSION}"))
                .detail("written by another version of worldstream"));
        }
        serde_path_to_error::deserialize(value).map_err(|error| {
            unreadable()
                .field(format!("progress.{}", error.path()))
                .expected("progress as this version writes it")
                .cause(error.inner())
        })
    }
}

/// Whether a checkpoint could be taken.
pub enum Take {
    /// It is ours under this epoch.
    Taken(i64),
    /// Another's.
    Held(Standing),
}

/// A lease as the server has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Who.
    pub holder: String,
    /// The epoch.
    pub epoch: i64,
    /// When it ends, by the server's clock, as its text in UTC.
    pub expires_at: String,
    /// Seconds up to then.
    pub remaining: f64,
}

impl Standing {
    /// `CHECKPOINT_CONFLICT` because of this holder.
    pub fn conflict(&self, object: String) -> Failure {
        let when = match self.remaining > 0.0 {
            true => format!("its lease runs until {} unless renewed", self.expires_at),
            false => format!("its lease ended at {}", self.expires_at),
        };
        Failure::new(Reason::CheckpointConflict, object)
            .found(format!(
                "held by {} (epoch {}); {when}",
                self.holder, self.epoch
            ))
            .expected("no other holder")
    }
}

/// Takes the lease and raises its epoch, if it is free, has ended, or is the same Job's.
pub async fn take(line: &Line, place: &Place, holder: &Holder, term: f64) -> Result<Take, Trouble> {
    let rows = line
        .query(
            "INSERT INTO wsp_checkpoint_lease AS l
               (pack_key, output_id, epoch, holder, job, lane, taken_at, expires_at)
             VALUES ($1, $2, 1, $3, $4, $5, clock_timestamp(),
                     clock_timestamp() + make_interval(secs => $6))
             ON CONFLICT (pack_key, output_id) DO UPDATE SET
               epoch = l.epoch + 1, holder = excluded.holder, job = excluded.job,
               lane = excluded.lane, taken_at = excluded.taken_at,
               expires_at = excluded.expires_at
             WHERE l.expires_at <= clock_timestamp() OR l.job = excluded.job
             RETURNING epoch",
            &[
                (&place.scope_key, Type::TEXT),
                (&place.output_id, Type::TEXT),
                (&holder.name, Type::TEXT),
                (&holder.job, Type::TEXT),
                (&place.lane, Type::TEXT),
                (&term, Type::FLOAT8),
            ],
        )
        .await?;
    if let Some(row) = rows.first() {
        return Ok(Take::Taken(row.get(0)));
    }
    Ok(Take::Held(standing(line, place).await?.unwrap_or(
        // Gone between the two statements: as good as ended.
        Standing {
            holder: "another process".to_owned(),
            epoch: 0,
            expires_at: String::new(),
            remaining: 0.0,
        },
    )))
}

/// Who has a lease; none if nobody ever had.
pub async fn standing(line: &Line, place: &Place) -> Result<Option<Standing>, Trouble> {
    let rows = line
        .query(
            "SELECT holder, epoch,
                    to_char(expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'),
                    extract(epoch FROM expires_at - clock_timestamp())::float8
             FROM wsp_checkpoint_lease WHERE pack_key = $1 AND output_id = $2",
            &[
                (&place.scope_key, Type::TEXT),
                (&place.output_id, Type::TEXT),
            ],
        )
        .await?;
    Ok(rows.first().map(|row| Standing {
        holder: row.get(0),
        epoch: row.get(1),
        expires_at: row.get(2),
        remaining: row.get(3),
    }))
}

/// One save under an epoch. The sequence grows with each of a lease, so that one that was given
/// up for lost and arrives late changes nothing.
pub struct Save<'a> {
    pub place: &'a Place,
    pub epoch: i64,
    pub sequence: i64,
    pub term: f64,
    pub holder: &'a str,
    pub checkpoint: &'a Checkpoint,
    /// The cursor that was there when the lease was taken, or that was saved last.
    pub known: Option<&'a Cursor>,
}

/// What became of a save.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saved {
    /// It is committed.
    Yes,
    /// The epoch is another's.
    Lost,
    /// The cursor there is not one that this lease left.
    Moved,
}

/// Saves cursor and figures and renews the lease. A cursor is replaced only where it is the one
/// that we know, or one of this lease that nobody touched since; never by an earlier one.
pub async fn save(line: &Line, save: Save<'_>) -> Result<Saved, Trouble> {
    let figures = Figures::text(save.checkpoint)?;
    let Some(cursor) = &save.checkpoint.cursor else {
        let rows = line
            .query(
                "UPDATE wsp_checkpoint_lease SET progress = $5::jsonb,
                   expires_at = clock_timestamp() + make_interval(secs => $4)
                 WHERE pack_key = $1 AND output_id = $2 AND epoch = $3 RETURNING true",
                &[
                    (&save.place.scope_key, Type::TEXT),
                    (&save.place.output_id, Type::TEXT),
                    (&save.epoch, Type::INT8),
                    (&save.term, Type::FLOAT8),
                    (&figures, Type::TEXT),
                ],
            )
            .await?;
        return Ok(match rows.is_empty() {
            true => Saved::Lost,
            false => Saved::Yes,
        });
    };
    let row = i64::try_from(cursor.last_row_index).unwrap_or(i64::MAX);
    let known_file = save.known.map(|cursor| cursor.last_file.as_str());
    let known_row = save
        .known
        .map(|cursor| i64::try_from(cursor.last_row_index).unwrap_or(i64::MAX));
    let rows = line
        .query(
            "WITH held AS (
               UPDATE wsp_checkpoint_lease SET progress = NULL,
                 expires_at = clock_timestamp() + make_interval(secs => $4)
               WHERE pack_key = $1 AND output_id = $2 AND epoch = $3
               RETURNING lane),
             saved AS (
               INSERT INTO wsp_checkpoint AS c (pack_key, output_id, last_file, last_row_index,
                 last_ts_utc, updated_at_utc, epoch, sequence, updated_by, lane, progress)
               SELECT $1, $2, $5, $6, $7, clock_timestamp(), $3, $8, $9, held.lane, $10::jsonb
               FROM held
               ON CONFLICT (pack_key, output_id) DO UPDATE SET
                 last_file = excluded.last_file, last_row_index = excluded.last_row_index,
                 last_ts_utc = excluded.last_ts_utc, updated_at_utc = excluded.updated_at_utc,
                 epoch = excluded.epoch, sequence = excluded.sequence,
                 updated_by = excluded.updated_by, lane = excluded.lane,
                 progress = excluded.progress
               WHERE (c.last_file COLLATE \"C\", c.last_row_index)
                     <= (excluded.last_file COLLATE \"C\", excluded.last_row_index)
                 AND ((c.epoch = excluded.epoch AND c.sequence <= excluded.sequence
                       AND c.progress->'cursor'->>'last_file' = c.last_file
                       AND (c.progress->'cursor'->>'last_row_index')::bigint = c.last_row_index)
                      OR (c.last_file = $11 AND c.last_row_index = $12))
               RETURNING 1)
             SELECT (SELECT count(*) FROM held), (SELECT count(*) FROM saved)",
            &[
                (&save.place.scope_key, Type::TEXT),
                (&save.place.output_id, Type::TEXT),
                (&save.epoch, Type::INT8),
                (&save.term, Type::FLOAT8),
                (&cursor.last_file, Type::TEXT),
                (&row, Type::INT8),
                (&cursor.last_ts_utc, Type::TEXT),
                (&save.sequence, Type::INT8),
                (&save.holder, Type::TEXT),
                (&figures, Type::TEXT),
                (&known_file, Type::TEXT),
                (&known_row, Type::INT8),
            ],
        )
        .await?;
    let counts = rows.first().map(|row| (row.get(0), row.get(1)));
    Ok(match counts {
        Some((1i64, 1i64)) => Saved::Yes,
        Some((1, _)) => Saved::Moved,
        _ => Saved::Lost,
    })
}

/// Renews a lease; whether it is still ours.
pub async fn renew(line: &Line, place: &Place, epoch: i64, term: f64) -> Result<bool, Trouble> {
    let rows = line
        .query(
            "UPDATE wsp_checkpoint_lease
               SET expires_at = clock_timestamp() + make_interval(secs => $4)
             WHERE pack_key = $1 AND output_id = $2 AND epoch = $3 RETURNING true",
            &[
                (&place.scope_key, Type::TEXT),
                (&place.output_id, Type::TEXT),
                (&epoch, Type::INT8),
                (&term, Type::FLOAT8),
            ],
        )
        .await?;
    Ok(!rows.is_empty())
}

/// Gives a lease up: it ends now. The epoch stays, so that it is never given out twice.
pub async fn release(line: &Line, place: &Place, epoch: i64) -> Result<(), Trouble> {
    line.query(
        "UPDATE wsp_checkpoint_lease SET expires_at = clock_timestamp()
         WHERE pack_key = $1 AND output_id = $2 AND epoch = $3 RETURNING true",
        &[
            (&place.scope_key, Type::TEXT),
            (&place.output_id, Type::TEXT),
            (&epoch, Type::INT8),
        ],
    )
    .await?;
    Ok(())
}

/// What is there. Tables and columns that are not there hold nothing: the reference may have made
/// its table, or nobody any.
pub async fn load(line: &Line, place: &Place) -> Result<Loaded> {
    let params: [Param<'_>; 2] = [
        (&place.scope_key, Type::TEXT),
        (&place.output_id, Type::TEXT),
    ];
    let row = line.query(
        "SELECT to_jsonb(c)::text FROM wsp_checkpoint c WHERE pack_key = $1 AND output_id = $2",
        &params,
    );
    let lease = line.query(
        "SELECT progress::text FROM wsp_checkpoint_lease WHERE pack_key = $1 AND output_id = $2",
        &params,
    );
    let (row, lease) = tokio::join!(row, lease);
    let read = |rows: Result<Vec<tokio_postgres::Row>, Trouble>| match rows {
        Ok(rows) => Ok(rows.first().and_then(|row| row.get::<_, Option<String>>(0))),
        Err(trouble) if trouble.lacks_tables() => Ok(None),
        Err(trouble) => Err(trouble.failure(&place.name(line), "read it")),
    };
    Loaded::of(&place.name(line), read(row)?, read(lease)?)
}

/// A checkpoint that was read.
#[derive(Debug)]
pub struct Loaded {
    /// Cursor and figures.
    pub checkpoint: Checkpoint,
    /// When the cursor was written, by its writer's clock.
    pub updated_at_utc: Option<String>,
}

impl Loaded {
    /// From the reference's row as JSON and the lease's figures, as far as they are there.
    pub fn of(object: &str, row: Option<String>, lease: Option<String>) -> Result<Loaded> {
        let json = |text: &str| -> Result<Value> {
            serde_json::from_str(text)
                .map_err(|error| Failure::new(Reason::CheckpointUnreadable, object).cause(&error))
        };
        let Some(row) = row else {
            let figures = lease
                .map(|text| json(&text).and_then(|value| Figures::read(object, value)))
                .transpose()?;
            return Ok(Loaded {
                checkpoint: Checkpoint {
                    cursor: None,
                    progress: figures.and_then(|figures| figures.progress),
                },
                updated_at_utc: None,
            });
        };
        let document = document::decode(object, row.as_bytes())?;
        let mut value = json(&row)?;
        let figures = match value["progress"].take() {
            Value::Null => None,
            figures => Some(Figures::read(object, figures)?),
        };
        Ok(Loaded {
            checkpoint: Checkpoint {
                // Figures of another cursor are of no use: the reference has moved it since.
                progress: figures
                    .filter(|figures| figures.cursor.as_ref() == Some(&document.cursor))
                    .and_then(|figures| figures.progress),
                cursor: Some(document.cursor),
            },
            updated_at_utc: document.updated_at_utc,
        })
    }
}
