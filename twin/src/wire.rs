//! Readings as JSON: straight from bytes to a dense array. Nothing is kept of unknown keys but their number.

use std::fmt;

use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, Visitor};

use crate::definition::Definition;
use crate::ids::LocomotiveId;
use crate::instant::{self, Millis};
use crate::reading::{POSITION_CHANNELS, Reading};
use crate::refusal::Refusal;

/// Largest JSON text of one reading, in bytes.
pub const MAX_READING_BYTES: usize = 64 * 1024;

/// A decoded reading and whose it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Addressed {
    /// The locomotive.
    pub id: LocomotiveId,
    /// Its reading, checked.
    pub reading: Reading,
    /// Keys of the object that mean nothing here.
    pub unknown_keys: u32,
}

/// Decodes and checks one JSON object. `address` is the id of the request's path, where there is one.
pub fn decode(
    bytes: &[u8],
    definition: &Definition,
    received_at: Millis,
    address: Option<&LocomotiveId>,
) -> Result<Addressed, Refusal> {
    let decoded = decode_object(bytes, definition, received_at)?;
    let id = match (decoded.id, address) {
        (Some(id), Some(expected)) if id != *expected => {
            return Err(Refusal::OtherId { expected: expected.to_string(), got: id.to_string() });
        }
        (Some(id), _) => id,
        (None, Some(expected)) => expected.clone(),
        (None, None) => return Err(Refusal::NoId),
    };
    let recorded_at = decoded.recorded_at.ok_or(Refusal::NoTime)?;
    let reading = decoded.reading.recorded_at(recorded_at);
    reading.check(definition)?;
    Ok(Addressed { id, reading, unknown_keys: decoded.unknown_keys })
}

/// Decodes and checks the sensors of one JSON object that needs neither id nor time: a question, not a reading.
pub fn decode_values(bytes: &[u8], definition: &Definition, now: Millis) -> Result<Reading, Refusal> {
    let reading = decode_object(bytes, definition, now)?.reading.recorded_at(now);
    reading.check(definition)?;
    Ok(reading)
}

fn decode_object(bytes: &[u8], definition: &Definition, received_at: Millis) -> Result<Decoded, Refusal> {
    if bytes.len() > MAX_READING_BYTES {
        return Err(Refusal::TooLarge { limit: MAX_READING_BYTES, got: bytes.len() });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| Refusal::NotUtf8 { offset: error.valid_up_to() })?;
    let mut refusal = None;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let seed = ReadingSeed { definition, received_at, refusal: &mut refusal };
    let decoded = seed.deserialize(&mut deserializer).and_then(|decoded| deserializer.end().map(|()| decoded));
    match (decoded, refusal) {
        (_, Some(refusal)) => Err(refusal),
        (Err(error), None) => Err(Refusal::NotJson { message: error.to_string() }),
        (Ok(decoded), None) => Ok(decoded),
    }
}

struct Decoded {
    id: Option<LocomotiveId>,
    recorded_at: Option<Millis>,
    reading: Reading,
    unknown_keys: u32,
}

struct ReadingSeed<'a> {
    definition: &'a Definition,
    received_at: Millis,
    refusal: &'a mut Option<Refusal>,
}

impl<'de> DeserializeSeed<'de> for ReadingSeed<'_> {
    type Value = Decoded;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Decoded, D::Error> {
        deserializer.deserialize_map(self)
    }
}

/// What a key of the object means.
enum Key {
    Id,
    RecordedAt,
    Channel(usize),
    Unknown,
}

impl ReadingSeed<'_> {
    fn key(&self, key: &str) -> Key {
        match key {
            "locomotive_id" => Key::Id,
            "recorded_at" => Key::RecordedAt,
            _ => self
                .definition
                .index_of_key(key)
                .or_else(|| POSITION_CHANNELS.iter().find(|(_, name, ..)| *name == key).map(|(channel, ..)| *channel))
                .map_or(Key::Unknown, Key::Channel),
        }
    }

    /// Keeps the refusal beside the parser's own error, which ends the parse.
    fn refuse<E: de::Error>(&mut self, refusal: Refusal) -> E {
        let error = E::custom(&refusal);
        *self.refusal = Some(refusal);
        error
    }
}

