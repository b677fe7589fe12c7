//! `GET /model`: the model in force.

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::Door;
use crate::auth::extract::{Caller, Read};
use crate::problem::Problem;

/// The card of the model in force: id, base rate, thresholds, scores, where it comes from.
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
        let thresholds = serde_json::to_value(model.scorer.thresholds());
        card.insert("thresholds".to_owned(), thresholds.map_err(|error| Problem::internal(error.to_string()))?);
    }
    Ok(Json(card))
}
