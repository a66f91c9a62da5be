//! Tests of the encoder: parity with the reference, failures, and random tables.

mod errors;
mod golden;
mod property;
mod rows;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema};
use serde_json::value::RawValue;

use super::*;
use crate::plan::RangePlan;
use crate::view::RowBatch;

/// JSON for comparing: integers by their digits and floats by their bits, which `Value` would
/// mix up.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Int(String),
    Float(u64),
    Text(String),
    List(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

impl Json {
    pub(super) fn parse(text: &str) -> Json {
        let text = text.trim();
        match text.as_bytes()[0] {
            b'n' => Json::Null,
            b't' => Json::Bool(true),
            b'f' => Json::Bool(false),
            b'"' => Json::Text(serde_json::from_str(text).unwrap()),
            b'[' => {
                let items: Vec<Box<RawValue>> = serde_json::from_str(text).unwrap();
                Json::List(items.iter().map(|item| Json::parse(item.get())).collect())
            }
            b'{' => {
                let mut fields: BTreeMap<String, Json> = BTreeMap::new();
                struct Pairs(Vec<(String, Box<RawValue>)>);
                impl<'de> serde::Deserialize<'de> for Pairs {
                    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                        struct V;
                        impl<'de> serde::de::Visitor<'de> for V {
                            type Value = Pairs;
                            fn expecting(
                                &self,
                                f: &mut std::fmt::Formatter<'_>,
                            ) -> std::fmt::Result {
                                f.write_str("an object")
                            }
                            fn visit_map<A: serde::de::MapAccess<'de>>(
                                self,
                                mut map: A,
                            ) -> Result<Pairs, A::Error> {
                                let mut pairs = Vec::new();
                                while let Some(pair) = map.next_entry()? {
                                    pairs.push(pair);
                                }
                                Ok(Pairs(pairs))
                            }
                        }
                        d.deserialize_map(V)
                    }
                }
                let pairs: Pairs = serde_json::from_str(text).unwrap();
                for (name, value) in pairs.0 {
                    let twice = fields.insert(name, Json::parse(value.get()));
                    assert_eq!(twice, None, "a name twice in {text}");
                }
                Json::Object(fields)
            }
            _ if text.bytes().all(|b| b == b'-' || b.is_ascii_digit()) => Json::Int(text.into()),
            _ => Json::Float(text.parse::<f64>().unwrap().to_bits()),
        }
    }

    pub(super) fn get(&self, name: &str) -> &Json {
        match self {
            Json::Object(fields) => &fields[name],
            other => panic!("{other:?} is no object"),
        }
    }
}

pub(super) fn context(primary_key: &[&str]) -> EnvelopeContext {
    EnvelopeContext {
        output_id: "o1".into(),
        primary_key: primary_key.iter().map(|name| (*name).to_owned()).collect(),
        key: WorldKey {
            manifest_fingerprint:
                "72e71925673576491eaf22e67448cf0f9537c221edcf846a2e5d34161b321aef".into(),
            parameter_hash: "9876f981f57eac7ad09cbdcb01ec4759e284bf166e25a9be6f3a97e2e6003cef"
                .into(),
            scenario_id: "baseline_v1".into(),
            seed: 7,
        },
        run_id: "20d40f25e9592e3bb85af130218248ce".into(),
        platform_run_id: "platform_20260101T000000Z".into(),
        scenario_run_id: "abababababababababababababababab".into(),
        producer: "svc:test \"producer\"".into(),
        trace_id: "é".repeat(128),
        span_id: None,
        lane: Lane::WHOLE,
    }
}

pub(super) fn batch(first: u64, columns: Vec<(&str, ArrayRef)>) -> RowBatch {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, column)| Field::new(*name, column.data_type().clone(), true))
        .collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    RowBatch {
        first: RowPlace {
            part: 3,
            row: first,
        },
        rows: RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap(),
    }
}

pub(super) fn encode(context: EnvelopeContext, rows: &RowBatch) -> Encoded {
    Encoder::new(context)
        .unwrap()
        .encode(rows, "root/part-000003.parquet", &RangePlan::default())
}

/// Envelopes as JSON, with what every envelope must hold besides.
pub(super) fn envelopes(encoded: &Encoded) -> Vec<Json> {
    let batch = &encoded.batch;
    let mut end = 0;
    (0..batch.events.len())
        .map(|index| {
            let event = &batch.events[index];
            assert_eq!(event.start, end, "end to end");
            end = event.end;
            let envelope = batch.envelope(index);
            assert!(envelope.starts_with(ENVELOPE_PREFIX));
            let json = Json::parse(std::str::from_utf8(&envelope).unwrap());
            let id = std::str::from_utf8(batch.event_id(index)).unwrap();
            assert_eq!(json.get("event_id"), &Json::Text(id.into()));
            assert_eq!(json.get("ts_utc"), &Json::Text(event.ts.to_string()));
            json
        })
        .collect()
}
