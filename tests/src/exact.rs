//! JSON compared to the digit: integers of any size, 64-bit floats by their bits, and an integer
//! is no float. The usual readers round.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// A JSON value whose numbers are exact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exact {
    /// `null`, `true`, `false`.
    Word(String),
    /// A number without point and exponent.
    Integer(i128),
    /// Any other number: the bits of the 64-bit float that it is read as.
    Float(u64),
    /// A text.
    Text(String),
    /// An array.
    List(Vec<Exact>),
    /// An object; each name once.
    Object(BTreeMap<String, Exact>),
}

impl Exact {
    /// Reads a text.
    #[track_caller]
    pub fn parse(text: &str) -> Exact {
        read(text.trim()).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// A field of an object.
    #[track_caller]
    pub fn get(&self, name: &str) -> &Exact {
        match self {
            Exact::Object(fields) => fields.get(name),
            _ => None,
        }
        .unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    /// A text.
    #[track_caller]
    pub fn text(&self) -> &str {
        match self {
            Exact::Text(text) => text,
            other => panic!("not a text: {other:?}"),
        }
    }
}

fn read(text: &str) -> Result<Exact, Box<dyn std::error::Error>> {
    Ok(match text.as_bytes().first() {
        Some(b'{') => {
            let raw: Members = serde_json::from_str(text)?;
            let mut fields = BTreeMap::new();
            for (name, value) in raw.0 {
                if fields.insert(name.clone(), read(value.get())?).is_some() {
                    return Err(format!("{name} twice").into());
                }
            }
            Exact::Object(fields)
        }
        Some(b'[') => {
            let items: Vec<Box<RawValue>> = serde_json::from_str(text)?;
            Exact::List(
                items
                    .iter()
                    .map(|item| read(item.get()))
                    .collect::<Result<_, _>>()?,
            )
        }
        Some(b'"') => Exact::Text(serde_json::from_str(text)?),
        Some(b'-' | b'0'..=b'9') if text.contains(['.', 'e', 'E']) => {
            Exact::Float(text.parse::<f64>()?.to_bits())
        }
        Some(b'-' | b'0'..=b'9') => Exact::Integer(text.parse()?),
        _ => {
            serde_json::from_str::<serde_json::Value>(text)?;
            Exact::Word(text.to_owned())
        }
    })
}

/// An object's members as they stand, repeats and all.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> serde::Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::Exact;

    #[test]
    fn numbers_are_exact_and_repeats_are_seen() {
        assert_eq!(Exact::parse("[1e+22]"), Exact::parse(" [1e22] "));
        assert_ne!(
            Exact::parse("18446744073709551615"),
            Exact::parse("18446744073709551614")
        );
        assert_ne!(Exact::parse("0.1"), Exact::parse("0.10000000000000002"));
        assert_ne!(Exact::parse("1"), Exact::parse("1.0"));
        assert_eq!(
            Exact::parse(r#"{"b": null, "a": "\u00e9"}"#),
            Exact::parse(r#"{"a":"é","b":null}"#)
        );
        assert!(std::panic::catch_unwind(|| Exact::parse(r#"{"a":1,"a":1}"#)).is_err());
    }
}
