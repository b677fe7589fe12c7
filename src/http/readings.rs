//! `POST /readings`: each element is decoded on its own, so that one bad reading never spoils the rest, and what is refused is kept.

use actors::{Batch, DeadLetter, IngestError, Source};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use twin::event::Cause;
use twin::ids::LocomotiveId;
use twin::instant::Millis;
use twin::refusal::Refusal;
use twin::wire;
use utoipa::ToSchema;

use super::Door;
use super::ask::{self, Addressee};
use crate::auth::extract::{Caller, Ingest};
use crate::dead_letters::VALUE_MOST;
use crate::problem::Problem;
use crate::split::{SplitError, elements, lines};

/// Name of this source in dead letters, events and metrics.
pub const SOURCE: &str = "http";
/// Most readings of one body: each that is refused costs many times its bytes, for its reason, its letter and its line of the receipt.
const READINGS_MOST: usize = 50_000;
/// Longest message to one refused reading, in characters.
const MESSAGE_CHARACTERS: usize = 300;

/// Sensor values by key; the keys are those of the asset definition, these are the default's.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"flow": 120.0, "pressure": 7.0, "vibration": 2.0, "temperature": 45.0}))]
pub struct SensorValues {
    /// L/min, 0 to 300.
    #[schema(minimum = 0, maximum = 300)]
    flow: Option<f32>,
    /// bar, 0 to 20.
    #[schema(minimum = 0, maximum = 20)]
    pressure: Option<f32>,
    /// mm/s RMS, 0 to 50.
    #[schema(minimum = 0, maximum = 50)]
    vibration: Option<f32>,
    /// °C, -20 to 150.
    #[schema(minimum = -20, maximum = 150)]
    temperature: Option<f32>,
}

/// One reading.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReadingBody {
    /// The locomotive; may be left out where the address names it.
    #[schema(pattern = "^[A-Za-z0-9._-]{1,64}$", example = "CC-2201")]
    locomotive_id: Option<String>,
    /// RFC 3339, or epoch milliseconds.
    #[schema(example = "2026-02-01T08:00:00.000Z")]
    recorded_at: String,
    /// Degrees, WGS 84.
    latitude: Option<f32>,
    /// Degrees, WGS 84.
    longitude: Option<f32>,
    /// km/h.
    speed: Option<f32>,
    #[serde(flatten)]
    sensors: SensorValues,
}

/// One reading, or several.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum ReadingsBody {
    /// Several.
    Many(Vec<ReadingBody>),
    /// One.
    One(ReadingBody),
}

/// What became of a batch.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Receipt {
    /// Readings recorded, durably.
    pub accepted: u32,
    /// Readings known already.
    pub duplicates: u32,
    /// Readings refused; each is kept as a dead letter.
    pub rejected: Vec<Rejected>,
}

/// A refused reading.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Rejected {
    /// Its place in the batch, from 0.
    pub index: usize,
    /// Stable code.
    #[schema(example = "out_of_range")]
    pub reason: &'static str,
    /// What was expected and what came.
    pub message: String,
}

/// Readings of any locomotives: an array, one object, or a line each (`application/x-ndjson`).
#[utoipa::path(
    post, path = "/readings", tag = "readings",
    request_body(content((ReadingsBody = "application/json"), (String = "application/x-ndjson"))),
    responses((status = 202, description = "Durable", body = Receipt), (status = "default", response = Problem)),
    security(("key" = []), ("bearer" = []))
)]
pub async fn batch(
    State(door): State<Door>,
    caller: Caller<Ingest>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<Receipt>), Problem> {
    take(&door, &caller, &headers, &body, None).await
}

/// Readings of one locomotive; their `locomotive_id` may be left out.
#[utoipa::path(
    post, path = "/twins/{id}/readings", tag = "readings", params(("id" = String, Path, description = "The locomotive")),
    request_body(content((ReadingsBody = "application/json"), (String = "application/x-ndjson"))),
    responses((status = 202, description = "Durable", body = Receipt), (status = "default", response = Problem)),
    security(("key" = []), ("bearer" = []))
)]
pub async fn of_one(
    State(door): State<Door>,
    caller: Caller<Ingest>,
    Addressee(id): Addressee,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<Receipt>), Problem> {
    take(&door, &caller, &headers, &body, Some(&id)).await
}

