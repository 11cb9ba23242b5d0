//! Reads raw structs out of the tree with serde, and goes on after a problem.
//!
//! serde stops at the first error. [`read`] notes it, takes the value at fault out of its copy of
//! the tree and reads again, so that every unknown key and every wrong type is reported at once.
//! Text from the environment, from flags and from defaults is read as what the key wants: `"true"`
//! as a boolean, `"a,b"` as a list.

use std::fmt::Display;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer as _, MapAccess,
    SeqAccess, Unexpected, Visitor,
};

use super::problem::{Report, did_you_mean};
use super::tree::{KeyPath, Node, Value};

/// Reads what is at `path`; what cannot be read is reported and left at its default.
pub(super) fn read<T: DeserializeOwned + Default>(
    tree: &mut Node,
    path: &KeyPath,
    report: &mut Report<'_>,
) -> T {
    loop {
        let Some(node) = tree.at(path) else {
            return T::default();
        };
        match T::deserialize(Reader(node)) {
            Ok(value) => return value,
            Err(fault) => {
                let at = path.join(&fault.path);
                report.add(&at, fault.about(&at), fault.hint);
                let gone = at.list();
                if gone == *path || tree.remove(&gone).is_none() {
                    return T::default();
                }
                super::keys::restore_default(tree, &gone);
            }
        }
    }
}

/// The fields that serde would accept for `T`.
#[cfg(test)]
pub(super) fn fields_of<T: DeserializeOwned>() -> &'static [&'static str] {
    struct Probe<'a>(&'a mut &'static [&'static str]);

    impl<'de> Deserializer<'de> for Probe<'_> {
        type Error = Fault;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fault> {
            Err(Fault::new("not a struct"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Fault> {
            *self.0 = fields;
            Err(Fault::new("fields noted"))
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    let mut fields: &[&str] = &[];
    assert!(T::deserialize(Probe(&mut fields)).is_err());
    fields
}

/// What serde did not like, and where below the start.
#[derive(Debug)]
pub(super) struct Fault {
    path: KeyPath,
    message: String,
    hint: Option<String>,
    is_about_value: bool,
}

impl Fault {
    fn new(message: impl Into<String>) -> Self {
        Self {
            path: KeyPath::default(),
            message: message.into(),
            hint: None,
            is_about_value: true,
        }
    }

    /// The message, with the key as its subject where it has none of its own.
    fn about(&self, at: &KeyPath) -> String {
        match at.last_key() {
            Some(key) if self.is_about_value => format!("`{key}` {}", self.message),
            _ => self.message.clone(),
        }
    }

    fn below_key(mut self, key: &str) -> Self {
        self.path.prepend_key(key);
        self
    }

    fn below_index(mut self, index: usize) -> Self {
        self.path.prepend_index(index);
        self
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    // The value itself is never repeated: it may be a secret at the wrong place.
    fn invalid_type(_: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(format!("should be {expected}"))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        match unexpected {
            Unexpected::Signed(number) => Self::new(format!("cannot be {number}")),
            Unexpected::Unsigned(number) => Self::new(format!("cannot be {number}")),
            _ => Self::new(format!("should be {expected}")),
        }
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self {
            hint: Some(did_you_mean(variant, expected).unwrap_or_else(|| one_of(expected))),
            ..Self::new(format!("cannot be `{variant}`"))
        }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self {
            hint: Some(did_you_mean(field, expected).unwrap_or_else(|| one_of(expected))),
            is_about_value: false,
            ..Self::new(format!("unknown key `{field}`"))
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self {
            is_about_value: false,
            ..Self::new(format!("`{field}` is missing"))
        }
    }
}

fn one_of(words: &[&str]) -> String {
    let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    format!("known here: {}", words.join(", "))
}

#[derive(Clone, Copy)]
struct Reader<'a>(&'a Node);

impl<'a> Reader<'a> {
    /// Bare text, where the source knows nothing but text.
    fn bare(self) -> Option<&'a str> {
        match &self.0.value {
            Value::Text(text) if self.0.origin.is_text_only() => Some(text.expose().trim()),
            _ => None,
        }
    }

    fn integer<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let number = match &self.0.value {
            Value::Integer(number) => Some(*number),
            _ => self.bare().and_then(|text| text.parse().ok()),
        };
        let number = number.ok_or_else(|| Fault::new("should be a whole number"))?;
        visitor.visit_i64(number)
    }
}

macro_rules! integers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            self.integer(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.value {
            Value::Text(text) => visitor.visit_str(text.expose()),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Boolean(boolean) => visitor.visit_bool(*boolean),
            Value::Float => Err(Fault::new("cannot be such a number")),
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Table(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let boolean = match &self.0.value {
            Value::Boolean(boolean) => Some(*boolean),
            _ => self.bare().and_then(|text| text.parse().ok()),
        };
        visitor.visit_bool(boolean.ok_or_else(|| Fault::new("should be true or false"))?)
    }

    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.value {
            Value::Text(text) => visitor.visit_str(text.expose()),
            _ => Err(Fault::new("should be a string")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if let Value::List(list) = &self.0.value {
            let elements = Elements {
                rest: list.iter(),
                index: 0,
            };
            return visitor.visit_seq(elements);
        }
        let text = self.bare().ok_or_else(|| Fault::new("should be a list"))?;
        let words = text
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty());
        visitor.visit_seq(de::value::SeqDeserializer::new(words))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let Value::Table(table) = &self.0.value else {
            return Err(Fault::new("should be a table"));
        };
        visitor.visit_map(Entries {
            rest: table.iter(),
            current: None,
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let Value::Text(text) = &self.0.value else {
            return Err(Fault::new("should be a string"));
        };
        let text: StrDeserializer<'_, Fault> = text.expose().into_deserializer();
        visitor.visit_enum(text)
    }

    serde::forward_to_deserialize_any! {
        i128 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct identifier
        ignored_any
    }
}

struct Elements<'a> {
    rest: std::slice::Iter<'a, Node>,
    index: usize,
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        let Some(node) = self.rest.next() else {
            return Ok(None);
        };
        let index = self.index;
        self.index += 1;
        let element = seed.deserialize(Reader(node));
        element.map(Some).map_err(|fault| fault.below_index(index))
    }
}

struct Entries<'a> {
    rest: std::collections::btree_map::Iter<'a, String, Node>,
    current: Option<(&'a str, &'a Node)>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        let Some((key, node)) = self.rest.next() else {
            return Ok(None);
        };
        self.current = Some((key, node));
        let text: StrDeserializer<'_, Fault> = key.as_str().into_deserializer();
        let read = seed.deserialize(text);
        read.map(Some).map_err(|fault| fault.below_key(key))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let Some((key, node)) = self.current.take() else {
            return Err(Fault::new("value before key"));
        };
        let value = seed.deserialize(Reader(node));
        value.map_err(|fault| fault.below_key(key))
    }
}
