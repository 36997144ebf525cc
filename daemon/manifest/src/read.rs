//! A tree to a typed value, with errors that know their path and say what was found and what would be right.
//! Knows serde, and no manifest field.

use std::fmt;

use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};

use tradewind_core::{
    manifest::forms::{AS_WRITTEN, DIGITS, OCTAL},
    units::{self, DURATION, Millis, is_padded},
};

use crate::tree::{Node, Number, NumberValue, Path, Step, Value, short};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Error {
    /// From the end to the root while the error travels up.
    steps: Vec<Step>,
    pub(super) message: String,
    /// A field that should be there is not.
    pub(super) missing: bool,
}

/// # Errors
/// The first thing that does not fit.
pub(super) fn read<'a, T: de::Deserialize<'a>>(root: &'a Node) -> Result<T, Error> {
    T::deserialize(root)
}

// === impl Error ===

impl Error {
    fn new(message: String) -> Self {
        Self {
            steps: Vec::new(),
            message,
            missing: false,
        }
    }

    fn under(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    pub(super) fn path(&self) -> Path {
        Path(self.steps.iter().rev().cloned().collect())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let expected = wanted(&expected.to_string());
        let quote = match found {
            Unexpected::Bool(v) if expected == "text" => format!(": write \"{v}\""),
            _ => String::new(),
        };
        Self::new(format!("found {}, expected {expected}{quote}", name(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(format!(
            "found {}, expected {}",
            name(found),
            wanted(&expected.to_string())
        ))
    }

    fn unknown_variant(found: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!(
            "unknown value \"{}\"{}",
            short(found),
            instead(found, expected)
        ))
    }

    fn unknown_field(found: &str, expected: &'static [&'static str]) -> Self {
        // The key's own step came with the key.
        Self::new(format!(
            "unknown field \"{}\"{}",
            short(found),
            instead(found, expected)
        ))
    }

    fn missing_field(field: &'static str) -> Self {
        let mut error = Self::new(format!("the field \"{field}\" is missing"))
            .under(Step::Key(field.to_owned()));
        error.missing = true;
        error
    }
}

/// The nearest of what is accepted, or all of it.
fn instead(found: &str, accepted: &[&str]) -> String {
    if let [only] = accepted {
        return format!(": use \"{only}\"");
    }
    // A typing mistake or another way of writing the same word.
    let plain = |s: &str| {
        s.chars()
            .filter(|c| c.is_alphanumeric())
            .collect::<String>()
            .to_lowercase()
    };
    let word = plain(&found.chars().take(64).collect::<String>());
    let near = accepted
        .iter()
        .map(|a| (strsim::damerau_levenshtein(&word, &plain(a)), a))
        .filter(|(distance, a)| *distance <= 1 + a.len() / 5)
        .min_by_key(|(distance, _)| *distance);
    match near {
        Some((_, near)) => format!(": did you mean \"{near}\"?"),
        None => format!(": use one of {}", accepted.join(", ")),
    }
}

fn name(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(v) => v.to_string(),
        Unexpected::Unsigned(v) => format!("the number {v}"),
        Unexpected::Signed(v) => format!("the number {v}"),
        Unexpected::Float(v) => format!("the number {v}"),
        Unexpected::Str(v) => format!("the text \"{}\"", short(v)),
        Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a mapping".to_owned(),
        other => other.to_string(),
    }
}

/// serde's names for Rust types in the words of a manifest.
fn wanted(expected: &str) -> String {
    let text = match expected {
        "a string" => "text",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "a mapping",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "i32" => "a whole number from -2147483648 to 2147483647",
        other if other.starts_with("struct ") || other.starts_with("map ") => "a mapping",
        other if other.starts_with("enum ") || other.starts_with("variant") => "text",
        other => other,
    };
    text.to_owned()
}

/// A scalar that should be text shows how to write it as one.
fn not_text(node: &Node) -> Error {
    let hint = match &node.value {
        Value::Number(n) => format!(": write \"{}\"", short(&n.written)),
        Value::Bool(b) => format!(": write \"{b}\""),
        _ => String::new(),
    };
    Error::new(format!("found {}, expected text{hint}", node.describe()))
}

/// A number where any number may stand: none that is read in two ways, that is infinite, or that would lose digits.
fn number(n: &Number) -> Result<NumberValue, Error> {
    let shown = short(&n.written);
    if is_padded(&n.written) {
        let (sign, digits) = n
            .written
            .split_at(n.written.len() - n.written.trim_start_matches(['-', '+']).len());
        let plain = digits.trim_start_matches('0');
        let zero = if plain.starts_with(|c: char| c.is_ascii_digit()) {
            ""
        } else {
            "0"
        };
        let plain = format!("{sign}{zero}{plain}");
        return Err(Error::new(format!(
            "found the number {shown}, expected one without leading zeros, which some tools take for octal: write {}",
            short(&plain)
        )));
    }
    let NumberValue::Float(value) = n.value else {
        return Ok(n.value);
    };
    if !value.is_finite() {
        return Err(Error::new(format!(
            "found {shown}, expected a finite number"
        )));
    }
    if n.written
        .trim_start_matches(['-', '+'])
        .bytes()
        .all(|c| c.is_ascii_digit())
    {
        return Err(Error::new(format!(
            "the number {shown} can't be kept exactly: write at most {}, or a text in quotes",
            u64::MAX
        )));
    }
    Ok(n.value)
}

/// `3.0` is an integer, as JSON Schema has it.
fn whole(node: &Node) -> Option<i64> {
    let Value::Number(Number {
        value: NumberValue::Float(value),
        ..
    }) = &node.value
    else {
        return None;
    };
    units::whole(*value)
}

macro_rules! whole_numbers {
    ($($method:ident)+) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match whole(self) {
                Some(value) => visitor.visit_i64(value),
                None => self.deserialize_any(visitor),
            }
        }
    )+ };
}

