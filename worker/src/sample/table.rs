//! The six outputs as tables: their columns, and how rows become arrays.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    UInt64Array,
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use super::flows::{CAMPAIGNS, Row, ZONES};
use super::world::World;
use crate::time::EventTime;

/// An output of the world (contracts section 2), context before traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Table {
    /// Arrivals, one a flow.
    #[serde(rename = "arrival_events_5B")]
    ArrivalEvents,
    /// Who arrives, one row a flow.
    #[serde(rename = "s1_arrival_entities_6B")]
    ArrivalEntities,
    /// Flows with the fraud overlay, one row a flow.
    #[serde(rename = "s3_flow_anchor_with_fraud_6B")]
    FraudAnchor,
    /// Flows without it, one row a flow.
    #[serde(rename = "s2_flow_anchor_baseline_6B")]
    BaselineAnchor,
    /// Events with the fraud overlay, two a flow.
    #[serde(rename = "s3_event_stream_with_fraud_6B")]
    FraudEvents,
    /// Events without it, two a flow.
    #[serde(rename = "s2_event_stream_baseline_6B")]
    BaselineEvents,
}

impl Table {
    /// All six.
    pub const ALL: [Table; 6] = [
        Table::ArrivalEvents,
        Table::ArrivalEntities,
        Table::FraudAnchor,
        Table::BaselineAnchor,
        Table::FraudEvents,
        Table::BaselineEvents,
    ];