async fn take(
    door: &Door,
    caller: &Caller<Ingest>,
    headers: &HeaderMap,
    body: &[u8],
    address: Option<&LocomotiveId>,
) -> Result<(StatusCode, Json<Receipt>), Problem> {
    let parts = match ask::media_type(headers, &["application/json", "application/x-ndjson"])? {
        "application/json" => elements(body, READINGS_MOST),
        _ => lines(body, READINGS_MOST),
    };
    let parts = parts.map_err(|error| match error {
        SplitError::TooMany { .. } => Problem::too_large(error.to_string()),
        SplitError::Shape { .. } | SplitError::Broken { .. } => Problem::misfit("", error.to_string()),
    })?;
    let received_at = door.app.now();
    let definition = &door.app.parts.model.blueprint.definition;
    let mut readings = Vec::with_capacity(parts.len());
    let mut places = Vec::with_capacity(parts.len());
    let mut receipt = Receipt::default();
    let mut letters = Vec::new();
    for (index, part) in parts.into_iter().enumerate() {
        match wire::decode(part, definition, received_at, address) {
            Ok(reading) if caller.principal.sees(reading.id.as_str()) => {
                readings.push(reading);
                places.push(index);
            }
            Ok(reading) => {
                let refusal = Refusal::NotAllowed { id: reading.id.to_string() };
                letters.push(letter(&refusal, received_at, part));
                receipt.rejected.push(rejected(index, &refusal));
            }
            Err(refusal) => {
                letters.push(letter(&refusal, received_at, part));
                receipt.rejected.push(rejected(index, &refusal));
            }
        }
    }
    if !readings.is_empty() {
        let source = Source { topic: SOURCE.to_owned(), partition: 0, offsets: (0, 0) };
        let cause = Cause { actor: caller.principal.actor.to_string(), ..Cause::of(SOURCE) };
        let outcome =
            door.app.parts.fleet.ingest(Batch { readings, source, cause }).await.map_err(|e| ingest_problem(&e))?;
        receipt.accepted = outcome.accepted;
        receipt.duplicates = outcome.duplicates;
        receipt.rejected.extend(outcome.rejected.iter().map(|(index, refusal)| rejected(places[*index], refusal)));
        receipt.rejected.sort_by_key(|rejected| rejected.index);
    }
    // Last, so that a batch sent again after 429 leaves its letters once; a batch sent again after this fails is known already.
    keep(door, letters).await?;
    Ok((StatusCode::ACCEPTED, Json(receipt)))
}

/// Keeps refused elements before anybody is told that they were taken care of.
async fn keep(door: &Door, letters: Vec<DeadLetter>) -> Result<(), Problem> {
    if letters.is_empty() {
        return Ok(());
    }
    metrics::counter!("cidp_readings_total", "source" => SOURCE, "outcome" => "refused")
        .increment(letters.len() as u64);
    let unkept =
        |error: &dyn std::fmt::Display| Problem::unavailable(format!("refused readings could not be kept: {error}"));
    door.app.parts.dead_letters.keep(letters).await.map_err(|error| unkept(&error))
}

fn letter(refusal: &Refusal, received_at: Millis, value: &[u8]) -> DeadLetter {
    DeadLetter {
        reason: refusal.code().to_owned(),
        message: message(refusal),
        received_at,
        source: SOURCE.to_owned(),
        topic: SOURCE.to_owned(),
        partition: 0,
        offset: 0,
        value: value[..value.len().min(VALUE_MOST)].to_vec(),
    }
}

fn rejected(index: usize, refusal: &Refusal) -> Rejected {
    Rejected { index, reason: refusal.code(), message: message(refusal) }
}

/// A message that repeats what came only so far.
fn message(refusal: &Refusal) -> String {
    let mut message = refusal.to_string();
    if let Some((end, _)) = message.char_indices().nth(MESSAGE_CHARACTERS) {
        message.truncate(end);
        message.push('…');
    }
    message
}

fn ingest_problem(error: &IngestError) -> Problem {
    match error {
        IngestError::Overloaded { .. } => Problem::too_many(error.to_string(), 1),
        IngestError::Unavailable { .. } | IngestError::Stopping => Problem::unavailable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_repeats_a_long_value_only_so_far() {
        let refusal = Refusal::NotJson { message: "é".repeat(100_000) };
        let told = rejected(0, &refusal).message;
        assert_eq!(told.chars().count(), MESSAGE_CHARACTERS + 1);
        assert_eq!(letter(&refusal, 0, b"x").message, told);
        assert_eq!(message(&Refusal::NoId), Refusal::NoId.to_string());
    }
}
