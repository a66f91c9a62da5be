//! Counts and sums over rows that do not depend on their order (contracts section 3): taken of
//! the raw parts while they are read, and again of the finished view.

use arrow_array::cast::AsArray;
use arrow_array::types::ByteArrayType;
use arrow_array::{Array, GenericByteArray, RecordBatch, make_array};
use arrow_schema::DataType;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::parts::Unit;
use crate::time::EventTime;

/// What `raw_stats` and `sorted_stats` of a receipt say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Rows.
    pub rows: u64,
    /// Sum of a hash of each row.
    pub hash_sum: u128,
    /// Sum of another hash of each row.
    pub hash_sum2: u128,
    /// The least and the greatest time key, in the unit of the column; none without rows.
    pub range: Option<(i64, i64)>,
}

impl Stats {
    /// Takes rows in; `keys` are their time keys.
    pub fn add(&mut self, rows: &RecordBatch, keys: &[i64], scratch: &mut Scratch) {
        self.rows += keys.len() as u64;
        for hash in scratch.rows(rows) {
            let first = mix(*hash ^ K[0], K[1]);
            self.hash_sum = self.hash_sum.wrapping_add(u128::from(first));
            let second = mix(hash.rotate_left(23) ^ K[2], K[3]);
            self.hash_sum2 = self.hash_sum2.wrapping_add(u128::from(second));
        }
        let range = keys.iter().min().zip(keys.iter().max());
        self.widen(range.map(|(low, high)| (*low, *high)));
    }

    /// Takes the figures of other rows in.
    pub fn merge(&mut self, other: &Stats) {
        self.rows += other.rows;
        self.hash_sum = self.hash_sum.wrapping_add(other.hash_sum);
        self.hash_sum2 = self.hash_sum2.wrapping_add(other.hash_sum2);
        self.widen(other.range);
    }

    fn widen(&mut self, range: Option<(i64, i64)>) {
        self.range = match (self.range, range) {
            (Some((a, b)), Some((low, high))) => Some((a.min(low), b.max(high))),
            (known, new) => known.or(new),
        };
    }

    /// The object of the receipt.
    pub fn json(&self, unit: Unit) -> Value {
        let time = |key: i64| EventTime::from_micros(unit.micros(key)).map(|time| time.to_string());
        json!({
            "row_count": self.rows,
            "hash_sum": self.hash_sum.to_string(),
            "hash_sum2": self.hash_sum2.to_string(),
            "min_ts_utc": self.range.and_then(|(low, _)| time(low)),
            "max_ts_utc": self.range.and_then(|(_, high)| time(high)),
        })
    }
}

/// Buffers that are used again for each batch.
#[derive(Debug, Default)]
pub struct Scratch {
    rows: Vec<u64>,
    column: Vec<u64>,
}

impl Scratch {
    /// A hash of each row: of its values, where they stand in the table, and nothing else. How
    /// Parquet or Arrow holds them does not show.
    fn rows(&mut self, batch: &RecordBatch) -> &[u64] {
        self.rows.clear();
        self.rows.resize(batch.num_rows(), 0);
        for (index, column) in batch.columns().iter().enumerate() {
            let seed = mix(index as u64 + 1, K[4]);
            hash_column(column.as_ref(), seed, &mut self.column);
            for (row, hash) in self.rows.iter_mut().zip(&self.column) {
                *row = row.wrapping_add(*hash);
            }
        }
        &self.rows
    }
}

/// Odd numbers without a pattern: the digits of π.
const K: [u64; 6] = [
    0x243f_6a88_85a3_08d3,
    0x1319_8a2e_0370_7345,
    0xa409_3822_299f_31d1,
    0x082e_fa98_ec4e_6c89,
    0x4528_21e6_38d0_1377,
    0xbe54_66cf_34e9_0c6d,
];

/// Both halves of the product of two numbers, folded into one.
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

/// A null, whatever its type.
fn null(seed: u64) -> u64 {
    mix(seed ^ K[5], K[1])
}

fn word(value: u64, seed: u64) -> u64 {
    mix(value ^ seed, K[3] ^ seed.rotate_left(32))
}

