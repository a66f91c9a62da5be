//! How columns are held between reading and writing: one value for all rows, numbers into a
//! dictionary, nothing where the time key says it all, or as they are. What need not be held
//! need not be sorted, spilled or merged.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, Int32Array, RecordBatch, StringArray, UInt32Array};
use arrow_schema::{ArrowError, DataType};
use arrow_select::take::take;

use crate::time::EventTime;

/// A dictionary of more values, or more bytes, is a detour.
const MOST_VALUES: usize = 65_536;
const MOST_BYTES: usize = 1024 * 1024;

/// How a column is held. Only ever changes to a later one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum Coding {
    /// Every row so far has the first row's value, which is not null: nothing is held.
    Constant,
    /// Texts as indexes into the dictionary.
    Codes,
    /// Canonical texts of the time key: nothing is held, the key is all.
    TimeText,
    /// The values.
    Plain,
}

/// The columns of a table while it is read, and what they have become at the end.
#[derive(Debug)]
pub(super) struct Coder {
    columns: Vec<Column>,
    /// The time key's column.
    time: usize,
}

#[derive(Debug)]
struct Column {
    coding: Coding,
    /// The first row's value, as one row of the plain type; none before the first row.
    first: Option<ArrayRef>,
    dictionary: Dictionary,
}

impl Coder {
    /// For a table of so many columns.
    pub fn new(columns: usize, time: usize) -> Self {
        let column = || Column {
            coding: Coding::Constant,
            first: None,
            dictionary: Dictionary::default(),
        };
        Coder {
            columns: (0..columns).map(|_| column()).collect(),
            time,
        }
    }

    /// How each column is held now.
    pub fn codings(&self) -> Vec<Coding> {
        self.columns.iter().map(|column| column.coding).collect()
    }

    /// Looks at rows before they are held. True if a column must be held otherwise from now on:
    /// what was held before was held as the codings before this call said.
    pub fn look(&mut self, rows: &RecordBatch) -> Result<bool, ArrowError> {
        let mut changed = false;
        for (index, (column, array)) in self.columns.iter_mut().zip(rows.columns()).enumerate() {
            let before = column.coding;
            if column.first.is_none() && !array.is_empty() {
                column.first = Some(plain(&take(array, &UInt32Array::from(vec![0]), None)?)?);
            }
            column.look(array, index == self.time)?;
            changed |= column.coding != before;
        }
        Ok(changed)
    }

    /// The columns of rows that were looked at, as they are held.
    pub fn hold(&self, rows: &RecordBatch) -> Result<Vec<Option<ArrayRef>>, ArrowError> {
        let columns = self.columns.iter().zip(rows.columns());
        columns
            .map(|(column, array)| match column.coding {
                Coding::Constant | Coding::TimeText => Ok(None),
                Coding::Codes => column.dictionary.codes(array).map(Some),
                Coding::Plain => plain(array).map(Some),
            })
            .collect()
    }

    /// Columns that were held as `codings` said, as they are held now.
    pub fn raise(
        &self,
        codings: &[Coding],
        keys: &[i64],
        held: Vec<Option<ArrayRef>>,
    ) -> Result<Vec<Option<ArrayRef>>, ArrowError> {
        let columns = self.columns.iter().zip(codings).zip(held);
        columns
            .map(|((column, before), array)| column.raise(*before, keys, array))
            .collect()
    }

    /// The value that all rows have, as one row.
    pub fn constant(&self, column: usize) -> Option<&ArrayRef> {
        let column = self.columns.get(column)?;
        column
            .first
            .as_ref()
            .filter(|_| column.coding == Coding::Constant)
    }

    /// The dictionaries as texts, for whoever goes on later.
    pub fn dictionaries(&self) -> Vec<Vec<String>> {
        let columns = self.columns.iter();
        columns
            .map(|column| column.dictionary.values.clone())
            .collect()
    }

    /// Goes on where another one stood: its codings and dictionaries, and the table's first row.
    pub fn restore(
        &mut self,
        codings: &[Coding],
        dictionaries: &[Vec<String>],
        first: &RecordBatch,
    ) -> Result<(), ArrowError> {
        self.look(&first.slice(0, first.num_rows().min(1)))?;
        let restored = self.columns.iter_mut().zip(codings).zip(dictionaries);
        for ((column, coding), values) in restored {
            column.coding = *coding;
            column.dictionary = Dictionary::default();
            for value in values {
                column.dictionary.code_of(value);
            }
        }
        Ok(())
    }

