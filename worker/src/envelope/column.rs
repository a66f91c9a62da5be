//! Columns of a batch as typed slices, resolved once, so that a cell costs one branch.

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, BooleanArray, LargeStringArray, StringArray, StringViewArray};
use arrow_buffer::{NullBuffer, i256};
use arrow_schema::{DataType, TimeUnit};

type F16 = <Float16Type as ArrowPrimitiveType>::Native;

/// One column of a batch, or one child of a nested column.
pub(super) struct Column<'a> {
    nulls: Option<&'a NullBuffer>,
    pub(super) values: Values<'a>,
}

/// The values of a column; those of null rows mean nothing.
pub(super) enum Values<'a> {
    Null,
    Bool(&'a BooleanArray),
    I8(&'a [i8]),
    I16(&'a [i16]),
    I32(&'a [i32]),
    I64(&'a [i64]),
    U8(&'a [u8]),
    U16(&'a [u16]),
    U32(&'a [u32]),
    U64(&'a [u64]),
    F16(&'a [F16]),
    F32(&'a [f32]),
    F64(&'a [f64]),
    Decimal32(&'a [i32], i8),
    Decimal64(&'a [i64], i8),
    Decimal128(&'a [i128], i8),
    Decimal256(&'a [i256], i8),
    /// Days since the epoch.
    Date32(&'a [i32]),
    /// Milliseconds since the epoch.
    Date64(&'a [i64]),
    /// A moment, or without a zone a wall clock's date and time.
    Timestamp(&'a [i64], TimeUnit, Option<&'a str>),
    /// Since midnight.
    Time32(&'a [i32], TimeUnit),
    /// Since midnight.
    Time64(&'a [i64], TimeUnit),
    Text(&'a StringArray),
    LargeText(&'a LargeStringArray),
    TextView(&'a StringViewArray),
    /// Index of each row's value, and the values.
    Dictionary(Vec<usize>, Box<Column<'a>>),
    /// Start and end of each row's items, and the items.
    List(Ranges<'a>, Box<Column<'a>>),
    Struct(Vec<(&'a str, Column<'a>)>),
    /// Start and end of each row's entries, keys, and values.
    Map(Ranges<'a>, Box<Column<'a>>, Box<Column<'a>>),
    /// A type that JSON lacks, such as binary. Nulls of it are nulls.
    Refused(&'a DataType),
}

/// Where the items of a list's rows lie.
pub(super) enum Ranges<'a> {
    Small(&'a [i32]),
    Large(&'a [i64]),
    /// Offsets and sizes.
    SmallView(&'a [i32], &'a [i32]),
    LargeView(&'a [i64], &'a [i64]),
    /// Every row has as many.
    Fixed(usize),
}

impl Ranges<'_> {
    pub(super) fn of(&self, row: usize) -> std::ops::Range<usize> {
        // Arrow checks when an array is made that offsets are not negative and in range.
        match self {
            Ranges::Small(offsets) => offsets[row] as usize..offsets[row + 1] as usize,
            Ranges::Large(offsets) => offsets[row] as usize..offsets[row + 1] as usize,
            Ranges::SmallView(offsets, sizes) => {
                let start = offsets[row] as usize;
                start..start + sizes[row] as usize
            }
            Ranges::LargeView(offsets, sizes) => {
                let start = offsets[row] as usize;
                start..start + sizes[row] as usize
            }
            Ranges::Fixed(size) => row * size..(row + 1) * size,
        }
    }
}

impl<'a> Column<'a> {
    pub(super) fn new(array: &'a dyn Array) -> Self {
        Column {
            nulls: array.nulls().filter(|nulls| nulls.null_count() > 0),
            values: Values::new(array),
        }
    }

    /// Whether the row has no value: its own null, or a dictionary's.
    #[inline]
    pub(super) fn is_null(&self, row: usize) -> bool {
        match &self.values {
            Values::Null => true,
            Values::Dictionary(keys, values) => {
                self.nulls.is_some_and(|nulls| nulls.is_null(row)) || values.is_null(keys[row])
            }
            _ => self.nulls.is_some_and(|nulls| nulls.is_null(row)),
        }
    }

    /// The text of a row of a text column that is not null.
    #[inline]
    pub(super) fn text(&self, row: usize) -> Option<&'a str> {
        match &self.values {
            Values::Text(array) => Some(array.value(row)),
            Values::LargeText(array) => Some(array.value(row)),
            Values::TextView(array) => Some(array.value(row)),
            Values::Dictionary(keys, values) => values.text(keys[row]),
            _ => None,
        }
    }

    /// Whether every row of a batch of `rows` is null, or every row has the value of the first.
    /// May say no where the answer is yes: only columns that are constant in practice matter.
    pub(super) fn is_constant(&self, rows: usize) -> bool {
        if let Values::Null = self.values {
            return true;
        }
        if let Some(nulls) = self.nulls {
            return nulls.null_count() == rows;
        }
        fn same<T: PartialEq>(values: &[T]) -> bool {
            match values {
                [first, .., last] if first != last => false,
                [first, rest @ ..] => rest.iter().all(|value| value == first),
                [] => true,
            }
        }
        let same_text = || {
            let first = self.text(0);
            self.text(rows - 1) == first && (1..rows).all(|row| self.text(row) == first)
        };
        match &self.values {
            _ if rows <= 1 => true,
            Values::I8(values) => same(values),
            Values::I16(values) => same(values),
            Values::I32(values) => same(values),
            Values::I64(values) => same(values),
            Values::U8(values) => same(values),
            Values::U16(values) => same(values),
            Values::U32(values) => same(values),
            Values::U64(values) => same(values),
            Values::Dictionary(keys, _) => same(keys),
            Values::Text(_) | Values::LargeText(_) | Values::TextView(_) => same_text(),
            _ => false,
        }
    }

    /// Names of struct fields and of structs within, where one occurs twice in one struct.
    pub(super) fn duplicate_field(&self) -> Option<&'a str> {
        match &self.values {
            Values::Struct(fields) => duplicate(fields.iter().map(|(name, _)| *name))
                .or_else(|| fields.iter().find_map(|(_, field)| field.duplicate_field())),
            Values::List(_, items) | Values::Dictionary(_, items) => items.duplicate_field(),
            Values::Map(_, _, values) => values.duplicate_field(),
            _ => None,
        }
    }
}

/// The first name that comes a second time.
pub(super) fn duplicate<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = std::collections::HashSet::new();
    names.into_iter().find(|name| !seen.insert(*name))
}

impl<'a> Values<'a> {
    fn new(array: &'a dyn Array) -> Self {
        macro_rules! slice {
            ($type:ty) => {
                &array.as_primitive::<$type>().values()[..]
            };
        }
        match array.data_type() {
            DataType::Null => Values::Null,
            DataType::Boolean => Values::Bool(array.as_boolean()),
            DataType::Int8 => Values::I8(slice!(Int8Type)),
            DataType::Int16 => Values::I16(slice!(Int16Type)),
            DataType::Int32 => Values::I32(slice!(Int32Type)),
            DataType::Int64 => Values::I64(slice!(Int64Type)),
            DataType::UInt8 => Values::U8(slice!(UInt8Type)),
            DataType::UInt16 => Values::U16(slice!(UInt16Type)),
            DataType::UInt32 => Values::U32(slice!(UInt32Type)),
            DataType::UInt64 => Values::U64(slice!(UInt64Type)),
            DataType::Float16 => Values::F16(slice!(Float16Type)),
            DataType::Float32 => Values::F32(slice!(Float32Type)),
            DataType::Float64 => Values::F64(slice!(Float64Type)),
            DataType::Decimal32(_, scale) => Values::Decimal32(slice!(Decimal32Type), *scale),
            DataType::Decimal64(_, scale) => Values::Decimal64(slice!(Decimal64Type), *scale),
            DataType::Decimal128(_, scale) => Values::Decimal128(slice!(Decimal128Type), *scale),
            DataType::Decimal256(_, scale) => Values::Decimal256(slice!(Decimal256Type), *scale),
            DataType::Date32 => Values::Date32(slice!(Date32Type)),
            DataType::Date64 => Values::Date64(slice!(Date64Type)),
            DataType::Timestamp(unit, zone) => {
                let values = match unit {
                    TimeUnit::Second => slice!(TimestampSecondType),
                    TimeUnit::Millisecond => slice!(TimestampMillisecondType),
                    TimeUnit::Microsecond => slice!(TimestampMicrosecondType),
                    TimeUnit::Nanosecond => slice!(TimestampNanosecondType),
                };
                Values::Timestamp(values, *unit, zone.as_deref())
            }
            DataType::Time32(TimeUnit::Second) => {
                Values::Time32(slice!(Time32SecondType), TimeUnit::Second)
            }
            DataType::Time32(TimeUnit::Millisecond) => {
                Values::Time32(slice!(Time32MillisecondType), TimeUnit::Millisecond)
            }
            DataType::Time64(TimeUnit::Microsecond) => {
                Values::Time64(slice!(Time64MicrosecondType), TimeUnit::Microsecond)
            }
            DataType::Time64(TimeUnit::Nanosecond) => {
                Values::Time64(slice!(Time64NanosecondType), TimeUnit::Nanosecond)
            }
            DataType::Utf8 => Values::Text(array.as_string::<i32>()),
            DataType::LargeUtf8 => Values::LargeText(array.as_string::<i64>()),
            DataType::Utf8View => Values::TextView(array.as_string_view()),
            DataType::Dictionary(_, _) => {
                let dictionary = array.as_any_dictionary();
                if dictionary.values().is_empty() {
                    // Every row is null then, and there is no value to point at.
                    return Values::Null;
                }
                Values::Dictionary(
                    dictionary.normalized_keys(),
                    Box::new(Column::new(dictionary.values())),
                )
            }
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                Values::List(
                    Ranges::Small(list.value_offsets()),
                    Box::new(Column::new(list.values())),
                )
            }
            DataType::LargeList(_) => {
                let list = array.as_list::<i64>();
                Values::List(
                    Ranges::Large(list.value_offsets()),
                    Box::new(Column::new(list.values())),
                )
            }
            DataType::ListView(_) => {
                let list = array.as_list_view::<i32>();
                Values::List(
                    Ranges::SmallView(list.value_offsets(), list.value_sizes()),
                    Box::new(Column::new(list.values())),
                )
            }
            DataType::LargeListView(_) => {
                let list = array.as_list_view::<i64>();
                Values::List(
                    Ranges::LargeView(list.value_offsets(), list.value_sizes()),
                    Box::new(Column::new(list.values())),
                )
            }
            DataType::FixedSizeList(_, size) => {
                let list = array.as_fixed_size_list();
                Values::List(
                    Ranges::Fixed(*size as usize),
                    Box::new(Column::new(list.values())),
                )
            }
            DataType::Struct(fields) => Values::Struct(
                fields
                    .iter()
                    .zip(array.as_struct().columns())
                    .map(|(field, column)| (field.name().as_str(), Column::new(column)))
                    .collect(),
            ),
            DataType::Map(_, _) => {
                let map = array.as_map();
                Values::Map(
                    Ranges::Small(map.value_offsets()),
                    Box::new(Column::new(map.keys())),
                    Box::new(Column::new(map.values())),
                )
            }
            other => Values::Refused(other),
        }
    }
}