fn bytes(value: &[u8], seed: u64) -> u64 {
    let mut state = seed ^ (value.len() as u64).wrapping_mul(K[0]);
    let mut words = value.chunks_exact(8);
    for eight in &mut words {
        // Chunks of exactly eight.
        let eight = u64::from_le_bytes(eight.try_into().unwrap_or_default());
        state = mix(state ^ eight, K[1]);
    }
    let rest = words.remainder();
    let mut last = [0u8; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(state ^ u64::from_le_bytes(last), K[3] ^ seed)
}

/// A hash of each value of a column.
fn hash_column(column: &dyn Array, seed: u64, out: &mut Vec<u64>) {
    out.clear();
    match column.data_type() {
        DataType::Null => out.resize(column.len(), null(seed)),
        DataType::Boolean => {
            let values = column.as_boolean().values();
            out.extend(values.iter().map(|value| word(u64::from(value), seed)));
        }
        DataType::Utf8 => byte_arrays(column.as_string::<i32>(), seed, out),
        DataType::LargeUtf8 => byte_arrays(column.as_string::<i64>(), seed, out),
        DataType::Binary => byte_arrays(column.as_binary::<i32>(), seed, out),
        DataType::LargeBinary => byte_arrays(column.as_binary::<i64>(), seed, out),
        DataType::Utf8View => {
            let values = column.as_string_view();
            out.extend((0..values.len()).map(|row| bytes(values.value(row).as_bytes(), seed)));
        }
        DataType::BinaryView => {
            let values = column.as_binary_view();
            out.extend((0..values.len()).map(|row| bytes(values.value(row), seed)));
        }
        DataType::FixedSizeBinary(_) => {
            let values = column.as_fixed_size_binary();
            out.extend((0..values.len()).map(|row| bytes(values.value(row), seed)));
        }
        DataType::Dictionary(_, _) => return dictionary(column, seed, out),
        DataType::Struct(_) => {
            out.resize(column.len(), seed);
            let mut child = Vec::new();
            for (index, field) in column.as_struct().columns().iter().enumerate() {
                hash_column(field.as_ref(), mix(seed, index as u64 + 2), &mut child);
                for (row, hash) in out.iter_mut().zip(&child) {
                    *row = row.wrapping_add(*hash);
                }
            }
        }
        DataType::List(_) => {
            let list = column.as_list::<i32>();
            let ends = list.value_offsets().windows(2);
            let ends = ends.map(|pair| (pair[0] as usize, pair[1] as usize));
            items(list.values().as_ref(), ends, seed, out);
        }
        DataType::LargeList(_) => {
            let list = column.as_list::<i64>();
            let ends = list.value_offsets().windows(2);
            let ends = ends.map(|pair| (pair[0] as usize, pair[1] as usize));
            items(list.values().as_ref(), ends, seed, out);
        }
        DataType::Map(_, _) => {
            let map = column.as_map();
            let ends = map.value_offsets().windows(2);
            let ends = ends.map(|pair| (pair[0] as usize, pair[1] as usize));
            items(map.entries(), ends, seed, out);
        }
        DataType::FixedSizeList(_, size) => {
            let size = usize::try_from(*size).unwrap_or(0);
            let list = column.as_fixed_size_list();
            let ends = (0..list.len()).map(|row| (row * size, (row + 1) * size));
            items(list.values().as_ref(), ends, seed, out);
        }
        fixed => match fixed.primitive_width() {
            Some(width) => primitives(column, width, seed, out),
            // No other type comes out of Parquet; one that did would count as its text.
            None => out.extend((0..column.len()).map(|row| {
                let one = make_array(column.to_data().slice(row, 1));
                bytes(format!("{one:?}").as_bytes(), seed)
            })),
        },
    }
    if let Some(nulls) = column.logical_nulls()
        && nulls.null_count() > 0
    {
        for (row, hash) in out.iter_mut().enumerate() {
            if nulls.is_null(row) {
                *hash = null(seed);
            }
        }
    }
}

fn byte_arrays<T: ByteArrayType>(column: &GenericByteArray<T>, seed: u64, out: &mut Vec<u64>) {
    let hash = |row: usize| {
        let value: &[u8] = column.value(row).as_ref();
        bytes(value, seed)
    };
    out.extend((0..column.len()).map(hash));
}

fn primitives(column: &dyn Array, width: usize, seed: u64, out: &mut Vec<u64>) {
    let data = column.to_data();
    let all = data.buffers().first().map_or(&[][..], |it| it.as_slice());
    let from = (data.offset() * width).min(all.len());
    let values = &all[from..(from + data.len() * width).min(all.len())];
    if width == 8 {
        let words = values.chunks_exact(8);
        out.extend(words.map(|eight| {
            // Chunks of exactly eight.
            word(
                u64::from_le_bytes(eight.try_into().unwrap_or_default()),
                seed,
            )
        }));
    } else {
        out.extend(values.chunks_exact(width).map(|value| bytes(value, seed)));
    }
}

/// Each value of a dictionary once.
fn dictionary(column: &dyn Array, seed: u64, out: &mut Vec<u64>) {
    let dictionary = column.as_any_dictionary();
    if dictionary.values().is_empty() {
        return out.resize(column.len(), null(seed));
    }
    let mut values = Vec::new();
    hash_column(dictionary.values().as_ref(), seed, &mut values);
    let keys = dictionary.keys();
    for (row, key) in dictionary.normalized_keys().into_iter().enumerate() {
        out.push(match keys.is_null(row) {
            true => null(seed),
            false => values.get(key).copied().unwrap_or_default(),
        });
    }
}

/// Lists of any kind: their items in order.
fn items(
    values: &dyn Array,
    ends: impl Iterator<Item = (usize, usize)>,
    seed: u64,
    out: &mut Vec<u64>,
) {
    let mut hashes = Vec::new();
    hash_column(values, mix(seed, K[2]), &mut hashes);
    out.extend(ends.map(|(start, end)| {
        let of = hashes.get(start..end).unwrap_or_default();
        of.iter().fold(seed ^ of.len() as u64, |state, hash| {
            mix(state.rotate_left(9) ^ hash, K[0])
        })
    }));
}

/// A hash of each value of a column, to count the different ones.
pub(super) fn hashes(column: &dyn Array) -> Vec<u64> {
    let mut out = Vec::with_capacity(column.len());
    hash_column(column, K[4], &mut out);
    out
}