    /// The dictionaries as arrays, where columns are codes.
    pub fn values(&self) -> Vec<Option<ArrayRef>> {
        let columns = self.columns.iter();
        columns
            .map(|column| (column.coding == Coding::Codes).then(|| column.dictionary.array()))
            .collect()
    }
}

impl Column {
    fn look(&mut self, array: &ArrayRef, is_time: bool) -> Result<(), ArrowError> {
        if self.coding == Coding::Constant {
            if self
                .first
                .as_ref()
                .is_none_or(|first| all_are(array, first))
            {
                return Ok(());
            }
            self.coding = match array.data_type() {
                DataType::Dictionary(_, _) => Coding::Codes,
                // The rows until now, too, must be what the key writes.
                _ if is_time && self.first.as_ref().is_some_and(is_canonical) => Coding::TimeText,
                _ => Coding::Plain,
            };
            // Rows that were constant until now must have a code, too.
            if let (Coding::Codes, Some(first)) = (self.coding, &self.first)
                && first.is_valid(0)
            {
                self.dictionary.code_of(first.as_string::<i32>().value(0));
            }
        }
        let fits = match self.coding {
            Coding::Codes => self.dictionary.learn(array),
            Coding::TimeText => is_canonical(array),
            Coding::Constant | Coding::Plain => true,
        };
        if !fits {
            self.coding = Coding::Plain;
        }
        Ok(())
    }

    fn raise(
        &self,
        before: Coding,
        keys: &[i64],
        held: Option<ArrayRef>,
    ) -> Result<Option<ArrayRef>, ArrowError> {
        if before == self.coding {
            return Ok(held);
        }
        let rows = keys.len();
        let repeated = |value: &ArrayRef| take(value, &UInt32Array::from(vec![0; rows]), None);
        Ok(match (before, self.coding) {
            (_, Coding::Constant) => None,
            (Coding::Constant, Coding::Codes) => {
                let first = self.first.as_ref().filter(|first| first.is_valid(0));
                let text = first.map_or("", |first| first.as_string::<i32>().value(0));
                let code = self.dictionary.index.get(text).copied().unwrap_or_default();
                Some(Arc::new(Int32Array::from(vec![code; rows])))
            }
            // Constant texts of the time are the key, too.
            (_, Coding::TimeText) => None,
            (Coding::Constant, _) => match &self.first {
                Some(first) => Some(repeated(first)?),
                None => held,
            },
            (Coding::TimeText, _) => Some(time_texts(keys)),
            (Coding::Codes, _) => match held {
                Some(codes) => Some(take(&self.dictionary.array(), &codes, None)?),
                None => None,
            },
            (Coding::Plain, _) => held,
        })
    }
}

/// Texts with a number each.
#[derive(Debug, Default)]
struct Dictionary {
    values: Vec<String>,
    index: HashMap<String, i32>,
    bytes: usize,
    /// The dictionary of the last batch, with the code of each of its values.
    last: Option<(ArrayRef, Vec<i32>)>,
}

impl Dictionary {
    fn code_of(&mut self, text: &str) -> i32 {
        if let Some(code) = self.index.get(text) {
            return *code;
        }
        // Never more than MOST_VALUES and a batch's.
        let code = self.values.len() as i32;
        self.values.push(text.to_owned());
        self.index.insert(text.to_owned(), code);
        self.bytes += text.len();
        code
    }

    /// Gives each value of a batch's dictionary a code; false if there are too many.
    fn learn(&mut self, array: &ArrayRef) -> bool {
        let Some(dictionary) = array.as_dictionary_opt::<Int32Type>() else {
            return false;
        };
        let values = dictionary.values();
        if self
            .last
            .as_ref()
            .is_some_and(|(last, _)| Arc::ptr_eq(last, values))
        {
            return true;
        }
        let Some(texts) = values
            .as_string_opt::<i32>()
            .filter(|it| it.null_count() == 0)
        else {
            return false;
        };
        if texts.len() > MOST_VALUES {
            return false;
        }
        let codes = texts
            .iter()
            .map(|text| self.code_of(text.unwrap_or_default()));
        let codes = codes.collect();
        self.last = Some((values.clone(), codes));
        self.values.len() <= MOST_VALUES && self.bytes <= MOST_BYTES
    }