// === a node as a deserializer ===

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(b) => visitor.visit_bool(*b),
            Value::Number(n) => match number(n)? {
                NumberValue::Unsigned(v) => visitor.visit_u64(v),
                NumberValue::Signed(v) => visitor.visit_i64(v),
                NumberValue::Float(v) => visitor.visit_f64(v),
            },
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::List(items) => visitor.visit_seq(Items {
                items: items.iter(),
                next: 0,
            }),
            Value::Map(entries) => visitor.visit_map(Fields {
                entries: entries.iter(),
                value: None,
            }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.value == Value::Null {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.value {
            Value::Text(text) => visitor.visit_borrowed_str(text),
            _ => Err(not_text(self)),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        match (name, &self.value) {
            (AS_WRITTEN, Value::Number(n)) => visitor.visit_borrowed_str(&n.written),
            (DIGITS, Value::Number(n))
                if n.written.bytes().all(|c| c.is_ascii_digit()) && !is_padded(&n.written) =>
            {
                visitor.visit_borrowed_str(&n.written)
            }
            (OCTAL, Value::Number(n)) if n.written.len() > 1 && n.written.starts_with('0') => {
                visitor.visit_borrowed_str(&n.written)
            }
            (OCTAL, Value::Number(n)) => {
                let message = format!(
                    "found {}, expected octal digits: write 0644 or \"{1}\"",
                    self.describe(),
                    short(&n.written)
                );
                Err(Error::new(message))
            }
            (DIGITS, Value::Number(_) | Value::Bool(_)) | (OCTAL, Value::Bool(_)) => {
                Err(not_text(self))
            }
            (DURATION, Value::Text(text)) => {
                // What is stored may be in months; what a person writes may not.
                text.parse::<Millis>()
                    .map_err(|e| Error::new(e.to_string()))?;
                self.deserialize_any(visitor)
            }
            (AS_WRITTEN | DIGITS | OCTAL | DURATION, _) => self.deserialize_any(visitor),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        // serde would take a list for the fields in their order, which nobody means.
        match &self.value {
            Value::Map(_) => self.deserialize_any(visitor),
            _ => Err(Error::new(format!(
                "found {}, expected a mapping",
                self.describe()
            ))),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self.value {
            Value::Text(text) => visitor.visit_enum(Word(text)),
            _ => Err(not_text(self)),
        }
    }

    whole_numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    serde::forward_to_deserialize_any! {
        bool i128 u128 f32 f64 char bytes byte_buf unit unit_struct
        seq tuple tuple_struct map identifier ignored_any
    }
}

struct Items<'a> {
    items: std::slice::Iter<'a, Node>,
    next: usize,
}

impl<'a> SeqAccess<'a> for Items<'a> {
    type Error = Error;
    fn next_element_seed<T: DeserializeSeed<'a>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let Some(item) = self.items.next() else {
            return Ok(None);
        };
        let index = self.next;
        self.next += 1;
        seed.deserialize(item)
            .map(Some)
            .map_err(|e| e.under(Step::Index(index)))
    }
}

struct Fields<'a> {
    entries: std::slice::Iter<'a, super::tree::Entry>,
    value: Option<&'a super::tree::Entry>,
}

impl<'a> MapAccess<'a> for Fields<'a> {
    type Error = Error;
    fn next_key_seed<K: DeserializeSeed<'a>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some(entry) = self.entries.next() else {
            return Ok(None);
        };
        self.value = Some(entry);
        let key = de::value::BorrowedStrDeserializer::<Error>::new(&entry.key);
        seed.deserialize(key)
            .map(Some)
            .map_err(|e| e.under(Step::Key(entry.key.clone())))
    }
    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let Some(entry) = self.value.take() else {
            return Err(Error::new("a value was asked for twice".to_owned()));
        };
        seed.deserialize(&entry.value)
            .map_err(|e| e.under(Step::Key(entry.key.clone())))
    }
}

/// A text as an enum without content.
struct Word<'a>(&'a str);

impl<'a> EnumAccess<'a> for Word<'a> {
    type Error = Error;
    type Variant = Self;
    fn variant_seed<V: DeserializeSeed<'a>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        let word: de::value::StrDeserializer<'_, Error> = self.0.into_deserializer();
        Ok((seed.deserialize(word)?, self))
    }
}

impl<'a> VariantAccess<'a> for Word<'a> {
    type Error = Error;
    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }
    fn newtype_variant_seed<T: DeserializeSeed<'a>>(self, _: T) -> Result<T::Value, Error> {
        Err(Error::new(format!(
            "\"{}\" can't stand alone",
            short(self.0)
        )))
    }
    fn tuple_variant<V: Visitor<'a>>(self, _: usize, _: V) -> Result<V::Value, Error> {
        Err(Error::new(format!(
            "\"{}\" can't stand alone",
            short(self.0)
        )))
    }
    fn struct_variant<V: Visitor<'a>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        Err(Error::new(format!(
            "\"{}\" can't stand alone",
            short(self.0)
        )))
    }
}