    /// The output's id in the catalogue.
    pub fn id(self) -> &'static str {
        match self {
            Table::ArrivalEvents => "arrival_events_5B",
            Table::ArrivalEntities => "s1_arrival_entities_6B",
            Table::FraudAnchor => "s3_flow_anchor_with_fraud_6B",
            Table::BaselineAnchor => "s2_flow_anchor_baseline_6B",
            Table::FraudEvents => "s3_event_stream_with_fraud_6B",
            Table::BaselineEvents => "s2_event_stream_baseline_6B",
        }
    }

    /// Whether a flow has a row for each of its events, and not one in all.
    pub fn is_events(self) -> bool {
        matches!(self, Table::FraudEvents | Table::BaselineEvents)
    }

    fn columns(self) -> Vec<Column> {
        use Column::*;
        let own: &[Column] = match self {
            Table::ArrivalEvents => &[
                MerchantId,
                ZoneRepresentation,
                BucketIndex,
                ArrivalSeq,
                TsUtc,
                TzidPrimary,
                TsLocalPrimary,
                TzidSettlement,
                LambdaRealised,
                IsVirtual,
            ],
            Table::ArrivalEntities => &[
                MerchantId,
                ArrivalSeq,
                PartyId,
                AccountId,
                InstrumentId,
                DeviceId,
                IpId,
                SessionId,
                TsUtc,
            ],
            Table::FraudAnchor => &[
                FlowId,
                ArrivalSeq,
                MerchantId,
                PartyId,
                AccountId,
                InstrumentId,
                DeviceId,
                IpId,
                TsUtc,
                FraudAmount,
                FraudFlag,
                CampaignId,
            ],
            Table::BaselineAnchor => &[
                FlowId,
                ArrivalSeq,
                MerchantId,
                PartyId,
                AccountId,
                InstrumentId,
                DeviceId,
                IpId,
                TsUtc,
                Amount,
            ],
            Table::FraudEvents => &[
                FlowId,
                EventSeq,
                EventType,
                TsUtc,
                FraudAmount,
                FraudFlag,
                CampaignId,
            ],
            Table::BaselineEvents => &[FlowId, EventSeq, EventType, TsUtc, Amount],
        };
        let world = [Seed, ManifestFingerprint, ScenarioId, ParameterHash];
        world.into_iter().chain(own.iter().copied()).collect()
    }

    /// The schema: the engine's names, order and types, except that the ids of merchants and
    /// flows are unsigned and half of them above 2^63. A seed above 2^63 makes its column
    /// unsigned, too.
    pub(super) fn schema(self, world: &World) -> SchemaRef {
        let field = |column: Column| Field::new(column.name(), column.data_type(world), true);
        Arc::new(Schema::new(
            self.columns().into_iter().map(field).collect::<Vec<_>>(),
        ))
    }

    /// Columns of few values, which are worth a dictionary in Parquet.
    pub(super) fn dictionary_columns(self) -> impl Iterator<Item = &'static str> {
        let columns = self.columns().into_iter();
        columns.filter(|c| c.has_few_values()).map(Column::name)
    }

    /// Rows as a batch of `schema`, which is [`Table::schema`].
    pub(super) fn batch(
        self,
        schema: &SchemaRef,
        world: &World,
        rows: &[Row],
    ) -> Result<RecordBatch, ArrowError> {
        let columns = self.columns().into_iter();
        let arrays = columns.map(|column| column.array(world, rows)).collect();
        RecordBatch::try_new(schema.clone(), arrays)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl FromStr for Table {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Table::ALL.into_iter().find(|table| table.id() == text);
        found.ok_or_else(|| {
            let ids: Vec<_> = Table::ALL.iter().map(|table| table.id()).collect();
            format!("{text:?} is none of {}", ids.join(", "))
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Seed,
    ManifestFingerprint,
    ScenarioId,
    ParameterHash,
    MerchantId,
    ZoneRepresentation,
    BucketIndex,
    ArrivalSeq,
    TsUtc,
    TzidPrimary,
    TsLocalPrimary,
    TzidSettlement,
    LambdaRealised,
    IsVirtual,
    PartyId,
    AccountId,
    InstrumentId,
    DeviceId,
    IpId,
    SessionId,
    FlowId,
    EventSeq,
    EventType,
    Amount,
    FraudAmount,
    FraudFlag,
    CampaignId,
}

impl Column {
    fn name(self) -> &'static str {
        match self {
            Column::Seed => "seed",
            Column::ManifestFingerprint => "manifest_fingerprint",
            Column::ScenarioId => "scenario_id",
            Column::ParameterHash => "parameter_hash",
            Column::MerchantId => "merchant_id",
            Column::ZoneRepresentation => "zone_representation",
            Column::BucketIndex => "bucket_index",
            Column::ArrivalSeq => "arrival_seq",
            Column::TsUtc => "ts_utc",
            Column::TzidPrimary => "tzid_primary",
            Column::TsLocalPrimary => "ts_local_primary",
            Column::TzidSettlement => "tzid_settlement",
            Column::LambdaRealised => "lambda_realised",
            Column::IsVirtual => "is_virtual",
            Column::PartyId => "party_id",
            Column::AccountId => "account_id",
            Column::InstrumentId => "instrument_id",
            Column::DeviceId => "device_id",
            Column::IpId => "ip_id",
            Column::SessionId => "session_id",
            Column::FlowId => "flow_id",
            Column::EventSeq => "event_seq",
            Column::EventType => "event_type",
            Column::Amount | Column::FraudAmount => "amount",
            Column::FraudFlag => "fraud_flag",
            Column::CampaignId => "campaign_id",
        }
    }

    fn data_type(self, world: &World) -> DataType {
        match self {
            Column::Seed if i64::try_from(world.key.seed).is_ok() => DataType::Int64,
            Column::Seed | Column::MerchantId | Column::FlowId => DataType::UInt64,
            Column::ManifestFingerprint
            | Column::ScenarioId
            | Column::ParameterHash
            | Column::ZoneRepresentation
            | Column::TsUtc
            | Column::TzidPrimary
            | Column::TsLocalPrimary
            | Column::TzidSettlement
            | Column::EventType
            | Column::CampaignId => DataType::Utf8,
            Column::BucketIndex => DataType::Int32,
            Column::ArrivalSeq
            | Column::PartyId
            | Column::AccountId
            | Column::InstrumentId
            | Column::DeviceId
            | Column::IpId
            | Column::SessionId
            | Column::EventSeq => DataType::Int64,
            Column::LambdaRealised | Column::Amount | Column::FraudAmount => DataType::Float64,
            Column::IsVirtual | Column::FraudFlag => DataType::Boolean,
        }
    }

    fn has_few_values(self) -> bool {
        matches!(
            self,
            Column::Seed
                | Column::ManifestFingerprint
                | Column::ScenarioId
                | Column::ParameterHash
                | Column::MerchantId
                | Column::ZoneRepresentation
                | Column::BucketIndex
                | Column::TzidPrimary
                | Column::TzidSettlement
                | Column::EventSeq
                | Column::EventType
                | Column::CampaignId
        )
    }

    fn array(self, world: &World, rows: &[Row]) -> ArrayRef {
        let int = |value: fn(&Row) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(rows.iter().map(value)))
        };
        let unsigned = |value: fn(&Row) -> u64| -> ArrayRef {
            Arc::new(UInt64Array::from_iter_values(rows.iter().map(value)))
        };
        let float = |value: fn(&Row) -> f64| -> ArrayRef {
            Arc::new(Float64Array::from_iter_values(rows.iter().map(value)))
        };
        let boolean = |value: fn(&Row) -> bool| -> ArrayRef {
            Arc::new(
                rows.iter()
                    .map(|row| Some(value(row)))
                    .collect::<BooleanArray>(),
            )
        };
        let text = |value: fn(&Row) -> &'static str| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(rows.iter().map(value)))
        };
        let maybe = |value: fn(&Row) -> Option<&'static str>| -> ArrayRef {
            Arc::new(rows.iter().map(value).collect::<StringArray>())
        };
        let same = |value: &str| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(rows.iter().map(|_| value)))
        };
        match self {
            Column::Seed => match i64::try_from(world.key.seed) {
                Ok(seed) => Arc::new(Int64Array::from_value(seed, rows.len())),
                Err(_) => Arc::new(UInt64Array::from_value(world.key.seed, rows.len())),
            },
            Column::ManifestFingerprint => same(&world.key.manifest_fingerprint),
            Column::ScenarioId => same(&world.key.scenario_id),
            Column::ParameterHash => same(&world.key.parameter_hash),
            Column::MerchantId => unsigned(|row| row.flow.merchant.merchant_id),
            Column::ZoneRepresentation | Column::TzidPrimary => {
                text(|row| ZONES[row.flow.merchant.zone].0)
            }
            Column::BucketIndex => {
                let hour = |row: &Row| (row.ts - world.start.micros()) / 3_600_000_000;
                let hours = rows.iter().map(|row| hour(row) as i32);
                Arc::new(Int32Array::from_iter_values(hours))
            }
            Column::ArrivalSeq => int(|row| row.flow.arrival_seq),
            Column::TsUtc => times(rows, "Z", |row| row.ts),
            Column::TsLocalPrimary => times(rows, "", |row| {
                row.ts + ZONES[row.flow.merchant.zone].1 * 60_000_000
            }),
            Column::TzidSettlement => {
                maybe(|row| row.flow.merchant.settlement.map(|zone| ZONES[zone].0))
            }
            Column::LambdaRealised => float(|row| row.flow.lambda),
            Column::IsVirtual => boolean(|row| row.flow.merchant.settlement.is_some()),
            Column::PartyId => int(|row| row.flow.party_id),
            Column::AccountId => int(|row| row.flow.account_id),
            Column::InstrumentId => int(|row| row.flow.instrument_id),
            Column::DeviceId => int(|row| row.flow.device_id),
            Column::IpId => int(|row| row.flow.ip_id),
            Column::SessionId => int(|row| row.flow.session_id),
            Column::FlowId => unsigned(|row| row.flow.flow_id),
            Column::EventSeq => int(|row| row.event_seq),
            Column::EventType => text(|row| match row.event_seq {
                0 => "AUTH_REQUEST",
                _ => "AUTH_RESPONSE",
            }),
            Column::Amount => float(|row| row.flow.amount),
            Column::FraudAmount => float(|row| row.flow.fraud.amount),
            Column::FraudFlag => boolean(|row| row.flow.fraud.flag),
            Column::CampaignId => {
                maybe(|row| row.flow.fraud.campaign.map(|campaign| CAMPAIGNS[campaign]))
            }
        }
    }
}

/// Times as texts with six digits and `suffix`.
fn times(rows: &[Row], suffix: &str, micros: fn(&Row) -> i64) -> ArrayRef {
    let mut text = String::with_capacity(27);
    let mut texts = arrow_array::builder::StringBuilder::with_capacity(rows.len(), rows.len() * 27);
    for row in rows {
        text.clear();
        // A world's years are 2026 to 2036, within those of EventTime.
        let time = EventTime::from_micros(micros(row)).unwrap_or_default();
        text.push_str(str::from_utf8(&time.write()).unwrap_or_default());
        text.push_str(suffix);
        texts.append_value(&text);
    }
    Arc::new(texts.finish())
}