    /// The codes of a batch that was learnt last.
    fn codes(&self, array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
        let (Some(dictionary), Some((_, codes))) =
            (array.as_dictionary_opt::<Int32Type>(), self.last.as_ref())
        else {
            return Err(ArrowError::ComputeError(
                "a column that is no dictionary".into(),
            ));
        };
        let keys = dictionary.keys();
        // A key that is null may be any number.
        let code = |key: &i32| codes.get(*key as usize).copied().unwrap_or_default();
        let values = keys.values().iter().map(code).collect::<Vec<_>>();
        Ok(Arc::new(Int32Array::new(
            values.into(),
            keys.nulls().cloned(),
        )))
    }

    fn array(&self) -> ArrayRef {
        Arc::new(StringArray::from_iter_values(&self.values))
    }
}

/// A column without its dictionary.
fn plain(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match array.as_any_dictionary_opt() {
        Some(dictionary) => take(dictionary.values(), dictionary.keys(), None),
        None => Ok(array.clone()),
    }
}

/// Whether all rows certainly have this value, which is one row of the plain type.
fn all_are(array: &ArrayRef, value: &ArrayRef) -> bool {
    if array.is_empty() {
        return true;
    }
    if array.null_count() > 0 || value.is_null(0) {
        return false;
    }
    match array.data_type() {
        DataType::Dictionary(_, _) => {
            let Some(dictionary) = array.as_dictionary_opt::<Int32Type>() else {
                return false;
            };
            let keys = dictionary.keys().values();
            let texts = dictionary.values().as_string_opt::<i32>();
            let is_value = |key: i32| {
                let text = texts.filter(|it| it.is_valid(key as usize));
                let value = value.as_string_opt::<i32>().map(|it| it.value(0));
                text.map(|it| it.value(key as usize)) == value
            };
            keys.first()
                .is_some_and(|key| keys.iter().all(|it| it == key) && is_value(*key))
        }
        DataType::Utf8 => {
            let (texts, value) = (array.as_string::<i32>(), value.as_string::<i32>().value(0));
            let width = value.len() as i32;
            let offsets = texts.value_offsets();
            let same = offsets.windows(2).all(|pair| pair[1] - pair[0] == width);
            let start = offsets.first().copied().unwrap_or_default() as usize;
            let length = value.len() * texts.len();
            let bytes = texts.value_data().get(start..start + length);
            same && bytes.is_some_and(|bytes| repeats(bytes, value.as_bytes()))
        }
        other => match other.primitive_width() {
            None => false,
            Some(width) => repeats(&fixed(array, width), &fixed(value, width)),
        },
    }
}

/// The bytes of values of one width.
fn fixed(array: &ArrayRef, width: usize) -> Vec<u8> {
    let data = array.to_data();
    let all = data.buffers().first().map_or(&[][..], |it| it.as_slice());
    let from = data.offset() * width;
    let values = all.get(from..from + data.len() * width);
    values.unwrap_or_default().to_vec()
}

/// Whether bytes are a value again and again.
fn repeats(bytes: &[u8], value: &[u8]) -> bool {
    let width = value.len();
    bytes.starts_with(value) && bytes[width..] == bytes[..bytes.len() - width]
}

/// Whether these readable texts are all `YYYY-MM-DDTHH:MM:SS.ffffffZ`, so that the key writes
/// them.
fn is_canonical(array: &ArrayRef) -> bool {
    let Some(texts) = array.as_string_opt::<i32>() else {
        return false;
    };
    let offsets = texts.value_offsets();
    let start = offsets.first().copied().unwrap_or_default() as usize;
    let same = offsets.windows(2).all(|pair| pair[1] - pair[0] == 27);
    let bytes = texts.value_data().get(start..start + texts.len() * 27);
    let form = |text: &[u8]| {
        text[4] == b'-'
            && text[7] == b'-'
            && text[10] == b'T'
            && text[13] == b':'
            && text[16] == b':'
            && text[19] == b'.'
            && text[26] == b'Z'
    };
    texts.null_count() == 0 && same && bytes.is_some_and(|bytes| bytes.chunks_exact(27).all(form))
}

/// The canonical texts of time keys, which are microseconds.
pub(super) fn time_texts(keys: &[i64]) -> ArrayRef {
    let mut bytes = Vec::with_capacity(keys.len() * 27);
    for key in keys {
        // Keys were read from texts of the years 1 to 9999.
        let time = EventTime::from_micros(*key).unwrap_or_default();
        bytes.extend_from_slice(&time.write());
        bytes.push(b'Z');
    }
    // Chunks of a few thousand rows: far below the end of 32 bits.
    let offsets = arrow_buffer::OffsetBuffer::from_lengths(std::iter::repeat_n(27, keys.len()));
    Arc::new(StringArray::new(offsets, bytes.into(), None))
}