impl<'de> Visitor<'de> for ReadingSeed<'_> {
    type Value = Decoded;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Decoded, A::Error> {
        let reading = Reading::new(0, self.received_at);
        let mut decoded = Decoded { id: None, recorded_at: None, reading, unknown_keys: 0 };
        while let Some(key) = map.next_key_seed(KeySeed(&self))? {
            let twice = |field: &str| Refusal::GivenTwice { field: field.to_owned() };
            match key {
                Key::Id => {
                    let value: Scalar = map.next_value()?;
                    let Scalar::Text(text) = value else {
                        return Err(self.refuse(value.unlike("locomotive_id", "a text")));
                    };
                    if decoded.id.is_some() {
                        return Err(self.refuse(twice("locomotive_id")));
                    }
                    decoded.id = Some(LocomotiveId::parse(&text).map_err(|error| self.refuse(error.into()))?);
                }
                Key::RecordedAt => {
                    let value: Scalar = map.next_value()?;
                    if decoded.recorded_at.is_some() {
                        return Err(self.refuse(twice("recorded_at")));
                    }
                    let expected = "RFC 3339 (2026-02-01T08:00:00Z) or epoch milliseconds";
                    let time = value.as_time().ok_or_else(|| self.refuse(value.unlike("recorded_at", expected)))?;
                    decoded.recorded_at = Some(time);
                }
                Key::Channel(channel) => {
                    let name = channel_name(self.definition, channel);
                    if decoded.reading.get(channel).is_some() {
                        let refusal = twice(name);
                        return Err(self.refuse(refusal));
                    }
                    match map.next_value()? {
                        Scalar::Null => {}
                        Scalar::Number(number) => decoded.reading.set(channel, number as f32),
                        other => {
                            let refusal = other.unlike(name, "a number or null");
                            return Err(self.refuse(refusal));
                        }
                    }
                }
                Key::Unknown => {
                    map.next_value::<IgnoredAny>()?;
                    decoded.unknown_keys += 1;
                }
            }
        }
        Ok(decoded)
    }
}

/// The name of a channel in readings.
pub fn channel_name(definition: &Definition, channel: usize) -> &str {
    definition.sensors.get(channel).map_or_else(
        || POSITION_CHANNELS.iter().find(|(index, ..)| *index == channel).map_or("", |(_, name, ..)| name),
        |sensor| sensor.key.as_str(),
    )
}

struct KeySeed<'a, 'b>(&'a ReadingSeed<'b>);

impl<'de> DeserializeSeed<'de> for KeySeed<'_, '_> {
    type Value = Key;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_, '_> {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<Key, E> {
        Ok(self.0.key(key))
    }
}

/// A JSON value that is not a container, and a mark for one that is.
enum Scalar {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    Container(&'static str),
}

impl Scalar {
    fn as_time(&self) -> Option<Millis> {
        match self {
            Self::Text(text) => instant::parse(text),
            Self::Number(number) => {
                (number.abs() < 1e16 && libm::trunc(*number) == *number).then_some(*number as Millis)
            }
            Self::Null | Self::Bool(_) | Self::Container(_) => None,
        }
    }

    fn unlike(&self, field: &str, expected: &str) -> Refusal {
        let got = match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Number(value) => value.to_string(),
            Self::Text(text) => format!("{:?}", text.chars().take(80).collect::<String>()),
            Self::Container(kind) => (*kind).to_owned(),
        };
        Refusal::WrongType { field: field.to_owned(), expected: expected.to_owned(), got }
    }
}

impl<'de> de::Deserialize<'de> for Scalar {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar::Number(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Scalar, E> {
        Ok(Scalar::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Scalar, E> {
        Ok(Scalar::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(value.to_owned()))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Container("an array"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Container("an object"))
    }
}
