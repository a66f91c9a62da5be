//! Every checkpoint of a database, and starting some over, for `worldstream checkpoints`.

use std::collections::BTreeMap;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::link::Line;
use super::rows::{Loaded, Place};
use super::trouble::Trouble;
use super::{Patience, PostgresStore};
use crate::checkpoint::survey::{Found, HeldBy, Spot, Standing};
use crate::failure::Result;
use crate::time::EventTime;

/// What is known of one checkpoint: the row with its cursor, the figures of one without, and who
/// holds it.
#[derive(Default)]
struct Seen {
    row: Option<String>,
    figures: Option<String>,
    held_by: Option<HeldBy>,
}

impl PostgresStore {
    /// Every checkpoint, by scope key and output: those that have a cursor or figures, and those
    /// that are held. What was reset before is left out. Tables that are not there hold none.
    pub async fn survey(&self) -> Result<Vec<Found>> {
        self.on_line(|line| async move {
            let seen = look(&line)
                .await
                .map_err(|trouble| trouble.failure(&line.name(), "list the checkpoints"))?;
            let table = format!("{}, table wsp_checkpoint", line.name());
            let found = seen.into_iter().map(|((scope_key, output_id), seen)| {
                let object = format!("checkpoint of {output_id} ({scope_key})");
                let state = Loaded::of(&object, seen.row, seen.figures);
                Found {
                    spot: Spot::Table(table.clone()),
                    state: state.map(|loaded| Standing {
                        checkpoint: loaded.checkpoint,
                        updated_at_utc: loaded.updated_at_utc,
                    }),
                    held_by: seen.held_by.unwrap_or(HeldBy::Nobody),
                    scope_key,
                    output_id,
                }
            });
            Ok(found.collect())
        })
        .await
    }

    /// Starts checkpoints over: their rows stay, under a key of their own that nothing streams.
    /// All or none: first every lease is taken (`CHECKPOINT_CONFLICT` if one is held). Gives the
    /// new keys.
    pub async fn reset(&self, found: &[&Found]) -> Result<Vec<String>> {
        let mut leases = Vec::new();
        for found in found {
            let place = Place {
                scope_key: found.scope_key.clone(),
                output_id: found.output_id.clone(),
                lane: "reset".to_owned(),
            };
            leases.push(self.take_lease(place, Patience::None).await?);
        }
        let stamp = EventTime::wall_now().to_string().replace(['-', ':'], "");
        let mut keys = Vec::new();
        for lease in leases {
            let (place, epoch) = lease.rows();
            let (place, key) = (place.clone(), format!("{}.reset-{stamp}", place.scope_key));
            keys.push(key.clone());
            self.on_line(|line| async move {
                set_aside(&line, &place, epoch, &key)
                    .await
                    .map_err(|trouble| trouble.failure(&place.name(&line), "set it aside"))
            })
            .await?;
            crate::checkpoint::Lease::release(Box::new(lease)).await;
        }
        Ok(keys)
    }
}

async fn look(line: &Line) -> Result<BTreeMap<(String, String), Seen>, Trouble> {
    let rows = line.query(
        "SELECT pack_key, output_id, to_jsonb(c)::text FROM wsp_checkpoint c
         WHERE pack_key ~ '^[0-9a-fA-F]{64}$'",
        &[],
    );
    let leases = line.query(
        "SELECT pack_key, output_id, progress::text, holder,
                to_char(expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'),
                expires_at > clock_timestamp()
         FROM wsp_checkpoint_lease",
        &[],
    );
    let (rows, leases) = tokio::join!(rows, leases);
    let there = |rows: Result<Vec<Row>, Trouble>| match rows {
        Err(trouble) if trouble.lacks_tables() => Ok(Vec::new()),
        rows => rows,
    };
    let mut seen: BTreeMap<(String, String), Seen> = BTreeMap::new();
    for row in there(rows)? {
        seen.entry((row.get(0), row.get(1))).or_default().row = Some(row.get(2));
    }
    for row in there(leases)? {
        let key = (row.get(0), row.get(1));
        let figures: Option<String> = row.get(2);
        let held = row.get(5);
        if held || figures.is_some() || seen.contains_key(&key) {
            let seen = seen.entry(key).or_default();
            seen.figures = figures;
            seen.held_by = held.then(|| HeldBy::Lease {
                holder: row.get(3),
                until: row.get(4),
            });
        }
    }
    Ok(seen)
}

async fn set_aside(line: &Line, place: &Place, epoch: i64, key: &str) -> Result<(), Trouble> {
    line.query(
        "WITH held AS (
           UPDATE wsp_checkpoint_lease SET progress = NULL
           WHERE pack_key = $1 AND output_id = $2 AND epoch = $3 RETURNING pack_key)
         UPDATE wsp_checkpoint c SET pack_key = $4 FROM held
         WHERE c.pack_key = $1 AND c.output_id = $2 RETURNING true",
        &[
            (&place.scope_key, Type::TEXT),
            (&place.output_id, Type::TEXT),
            (&epoch, Type::INT8),
            (&key, Type::TEXT),
        ],
    )
    .await?;
    Ok(())
}
