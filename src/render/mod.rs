//! From what the twin knows to the JSON that the contract promises. Nothing is decided here: no level, no threshold, no rule.

pub mod doubt;
pub mod event;
pub mod note;
pub mod twin;
pub mod words;

use std::collections::BTreeMap;
use std::sync::Arc;

use ::twin::features::FeatureId;
use ::twin::fold::Blueprint;
use ::twin::ids::ModelId;
use ::twin::level::Level;
use ::twin::scoring::Scorer;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use self::words::Words;
use crate::breaker::Scoring;

/// The model that is served, with what is needed to speak of it.
#[derive(Clone)]
pub struct ServedModel {
    /// It answers.
    pub scorer: Arc<dyn Scorer>,
    /// Its card, as `GET /model` gives it.
    pub card: serde_json::Value,
    /// The definition it was made for.
    pub blueprint: Arc<Blueprint>,
    /// Whether its scores may be given out.
    pub scoring: Scoring,
}

impl ServedModel {
    /// The same for what is known of the past: the breaker holds back the present alone.
    #[must_use]
    pub fn of_the_past(&self) -> Self {
        Self { scoring: Scoring::default(), ..self.clone() }
    }

    /// The chance of a failure behind a risk of the model `of`; `None` where that is not the served one, so that the past shows the number of
    /// its own model or none.
    pub fn probability(&self, of: ModelId, risk: f32) -> Option<f32> {
        if of == self.scorer.model() { self.scorer.probability(risk) } else { None }
    }
}

/// How a locomotive stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LevelName {
    /// Nothing can be said (INDÉTERMINÉ).
    Unknown,
    /// Normal running (OPÉRATION NOMINALE).
    Nominal,
    /// Watch it (SURVEILLANCE).
    Watch,
    /// In danger (DANGER DÉTECTÉ).
    Danger,
}

impl From<Level> for LevelName {
    fn from(level: Level) -> Self {
        match level {
            Level::Unknown => Self::Unknown,
            Level::Nominal => Self::Nominal,
            Level::Watch => Self::Watch,
            Level::Danger => Self::Danger,
        }
    }
}

/// What one feature adds to the risk.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Contribution {
    /// Name of the feature.
    #[schema(example = "vibration_mean_long")]
    pub feature: String,
    /// The sensor it is made from; `null` for a feature of the whole machine.
    #[schema(required, example = "vibration")]
    pub sensor: Option<String>,
    /// What it adds; all of them sum to the risk minus the model's base rate.
    pub value: f64,
    /// The same in words; of twins only where they are asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub words: Option<Words>,
}

/// Contributions with their names and in words, the heaviest first; those of exactly nothing are left out.
pub fn contributions_in_words(
    values: impl IntoIterator<Item = (FeatureId, f64)>,
    blueprint: &Blueprint,
) -> Vec<Contribution> {
    let mut contributions = contributions(values, blueprint);
    say(&mut contributions, blueprint);
    contributions
}

/// Adds the words to contributions.
pub fn say(contributions: &mut [Contribution], blueprint: &Blueprint) {
    for Contribution { feature, value, words, .. } in contributions {
        let known = blueprint.schema.features.iter().find(|known| known.name == *feature);
        let subject = known.map(|known| words::feature_of(known.id, &blueprint.definition));
        *words = subject.map(|subject| words::accounts_for(&subject, *value));
    }
}

/// Contributions with their names, the heaviest first; those of exactly nothing are left out.
pub fn contributions(values: impl IntoIterator<Item = (FeatureId, f64)>, blueprint: &Blueprint) -> Vec<Contribution> {
    let named = |(id, value): (FeatureId, f64)| {
        let feature = blueprint.schema.features.iter().find(|feature| feature.id == id);
        let sensor = id.sensor().and_then(|sensor| sensor_key(sensor, blueprint));
        let feature = feature.map_or_else(|| format!("feature_{}", id.0), |feature| feature.name.clone());
        Contribution { feature, sensor, value, words: None }
    };
    let mut named: Vec<_> = values.into_iter().filter(|(_, value)| *value != 0.0).map(named).collect();
    named.sort_by(|a, b| b.value.abs().total_cmp(&a.value.abs()));
    named
}

/// Key of the sensor with this stable id.
pub fn sensor_key(id: u32, blueprint: &Blueprint) -> Option<String> {
    let definition = &blueprint.definition;
    definition.index_of(id).map(|index| definition.sensors[index].key.clone())
}

/// What one sensor adds to the risk, all of its features together.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct SensorShare {
    /// The sensor.
    #[schema(example = "vibration")]
    pub sensor: String,
    /// What it adds.
    pub value: f64,
    /// The same in words.
    pub words: Words,
}

/// Shares of the sensors in words, the heaviest first.
pub fn shares(contributions: &[Contribution], blueprint: &Blueprint) -> Vec<SensorShare> {
    let definition = &blueprint.definition;
    let one = |(key, value): (&str, f64)| {
        let sensor = &definition.sensors[definition.index_of_key(key)?];
        let words = words::accounts_for(&words::sensor(sensor), value);
        Some(SensorShare { sensor: key.to_owned(), value, words })
    };
    let mut shares: Vec<_> = by_sensor(contributions).into_iter().filter_map(one).collect();
    shares.sort_by(|a, b| b.value.abs().total_cmp(&a.value.abs()));
    shares
}

/// Sum of the contributions by sensor.
pub fn by_sensor(contributions: &[Contribution]) -> BTreeMap<&str, f64> {
    let mut sums = BTreeMap::new();
    for Contribution { sensor, value, .. } in contributions {
        if let Some(sensor) = sensor {
            *sums.entry(sensor.as_str()).or_default() += value;
        }
    }
    sums
}

/// Writes pairs as an object, in their order.
fn as_object<K: Serialize, V: Serialize, S: Serializer>(pairs: &[(K, V)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(key, value)| (key, value)))
}

/// A value as its shortest decimal; by way of `f64` digits would appear that nobody measured.
pub fn decimal(value: f32) -> serde_json::Value {
    value.to_string().parse::<f64>().map_or(serde_json::Value::Null, Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_shows_the_digits_that_were_sent() {
        assert_eq!(decimal(120.4).to_string(), "120.4");
    }
}
