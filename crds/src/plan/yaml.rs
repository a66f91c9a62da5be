//! YAML as people write it: every mistake is told by file, line and path.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_saphyr::{DuplicateKeyPolicy, NonFiniteFloatPolicy, Spanned, UserMessageFormatter};

use super::error::UsageError;

/// One YAML document of a file, with its text blanked down to its first line, so that lines are
/// those of the file.
#[derive(Clone, Debug)]
pub struct Yaml {
    file: String,
    text: String,
    lines: BTreeMap<String, u64>,
    /// The first line; none for what is not written in lines.
    first: Option<u64>,
    shape: Shape,
}

/// What a document is at its top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Nothing, or null.
    Empty,
    /// A list.
    List,
    /// A mapping.
    Mapping,
    /// A single value.
    Scalar,
}

impl Yaml {
    /// Splits a file at its `---` lines, which YAML allows nowhere but between documents, and
    /// reads the structure of each. Documents without content are left out.
    ///
    /// Errors: what is no YAML, a key that is there twice.
    pub fn split(file: &str, text: &str) -> Result<Vec<Yaml>, UsageError> {
        let mut documents = Vec::new();
        let mut start = 0;
        let mut bounds = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let rest = line.strip_prefix("---");
            if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t'])) {
                bounds.push((start, number));
                start = number;
            }
        }
        bounds.push((start, usize::MAX));
        for (from, to) in bounds {
            let lines: Vec<&str> = text.lines().skip(from).take(to - from).collect();
            let blank = lines.iter().all(|line| {
                let line = line.strip_prefix("---").unwrap_or(line).trim();
                line.is_empty() || line.starts_with(['#', '%']) || line == "..."
            });
            if blank {
                continue;
            }
            let text = format!("{}{}\n", "\n".repeat(from), lines.join("\n"));
            let yaml = Yaml::one(file, text, from as u64 + 1)?;
            if yaml.shape != Shape::Empty {
                documents.push(yaml);
            }
        }
        Ok(documents)
    }

    fn one(file: &str, text: String, first: u64) -> Result<Yaml, UsageError> {
        let mut yaml = Yaml {
            file: file.to_owned(),
            text,
            lines: BTreeMap::new(),
            first: Some(first),
            shape: Shape::Empty,
        };
        let node: Spanned<Node> = yaml.deserialize().map_err(|error| UsageError {
            path: error
                .path
                .as_deref()
                .map(unspan)
                .filter(|path| !path.is_empty()),
            ..error
        })?;
        yaml.shape = match &node.value {
            Node::Null => Shape::Empty,
            Node::Scalar => Shape::Scalar,
            Node::List(_) => Shape::List,
            Node::Mapping(_) => Shape::Mapping,
        };
        note(&mut yaml.lines, String::new(), &node);
        Ok(yaml)
    }

    /// A document that is not kept as text: its mistakes have a path and no line.
    pub fn unwritten(object: &str) -> Yaml {
        Yaml {
            file: object.to_owned(),
            text: String::new(),
            lines: BTreeMap::new(),
            first: None,
            shape: Shape::Mapping,
        }
    }

    /// What the document is at its top.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The file as it was named.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Reads the whole document as a `T`.
    ///
    /// Errors: an unknown or missing field, a value of another type, each with line and path.
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T, UsageError> {
        let mut track = serde_path_to_error::Track::new();
        let options = serde_saphyr::options! {
            duplicate_keys: DuplicateKeyPolicy::Error,
            // Refused where a value is checked, with the range that is expected.
            non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
            with_snippet: false,
        };
        serde_saphyr::with_deserializer_from_str_with_options(&self.text, options, |deserializer| {
            T::deserialize(serde_path_to_error::Deserializer::new(
                deserializer,
                &mut track,
            ))
        })
        .map_err(|error| self.explain(error.without_snippet(), &track.path().to_string()))
    }

    /// A mistake at a path of the document, such as `spec.gate.url`. The line is that of the
    /// nearest field that is written out.
    pub fn wrong(&self, path: &str, message: impl Into<String>) -> UsageError {
        let mut nearest = path;
        let line = loop {
            if let Some(line) = self.lines.get(nearest) {
                break Some(*line);
            }
            match nearest.rfind(['.', '[']) {
                Some(end) => nearest = &nearest[..end],
                None => break self.lines.get("").copied().or(self.first),
            }
        };
        UsageError {
            place: self.file.clone(),
            line,
            path: Some(path.to_owned()),
            message: message.into(),
        }
    }

    fn explain(&self, error: &serde_saphyr::Error, path: &str) -> UsageError {
        use serde_saphyr::{Error, MessageFormatter};
        let location = error.location();
        let mut path = if path == "." { "" } else { path }.to_owned();
        let found = location.and_then(|at| self.found(at.line(), at.column()));
        let listed = |expected: &[&str]| match expected {
            [] => "nothing".to_owned(),
            names => names.join(", "),
        };
        let message = match error {
            Error::SerdeUnknownField {
                field, expected, ..
            } => {
                if path != *field && !path.ends_with(&format!(".{field}")) {
                    path = match path.is_empty() {
                        true => field.clone(),
                        false => format!("{path}.{field}"),
                    };
                }
                format!("unknown field; known here: {}", listed(expected))
            }
            Error::SerdeMissingField { field, .. } => format!("the field `{field}` is missing"),
            Error::SerdeUnknownVariant {
                variant, expected, ..
            } => format!("found {variant:?}, expected one of {}", listed(expected)),
            Error::InvalidScalar { ty, .. } => format!(
                "found {}, expected {}",
                found.as_deref().unwrap_or("another value"),
                human(ty)
            ),
            Error::Unexpected { expected, .. } => format!(
                "found {}, expected {}",
                found.as_deref().unwrap_or("another value"),
                human(expected)
            ),
            Error::DuplicateMappingKey { key: Some(key), .. } => {
                // The path ends at the key, which has no name yet.
                path = path.strip_suffix('?').unwrap_or(&path).to_owned() + key;
                "is there twice".to_owned()
            }
            other => UserMessageFormatter.format_message(other).into_owned(),
        };
        UsageError {
            place: self.file.clone(),
            line: location.map(|at| at.line()).or(self.first),
            path: (!path.is_empty()).then_some(path),
            message,
        }
    }

    /// The rest of a line from a column on, as it is written, without a comment.
    fn found(&self, line: u64, column: u64) -> Option<String> {
        let line = self.text.lines().nth(usize::try_from(line).ok()? - 1)?;
        let rest: String = line
            .chars()
            .skip(usize::try_from(column).ok()?.saturating_sub(1))
            .take(80)
            .collect();
        // A plain value in brackets ends at the next sign of theirs.
        let end = match rest.starts_with(['"', '\'', '[', '{']) {
            true => rest.find(" #"),
            false => rest.find([',', ']', '}']).or(rest.find(" #")),
        };
        let rest = rest[..end.unwrap_or(rest.len())].trim();
        (!rest.is_empty()).then(|| format!("`{rest}`"))
    }
}

