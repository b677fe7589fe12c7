//! `POST /predict`: the risk of one reading without a history. Nothing is recorded.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::collections::BTreeMap;
use twin::features::Windows;
use twin::level::Level;
use twin::wire;
use utoipa::ToSchema;

use super::{Door, ServedModel, ask};
use crate::auth::extract::{Caller, Read};
use crate::problem::Problem;
use crate::render::doubt::Doubt;
use crate::render::words::{self, Words};
use crate::render::{Contribution, LevelName, SensorShare, by_sensor, contributions_in_words, shares};

/// The answer for one reading.
#[derive(Debug, Serialize, ToSchema)]
pub struct Prediction {
    /// Share of the trees that vote for a failure; `null` where the level is unknown.
    #[schema(required)]
    pub risk: Option<f32>,
    /// Chance of a failure that this risk stands for; `null` where the risk is, and where the model was not calibrated.
    #[schema(required)]
    pub probability: Option<f32>,
    /// Standard deviation of the trees' answers; `null` where the risk is.
    #[schema(required)]
    pub spread: Option<f32>,
    /// The level of this risk; unknown for values far outside all that the model learnt from.
    pub level: LevelName,
    /// The same for people.
    #[schema(example = "OPÉRATION NOMINALE")]
    pub verdict: &'static str,
    /// Id of the model.
    pub model: String,
    /// The model's mean risk, where the explanation starts.
    pub base_rate: f64,
    /// Why the level is unknown; empty where it is known.
    pub doubts: Vec<Doubt>,
    /// The explanation in a sentence, or why there is none.
    pub words: Words,
    /// What each feature adds; the sum is the risk minus the base rate. Empty where there is no risk to explain.
    pub contributions: Vec<Contribution>,
    /// The same summed by sensor.
    pub by_sensor: BTreeMap<String, f64>,
    /// The same in words, the heaviest first.
    pub sensors: Vec<SensorShare>,
}

/// Risk of one reading, without history: `{"flow":120,"pressure":7,"vibration":2,"temperature":45}`.
///
/// Words are given in French and English, whatever `Accept-Language`. A reading far outside all that the model learnt from is answered with
/// the level `unknown` and the reason in `doubts`, instead of with a number.
#[utoipa::path(
    post, path = "/predict", tag = "prediction",
    request_body(content = super::readings::SensorValues, content_type = "application/json"),
    responses(
        (status = 200, body = Prediction),
        (status = 503, description = "The breaker is open: the reason, and `Retry-After`", body = Problem,
         content_type = "application/problem+json"),
        (status = "default", response = Problem)
    ),
    security(("key" = []), ("bearer" = []))
)]
pub async fn predict(
    State(door): State<Door>,
    _: Caller<Read>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    ask::media_type(&headers, &["application/json"])?;
    let model = &door.app.parts.model;
    if let Err(seconds) = model.scoring.admit(door.app.now()) {
        let reason = model.scoring.standing().reason.clone().unwrap_or_default();
        return Err(Problem::suspended(&reason, seconds));
    }
    let reading =
        wire::decode_values(&body, &model.blueprint.definition, door.app.now()).map_err(|r| Problem::from(&r))?;
    let json = serde_json::to_vec(&answer(&reading, model)).map_err(|error| Problem::internal(error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
}

fn answer(reading: &twin::reading::Reading, model: &ServedModel) -> Prediction {
    let ServedModel { scorer, blueprint, .. } = model;
    let schema = &blueprint.schema;
    let mut windows = Windows::new(&blueprint.definition);
    windows.absorb(reading, &blueprint.decays);
    let mut row = Vec::with_capacity(schema.stride());
    windows.write_row(reading.recorded_at, &blueprint.definition, schema, &mut row);
    if let Some(apart) = scorer.strange(&row) {
        return unknown(Doubt::strange(apart, model), model);
    }
    let mut scores = Vec::with_capacity(1);
    scorer.score(&row, schema.stride(), &mut scores);
    let score = scores[0];
    let weights = scorer.explain(&row[..schema.width()]);
    let contributions =
        contributions_in_words(schema.features.iter().map(|feature| feature.id).zip(weights), blueprint);
    let level = scorer.thresholds().level(score.risk);
    Prediction {
        risk: Some(score.risk),
        probability: scorer.probability(score.risk),
        spread: Some(score.spread),
        level: level.into(),
        verdict: level.verdict(),
        model: scorer.model().to_string(),
        base_rate: scorer.base_rate(),
        doubts: Vec::new(),
        words: words::summary(score.risk, scorer.base_rate(), &contributions, &blueprint.definition),
        by_sensor: by_sensor(&contributions).into_iter().map(|(sensor, sum)| (sensor.to_owned(), sum)).collect(),
        sensors: shares(&contributions, blueprint),
        contributions,
    }
}

/// The answer where no number can be believed.
fn unknown(doubt: Doubt, model: &ServedModel) -> Prediction {
    Prediction {
        risk: None,
        probability: None,
        spread: None,
        level: Level::Unknown.into(),
        verdict: Level::Unknown.verdict(),
        model: model.scorer.model().to_string(),
        base_rate: model.scorer.base_rate(),
        words: Words::new(words::sentence(&doubt.words.fr) + ".", words::sentence(&doubt.words.en) + "."),
        doubts: vec![doubt],
        contributions: Vec::new(),
        by_sensor: BTreeMap::new(),
        sensors: Vec::new(),
    }
}
