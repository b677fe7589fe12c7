//! `/log`: the log as whoever keeps it sees it, while the server holds it. The same as `cidp log`, which asks here.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use journal::backup::{BackupError, Writer};
use serde_json::json;

use super::{Door, ask};
use crate::auth::extract::{Admin, Caller};
use crate::keeping::request::{BackupRequest, Since};
use crate::keeping::stats::{LogStats, Survey};
use crate::problem::Problem;

/// Media type of a backup.
const BACKUP: &str = "application/octet-stream";
/// Media type of a survey.
const LINES: &str = "application/x-ndjson";

/// A backup of everything durable now, or of what came after an earlier one. Appends do not wait for it.
#[utoipa::path(
    post, path = "/log/backups", tag = "operations",
    request_body(content = BackupRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "The backup, whole only if it ends with its seal (docs/log.md)", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = "default", response = Problem)
    ),
    security(("key" = []), ("bearer" = []))
)]
pub async fn backup(
    State(door): State<Door>,
    _: Caller<Admin>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    ask::media_type(&headers, &["application/json"])?;
    let request: BackupRequest =
        serde_json::from_slice(&body).map_err(|error| Problem::misfit("", error.to_string()))?;
    let base = request.since.as_ref().map(Since::base).transpose();
    let base = base.map_err(|message| Problem::misfit("since", message))?;
    let journal = Arc::clone(&door.app.parts.journal);
    let begun = Writer::begin(journal, base, request.texts, door.app.now()).await;
    let writer = begun.map_err(|error| match error {
        BackupError::OtherLog { .. } | BackupError::OtherShards { .. } => Problem::conflict(error.to_string()),
        error => Problem::unavailable(error.to_string()),
    })?;
    let bytes = stream::try_unfold(writer, |mut writer| async move {
        let start = Instant::now();
        let next = writer.next().await.map_err(|error| {
            tracing::error!(%error, "a backup could not be written to its end");
            error
        })?;
        rest_after(start).await;
        Ok::<_, BackupError>(next.map(|bytes| (bytes, writer)))
    });
    Ok(([(header::CONTENT_TYPE, BACKUP)], Body::from_stream(bytes)).into_response())
}

/// What the log holds and what it costs, as lines of JSON: `{"read":n,"of":m}` while all records are read, then the figures.
#[utoipa::path(
    get, path = "/log/stats", tag = "operations",
    responses(
        (status = 200, description = "Lines of progress, then the figures", body = LogStats, content_type = "application/x-ndjson"),
        (status = "default", response = Problem)
    ),
    security(("key" = []), ("bearer" = []))
)]
pub async fn stats(State(door): State<Door>, _: Caller<Admin>) -> Result<Response, Problem> {
    let parts = &door.app.parts;
    let log = parts
        .disk
        .clone()
        .ok_or_else(|| Problem::conflict("expected log.kind = embedded; this log is kept in memory"))?;
    let keep_from = parts.retention.map(|retention| door.app.now() - retention);
    let begun = Survey::begin(log, keep_from).await.map_err(|error| Problem::unavailable(error.to_string()))?;
    let lines = stream::try_unfold(Some(begun), |survey| async move {
        let Some(mut survey) = survey else { return Ok(None) };
        let start = Instant::now();
        if survey.step().await? {
            rest_after(start).await;
            let (read, of) = survey.progress();
            return Ok(Some((line(&json!({"read": read, "of": of})), Some(survey))));
        }
        let stats = survey.finish().await?;
        let Json(stats) = Json(serde_json::to_value(stats).unwrap_or_default());
        Ok::<_, journal::error::ReadError>(Some((line(&stats), None)))
    });
    Ok(([(header::CONTENT_TYPE, LINES)], Body::from_stream(lines)).into_response())
}

/// Leaves the cores to the readings: whoever reads the whole log works for a third of the time at most.
async fn rest_after(start: Instant) {
    tokio::time::sleep(2 * start.elapsed()).await;
}

fn line(value: &serde_json::Value) -> Bytes {
    Bytes::from(format!("{value}\n"))
}