/// The path of a [`Node`] without the steps into its [`Spanned`] wrappers: `spec.lanes[0]` for
/// `value.spec.value.lanes.value[0].value`.
fn unspan(path: &str) -> String {
    let mut plain = String::new();
    let mut wrapper = true;
    for step in path.split('.') {
        match step.strip_prefix("value").filter(|_| wrapper) {
            Some(index) => {
                plain.push_str(index);
                wrapper = !index.is_empty();
            }
            None => {
                if !plain.is_empty() {
                    plain.push('.');
                }
                plain.push_str(step);
                wrapper = true;
            }
        }
    }
    plain
}

/// The name of a type or of a part of YAML, for people who write neither every day.
fn human(ty: &str) -> &str {
    match ty {
        "f64" | "f32" | "float" | "floating point" => "a number",
        "bool" | "boolean" => "true or false",
        "u8" | "u16" | "u32" | "u64" | "unsigned integer" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" | "integer" => "a whole number",
        "string scalar" => "a text",
        "sequence start" => "a list",
        "mapping start" => "fields with values",
        other => other,
    }
}

/// Remembers the line of every value below a node.
fn note(lines: &mut BTreeMap<String, u64>, path: String, node: &Spanned<Node>) {
    match &node.value {
        Node::Null | Node::Scalar => {}
        Node::List(items) => {
            for (index, item) in items.iter().enumerate() {
                note(lines, format!("{path}[{index}]"), item);
            }
        }
        Node::Mapping(entries) => {
            for (key, value) in entries {
                let path = match path.is_empty() {
                    true => key.clone(),
                    false => format!("{path}.{key}"),
                };
                note(lines, path, value);
            }
        }
    }
    lines.insert(path, node.referenced.line());
}

/// The structure of any YAML value, without the values.
#[derive(Clone, Debug)]
enum Node {
    Null,
    Scalar,
    List(Vec<Spanned<Node>>),
    Mapping(Vec<(String, Spanned<Node>)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

macro_rules! scalars {
    ($($method:ident: $ty:ty),*) => {
        $(fn $method<E: de::Error>(self, _: $ty) -> Result<Node, E> {
            Ok(Node::Scalar)
        })*
    };
}

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    scalars!(visit_bool: bool, visit_i64: i64, visit_i128: i128, visit_u64: u64, visit_u128: u128,
        visit_f64: f64, visit_str: &str, visit_bytes: &[u8]);

    fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Mapping(entries))
    }
}
