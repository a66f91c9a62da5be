//! The tables: the reference's own, as it makes it, with columns of ours beside its; and one of
//! leases, so that a checkpoint can be held before it has a cursor, without a row in the
//! reference's table that the reference did not mean.

use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use worldstream_crds::{ExitCode, Reason};

use super::link::Line;
use super::trouble::Trouble;
use crate::failure::{Failure, Result};

/// Our columns in the reference's table: all may be null, as in rows that the reference wrote.
const COLUMNS: [(&str, &str); 5] = [
    ("epoch", "bigint"),
    ("sequence", "bigint"),
    ("updated_by", "text"),
    ("lane", "text"),
    ("progress", "jsonb"),
];

const TABLE: &str = "CREATE TABLE wsp_checkpoint (
    pack_key text NOT NULL,
    output_id text NOT NULL,
    last_file text NOT NULL,
    last_row_index integer NOT NULL,
    last_ts_utc text,
    updated_at_utc timestamptz NOT NULL,
    PRIMARY KEY (pack_key, output_id))";

const LEASES: &str = "CREATE TABLE wsp_checkpoint_lease (
    pack_key text NOT NULL,
    output_id text NOT NULL,
    epoch bigint NOT NULL,
    holder text NOT NULL,
    job text,
    lane text NOT NULL,
    taken_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    progress jsonb,
    PRIMARY KEY (pack_key, output_id))";

/// Of all that migrate at once one does, and the others find it done.
const LOCK: i64 = 0x7773_7063_6b70_7431;

/// How often a migration is tried when the reference makes its own table at the same moment.
const TRIES: u32 = 5;

/// What a migration found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migrated {
    /// Nothing was missing.
    WasThere,
    /// What was missing is there now.
    Done,
}

/// Makes what is missing, if anything is. Safe from any number of processes at once, and beside
/// the reference at work. A role that may not gets a failure that says what is missing.
pub async fn migrate(line: &Line) -> Result<Migrated> {
    let mut tries = 0;
    loop {
        let missing = missing(line)
            .await
            .map_err(|trouble| trouble.failure(&line.name(), "look at the tables"))?;
        if missing.is_empty() {
            return Ok(match tries {
                0 => Migrated::WasThere,
                _ => Migrated::Done,
            });
        }
        tries += 1;
        match line.batch(&script()).await {
            Ok(()) => {}
            Err(trouble) if tries < TRIES && raced(&trouble) => {}
            Err(trouble) if trouble.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                return Err(not_allowed(line, &missing, trouble));
            }
            Err(trouble) => return Err(trouble.failure(&line.name(), "make the tables")),
        }
    }
}

fn not_allowed(line: &Line, missing: &[String], trouble: Trouble) -> Failure {
    let refusal = trouble.failure("", "change it").message();
    Failure::new(Reason::StreamFailed, line.name())
        .field("tables")
        .found(format!("no {}", missing.join(", no ")))
        .expected("them there, or a role that may make them: have the owner of wsp_checkpoint run `worldstream checkpoints migrate` once")
        .detail(refusal.trim_start_matches(": ").to_owned())
        .exits(ExitCode::FailClosed)
}

/// Whether somebody else made the same thing at the same moment.
fn raced(trouble: &Trouble) -> bool {
    let codes = [
        SqlState::UNIQUE_VIOLATION,
        SqlState::DUPLICATE_TABLE,
        SqlState::DUPLICATE_COLUMN,
        SqlState::DUPLICATE_OBJECT,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::LOCK_NOT_AVAILABLE,
    ];
    trouble.code().is_some_and(|code| codes.contains(code))
}

/// What is not there, in words.
async fn missing(line: &Line) -> Result<Vec<String>, Trouble> {
    let names: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
    let rows = line
        .query(
            "SELECT to_regclass('wsp_checkpoint') IS NOT NULL,
                    to_regclass('wsp_checkpoint_lease') IS NOT NULL,
                    ARRAY(SELECT attname::text FROM pg_attribute
                          WHERE attrelid = to_regclass('wsp_checkpoint')
                            AND attname = ANY($1) AND NOT attisdropped)",
            &[(&names, Type::TEXT_ARRAY)],
        )
        .await?;
    let mut missing = Vec::new();
    for row in rows {
        let columns: Vec<String> = row.get(2);
        let lacks = |name: &str| !columns.iter().any(|column| column == name);
        match row.get::<_, bool>(0) {
            false => missing.push("table wsp_checkpoint".to_owned()),
            true => missing.extend(
                names
                    .iter()
                    .filter(|name| lacks(name))
                    .map(|name| format!("column wsp_checkpoint.{name}")),
            ),
        }
        if !row.get::<_, bool>(1) {
            missing.push("table wsp_checkpoint_lease".to_owned());
        }
    }
    Ok(missing)
}

/// Sees that the role may do what a stream does, so that one that may not fails before its first
/// event. Rights on columns count as those on the table.
///
/// # Errors
/// `STREAM_FAILED` naming each right that is missing.
pub async fn check_rights(line: &Line) -> Result<()> {
    let rows = line
        .query(
            "SELECT r.right_ || ' on ' || t.name
             FROM unnest(ARRAY['wsp_checkpoint', 'wsp_checkpoint_lease']) AS t(name),
                  unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) AS r(right_)
             WHERE NOT has_any_column_privilege(t.name, r.right_)
             ORDER BY 1",
            &[],
        )
        .await
        .map_err(|trouble| trouble.failure(&line.name(), "look at the role's rights"))?;
    let lacking: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Reason::StreamFailed, line.name())
        .field("the role's rights")
        .found(format!("no {}", lacking.join(", no ")))
        .expected("SELECT, INSERT and UPDATE on wsp_checkpoint and wsp_checkpoint_lease"))
}

/// One transaction. `CREATE … IF NOT EXISTS` asks for rights even where nothing is to be made, and
/// `ALTER … IF NOT EXISTS` locks the table: so it is looked first. The lock's time is bounded, as
/// a forgotten transaction of somebody else would hold up all that save behind it.
fn script() -> String {
    let columns: Vec<String> = COLUMNS
        .iter()
        .map(|(name, kind)| format!("ADD COLUMN IF NOT EXISTS {name} {kind}"))
        .collect();
    let names: Vec<String> = COLUMNS
        .iter()
        .map(|(name, _)| format!("'{name}'"))
        .collect();
    format!(
        "SELECT set_config('lock_timeout', '5s', true);
         SELECT pg_advisory_xact_lock({LOCK});
         DO $migrate$ BEGIN
           IF to_regclass('wsp_checkpoint') IS NULL THEN {TABLE}; END IF;
           IF (SELECT count(*) FROM pg_attribute
               WHERE attrelid = to_regclass('wsp_checkpoint')
                 AND attname IN ({}) AND NOT attisdropped) < {} THEN
             ALTER TABLE wsp_checkpoint {};
           END IF;
           IF to_regclass('wsp_checkpoint_lease') IS NULL THEN {LEASES}; END IF;
         END $migrate$;",
        names.join(", "),
        COLUMNS.len(),
        columns.join(", ")
    )
}
