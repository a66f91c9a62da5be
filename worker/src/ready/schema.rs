//! The schemas of what comes from others: messages, READY and run facts (`config/schemas`).

use jsonschema::Validator;
use serde_json::Value;
use worldstream_crds::Reason;
use worldstream_crds::plan::built_in;

use crate::failure::{Failure, Result, one_line};

/// Mistakes that are told of one document; the rest is counted.
const TOLD: usize = 3;

/// The schemas, compiled.
#[derive(Debug)]
pub struct Schemas {
    /// Of a message's envelope.
    pub message: Schema,
    /// Of READY's payload.
    pub signal: Schema,
    /// Of run facts.
    pub facts: Schema,
}

/// A schema, compiled.
#[derive(Debug)]
pub struct Schema(Validator);

impl Schemas {
    /// Compiles them.
    ///
    /// # Errors
    /// None in a program whose tests pass: they are built in.
    pub fn new() -> Result<Schemas> {
        Ok(Schemas {
            message: Schema::built_in("schemas/control_message.schema.yaml")?,
            signal: Schema::built_in("schemas/ready_signal.schema.yaml")?,
            facts: Schema::built_in("schemas/run_facts.schema.yaml")?,
        })
    }
}

impl Schema {
    fn built_in(name: &str) -> Result<Schema> {
        let broken = || Failure::new(Reason::StreamFailed, built_in::name(name));
        let text = built_in::text(name).unwrap_or_default();
        let schema: Value = serde_saphyr::from_str(text).map_err(|error| broken().cause(&error))?;
        let validator = jsonschema::validator_for(&schema)
            .map_err(|error| broken().detail(error.to_string()))?;
        Ok(Schema(validator))
    }

    /// Whether a document holds, and if not, its first mistakes in one line, each with its place.
    pub fn check(&self, document: &Value) -> Result<(), String> {
        let mut errors = self.0.iter_errors(document);
        let mut told: Vec<String> = errors
            .by_ref()
            .take(TOLD)
            .map(|error| {
                let place = error.instance_path().to_string();
                let text: String = error.to_string().chars().take(300).collect();
                match place.is_empty() {
                    true => text,
                    false => format!("{place}: {text}"),
                }
            })
            .collect();
        if told.is_empty() {
            return Ok(());
        }
        match errors.count() {
            0 => {}
            more => told.push(format!("and {more} more")),
        }
        Err(one_line(&told.join("; ")))
    }
}
