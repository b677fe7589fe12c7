//! `/alerts`: what is open, and taking notice of it.

use actors::TwinView;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use twin::alert;
use twin::command::Command;
use twin::level::Level;
use utoipa::{IntoParams, ToSchema};

use super::ask::{self, Asked, Page};
use super::commands::{cause_of, command_problem};
use super::{Door, Parts, ServedModel, notes};
use crate::auth::extract::{Caller, Operate, Read};
use crate::problem::Problem;
use crate::render::LevelName;
use crate::render::twin::Alert;

/// An open alert and whose it is.
#[derive(Debug, Serialize, ToSchema)]
pub struct OpenAlert {
    /// The locomotive.
    pub locomotive_id: String,
    /// How the locomotive stands now.
    pub level: LevelName,
    /// Its risk now.
    #[schema(required)]
    pub risk: Option<f32>,
    /// The alert.
    #[serde(flatten)]
    pub alert: Alert,
    /// The alert's own `ETag`, for `If-Match`.
    pub etag: String,
}

impl OpenAlert {
    fn of(view: &TwinView, model: &ServedModel) -> Option<Self> {
        let alert = view.state.alert.as_ref()?;
        Some(Self {
            locomotive_id: view.id.to_string(),
            level: model.scoring.level(view.state.level).into(),
            risk: view
                .state
                .assessment
                .filter(|_| !model.scoring.is_suspended() && view.state.level != Level::Unknown)
                .map(|assessment| assessment.score.risk),
            alert: Alert::of(alert, model),
            etag: etag(alert),
        })
    }
}

/// The `ETag` of an alert: it changes with its severity and when somebody takes notice.
fn etag(alert: &alert::Alert) -> String {
    let state = if alert.acknowledged.is_some() { "acknowledged" } else { "raised" };
    format!("\"{}-{state}-{}\"", alert.id, alert.severity.name())
}

/// Which alerts.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AlertsQuery {
    /// `raised` or `acknowledged`; both if left out.
    state: Option<String>,
    /// Entries of a page, 1 to 1000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// The open alerts, by locomotive.
#[utoipa::path(
    get, path = "/alerts", tag = "alerts", params(AlertsQuery),
    responses((status = 200, body = inline(Page<OpenAlert>)), (status = "default", response = Problem)),
    security(("key" = []), ("bearer" = []))
)]
pub async fn list(
    State(door): State<Door>,
    caller: Caller<Read>,
    Asked(query): Asked<AlertsQuery>,
) -> Result<Json<Page<OpenAlert>>, Problem> {
    let limit = ask::limit(query.limit)?;
    let acknowledged = match query.state.as_deref() {
        None => None,
        Some("raised") => Some(false),
        Some("acknowledged") => Some(true),
        Some(other) => return Err(Problem::misfit("state", format!("expected raised or acknowledged, got {other:?}"))),
    };
    let mut found = Vec::new();
    door.app.parts.fleet.read(|view: &TwinView| {
        let Some(alert) = &view.state.alert else { return };
        if !caller.principal.sees(view.id.as_str()) {
            return;
        }
        if acknowledged.is_none_or(|wanted| wanted == alert.acknowledged.is_some()) {
            found.extend(OpenAlert::of(view, &door.app.parts.model));
        }
    });
    let count = found.len();
    found.sort_unstable_by(|a, b| a.locomotive_id.cmp(&b.locomotive_id));
    let after = query.cursor.unwrap_or_default();
    let mut items: Vec<_> = found.into_iter().filter(|alert| alert.locomotive_id > after).collect();
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|alert| alert.locomotive_id.clone());
    Ok(Json(Page { items, next, count }))
}

/// A word to an acknowledgement.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AcknowledgeBody {
    /// Free text; it stays erasable.
    #[serde(default)]
    #[schema(max_length = 10000)]
    comment: String,
}

/// Takes notice of an alert. `If-Match` makes sure that it is still the alert that was seen.
#[utoipa::path(
    post, path = "/alerts/{id}/acknowledge", tag = "alerts",
    params(
        ("id" = String, Path, description = "The alert"),
        ("If-Match" = Option<String>, Header, description = "The alert's ETag")
    ),
    request_body(content = Option<AcknowledgeBody>, content_type = "application/json"),
    responses((status = 200, description = "Durable", body = OpenAlert), (status = "default", response = Problem)),
    security(("key" = []), ("bearer" = []))
)]
pub async fn acknowledge(
    State(door): State<Door>,
    caller: Caller<Operate>,
    Path(alert): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: AcknowledgeBody = if body.is_empty() { AcknowledgeBody::default() } else { ask::json(&headers, &body)? };
    if body.comment.len() > 10_000 {
        return Err(Problem::misfit("comment", format!("expected at most 10000 bytes, got {}", body.comment.len())));
    }
    let none = || Problem::not_found(format!("there is no open alert {alert:?}"));
    let id = alert::locomotive_of(&alert).filter(|id| caller.principal.sees(id.as_str())).ok_or_else(none)?;
    let Parts { fleet, model, journal, .. } = &door.app.parts;
    let open =
        fleet.twin(id.as_str()).and_then(|view| view.state.alert).filter(|open| open.id == alert).ok_or_else(none)?;
    if headers.contains_key(header::IF_MATCH) && !ask::names_etag(&headers, header::IF_MATCH, &etag(&open)) {
        return Err(Problem::precondition_failed(format!("the alert's ETag is {} now; look at it again", etag(&open))));
    }
    let cause = cause_of(&caller, &headers, door.app.now(), ("acknowledge", &id))?;
    let comment = notes::keep(&**journal, &body.comment).await?;
    let command = Command::AcknowledgeAlert { alert: alert.clone(), comment: comment.clone() };
    let outcome = fleet.command(&id, command, cause).await;
    notes::settle(&**journal, fleet, &id, &comment, &outcome).await;
    outcome.map_err(|error| command_problem(&error))?;
    let now = fleet.twin(id.as_str()).and_then(|view| OpenAlert::of(&view, model)).ok_or_else(none)?;
    let tag = HeaderValue::from_str(&now.etag).map_err(|error| Problem::internal(error.to_string()))?;
    Ok(([(header::ETAG, tag)], Json(now)).into_response())
}
