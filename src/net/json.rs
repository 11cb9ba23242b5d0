//! JSON from outside, read strictly: RFC 8259, and what I-JSON (RFC 7493 §2.3) adds.
//!
//! Refuses repeated members, since two readers may pick different ones, and anything after the
//! value. Depth is bounded by `serde_json`.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The text is not JSON, or repeats a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not JSON, or JSON with a repeated member")]
pub struct NotStrict;

/// Reads one JSON value.
///
/// # Errors
///
/// [`NotStrict`]; what is wrong is not told, since the text may hold secrets.
pub fn parse(text: &[u8]) -> Result<Value, NotStrict> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = Strict
        .deserialize(&mut deserializer)
        .map_err(|_| NotStrict)?;
    deserializer.end().map_err(|_| NotStrict)?;
    Ok(value)
}

/// Reads one JSON object.
///
/// # Errors
///
/// [`NotStrict`], also for any other value.
pub fn parse_object(text: &[u8]) -> Result<Map<String, Value>, NotStrict> {
    match parse(text)? {
        Value::Object(members) => Ok(members),
        _ => Err(NotStrict),
    }
}

#[derive(Clone, Copy)]
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without repeated members")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element_seed(self)? {
            list.push(element);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(self)?;
            if members.insert(name, value).is_some() {
                return Err(de::Error::custom("a repeated member"));
            }
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn repeated_members_are_refused_at_any_depth() {
        assert_eq!(
            parse(br#"{"a":1,"b":[{"c":2}]}"#),
            Ok(json!({"a":1,"b":[{"c":2}]}))
        );
        assert_eq!(parse(br#"{"a":1,"a":1}"#), Err(NotStrict));
        assert_eq!(parse(br#"[{"b":{"a":1,"\u0061":2}}]"#), Err(NotStrict));
    }

    #[test]
    fn one_value_and_nothing_after_it() {
        assert_eq!(parse(b"{} {}"), Err(NotStrict));
        assert_eq!(parse(b""), Err(NotStrict));
        assert_eq!(parse_object(b"[]"), Err(NotStrict));
        assert_eq!(parse(&b"[".repeat(100_000)), Err(NotStrict));
    }
}
