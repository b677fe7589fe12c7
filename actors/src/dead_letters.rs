//! Readings that were refused after decoding, and the port through which they are kept. Where they are kept is not known here.

use async_trait::async_trait;
use serde_json::{Map, Value};
use twin::definition::Definition;
use twin::ids::LocomotiveId;
use twin::instant::{self, Millis};
use twin::reading::{POSITION_CHANNELS, Reading};

/// A refused reading with its reason and origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Stable code of the refusal.
    pub reason: String,
    /// What was expected and what came.
    pub message: String,
    /// When the reading arrived.
    pub received_at: Millis,
    /// By which way: `http`, `kafka`, `simulator`.
    pub source: String,
    /// Topic, or the name of another source.
    pub topic: String,
    /// Partition of the topic.
    pub partition: u32,
    /// Offset of the reading, or the first one of its batch where the single one is not known.
    pub offset: u64,
    /// The reading: as it came where it could not be decoded, else as JSON.
    pub value: Vec<u8>,
}

/// Dead letters could not be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused readings could not be kept ({0}); nothing of their batch is recorded, send it again")]
pub struct DeadLetterError(pub String);

/// Keeps refused readings, so that nothing is lost.
#[async_trait]
pub trait DeadLetters: Send + Sync + 'static {
    /// Keeps them durably.
    async fn keep(&self, letters: Vec<DeadLetter>) -> Result<(), DeadLetterError>;
}

/// A decoded reading as the JSON object that it was.
pub fn render(id: &LocomotiveId, reading: &Reading, definition: &Definition) -> Vec<u8> {
    let mut object = Map::new();
    object.insert("locomotive_id".to_owned(), Value::from(id.as_str()));
    object.insert("recorded_at".to_owned(), Value::from(instant::format(reading.recorded_at)));
    let sensors = definition.sensors.iter().enumerate().map(|(channel, sensor)| (channel, sensor.key.as_str()));
    let position = POSITION_CHANNELS.into_iter().map(|(channel, name, ..)| (channel, name));
    for (channel, key) in sensors.chain(position) {
        if let Some(value) = reading.get(channel) {
            object.insert(key.to_owned(), decimal(value));
        }
    }
    Value::Object(object).to_string().into_bytes()
}

/// The shortest decimal that reads back as this value (a detour through `f64` would show digits that nobody sent).
fn decimal(value: f32) -> Value {
    value.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rendered_reading_decodes_to_itself() {
        let definition =
            Definition::parse(include_str!("../../data/locomotive.toml")).expect("the definition is valid");
        let id = LocomotiveId::parse("CC-2201").expect("a valid id");
        let mut reading = Reading::new(1_769_932_800_000, 1_769_932_800_250);
        reading.set(0, 120.4);
        reading.set(2, 2.1);
        reading.set(twin::reading::SPEED, 64.2);
        let json = render(&id, &reading, &definition);
        let decoded = twin::wire::decode(&json, &definition, reading.received_at, None).expect("it is a reading");
        assert_eq!((decoded.id, decoded.reading), (id, reading));
    }
}
