//! `GET /model`: the model in force.

use axum::Json;
use axum::extract::State;
use models::drift::{FeatureDrift, LIMIT, WINDOW};
use serde_json::{Value, json};
use twin::instant::{self, SECOND};

use super::Door;
use crate::auth::extract::{Caller, Read};
use crate::breaker::Breaker;
use crate::problem::Problem;

/// How far the fleet has moved from the training data, as JSON.
fn drift(breaker: &Breaker) -> Value {
    let measure = breaker.drift();
    let state = match (measure.is_measured(), measure.drifted) {
        (false, _) => "measuring",
        (true, false) => "stable",
        (true, true) => "drifted",
    };
    let feature = |feature: &FeatureDrift| {
        let FeatureDrift { feature, psi, judged, .. } = feature;
        json!({"feature": feature, "psi": psi, "judged": judged})
    };
    json!({
        "state": state,
        "window_seconds": WINDOW / SECOND,
        "limit": LIMIT,
        "locomotives": measure.locomotives,
        "rows": measure.rows,
        "beyond_since": measure.beyond_since.map(instant::format),
        "features": measure.features.iter().map(feature).collect::<Vec<_>>(),
    })
}

/// The card of the model in force: id, base rate, thresholds, scores, where it comes from, and how far the fleet has drifted from it now.
#[utoipa::path(
    get, path = "/model", tag = "prediction",
    responses((status = 200, body = Object), (status = "default", response = Problem)),
    security(("key" = []), ("bearer" = []))
)]
pub async fn card(State(door): State<Door>, _: Caller<Read>) -> Result<Json<Value>, Problem> {
    let model = &door.app.parts.model;
    let mut card = model.card.clone();
    if let Some(card) = card.as_object_mut() {
        card.insert("id".to_owned(), model.scorer.model().to_string().into());
        card.insert("base_rate".to_owned(), model.scorer.base_rate().into());
        card.insert("drift".to_owned(), drift(&door.app.parts.breaker));
        let thresholds = serde_json::to_value(model.scorer.thresholds());
        card.insert("thresholds".to_owned(), thresholds.map_err(|error| Problem::internal(error.to_string()))?);
    }
    Ok(Json(card))
}
