//! `POST /predict`: the risk of one reading without a history. Nothing is recorded.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::collections::BTreeMap;
use twin::features::Windows;
use twin::wire;
use utoipa::ToSchema;

use super::{Door, ServedModel, ask};
use crate::auth::extract::{Caller, Read};
use crate::problem::Problem;
use crate::render::{Contribution, LevelName, by_sensor, contributions};

/// The answer for one reading.
#[derive(Debug, Serialize, ToSchema)]
pub struct Prediction {
    /// Share of the trees that vote for a failure.
    pub risk: f32,
    /// Chance of a failure that this risk stands for; `null` where the model was not calibrated.
    #[schema(required)]
    pub probability: Option<f32>,
    /// Standard deviation of the trees' answers.
    pub spread: f32,
    /// The level of this risk.
    pub level: LevelName,
    /// The same for people.
    #[schema(example = "OPÉRATION NOMINALE")]
    pub verdict: &'static str,
    /// Id of the model.
    pub model: String,
    /// The model's mean risk, where the explanation starts.
    pub base_rate: f64,
    /// What each feature adds; the sum is the risk minus the base rate.
    pub contributions: Vec<Contribution>,
    /// The same summed by sensor.
    pub by_sensor: BTreeMap<String, f64>,
}

/// Risk of one reading, without history: `{"flow":120,"pressure":7,"vibration":2,"temperature":45}`.
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
    let mut scores = Vec::with_capacity(1);
    scorer.score(&row, schema.stride(), &mut scores);
    let score = scores[0];
    let weights = scorer.explain(&row[..schema.width()]);
    let contributions = contributions(schema.features.iter().map(|feature| feature.id).zip(weights), blueprint);
    let level = scorer.thresholds().level(score.risk);
    Prediction {
        risk: score.risk,
        probability: scorer.probability(score.risk),
        spread: score.spread,
        level: level.into(),
        verdict: level.verdict(),
        model: scorer.model().to_string(),
        base_rate: scorer.base_rate(),
        by_sensor: by_sensor(&contributions).into_iter().map(|(sensor, sum)| (sensor.to_owned(), sum)).collect(),
        contributions,
    }
}
