//! Errors as people and programs read them over HTTP: RFC 9457 `application/problem+json` with a stable `type`. What went wrong is
//! decided where it went wrong; here it only gets its form.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use twin::refusal::{CommandRefusal, Refusal};
use utoipa::ToSchema;

/// The media type of every error.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// An error of the API.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Problem {
    /// Stable name of this kind of problem, a relative URI.
    #[serde(rename = "type")]
    #[schema(example = "/problems/unauthorized")]
    pub kind: &'static str,
    /// The kind in words.
    pub title: &'static str,
    /// HTTP status.
    pub status: u16,
    /// What was expected, what came, what to do.
    pub detail: String,
    /// What does not fit, place by place.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Misfit>,
    #[serde(skip)]
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// One place of a body or query that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Misfit {
    /// Where.
    #[schema(example = "vibration")]
    pub path: String,
    /// What was expected and what came.
    pub message: String,
}

impl Problem {
    fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { kind, title, status: status.as_u16(), detail: detail.into(), errors: Vec::new(), headers: Vec::new() }
    }

    /// No key, or a wrong one.
    pub fn unauthorized() -> Self {
        let detail = "expected a valid key in the header X-API-KEY or as Authorization: Bearer KEY";
        let mut problem =
            Self::new(StatusCode::UNAUTHORIZED, "/problems/unauthorized", "A valid key is needed", detail);
        problem.headers.push((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        problem
    }

    /// A key without the scope.
    pub fn forbidden(scope: &str) -> Self {
        let detail = format!("this key lacks the scope `{scope}`; use one that has it");
        Self::new(StatusCode::FORBIDDEN, "/problems/forbidden", "The key does not allow this", detail)
    }

    /// A key that sees some locomotives only, where all are concerned.
    pub fn limited() -> Self {
        let detail = "this key sees some locomotives only, and this concerns all of them; use one without such a limit";
        Self::new(StatusCode::FORBIDDEN, "/problems/forbidden", "The key does not allow this", detail)
    }

    /// Nothing here.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "/problems/not-found", "Not found", detail)
    }

    /// It was here, and was dropped for good.
    pub fn gone(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "/problems/gone", "No longer kept", detail)
    }

    /// There is no such locomotive.
    pub fn no_locomotive(id: &str) -> Self {
        Self::not_found(format!("there is no locomotive {id:?}"))
    }

    /// A body or query that does not fit, at one place.
    pub fn misfit(path: &str, message: impl Into<String>) -> Self {
        Self::misfits(vec![Misfit { path: path.to_owned(), message: message.into() }])
    }

    /// A body or query that does not fit.
    pub fn misfits(errors: Vec<Misfit>) -> Self {
        let detail = errors.iter().map(|e| format!("{}: {}", e.path, e.message)).collect::<Vec<_>>().join("; ");
        let title = "The request does not fit";
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "/problems/unprocessable", title, detail) }
    }

    /// A condition of the request does not hold.
    pub fn precondition_failed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, "/problems/precondition-failed", "The state is another one", detail)
    }

    /// The request and the state do not go together.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "/problems/conflict", "The state forbids it", detail)
    }

    /// A body of another media type.
    pub fn unsupported_media_type(expected: &str, got: &str) -> Self {
        let detail = format!("expected content-type {expected}, got {got:?}");
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "/problems/unsupported-media-type",
            "Unsupported media type",
            detail,
        )
    }

    /// More in one body than is taken at once.
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::of_status(StatusCode::PAYLOAD_TOO_LARGE, detail.into())
    }

    /// More came than can be made durable; come back after `seconds`.
    pub fn too_many(detail: impl Into<String>, seconds: u32) -> Self {
        let mut problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "/problems/too-many", "Too much at once", detail);
        problem.headers.push((header::RETRY_AFTER, HeaderValue::from(seconds)));
        problem
    }

    /// Something that is needed is not there now.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        let mut problem =
            Self::new(StatusCode::SERVICE_UNAVAILABLE, "/problems/unavailable", "Not available at the moment", detail);
        problem.headers.push((header::RETRY_AFTER, HeaderValue::from(1)));
        problem
    }

    /// Scores are held back; come back after `seconds`.
    pub fn suspended(reason: &str, seconds: u32) -> Self {
        let detail =
            format!("the breaker is not closed ({reason}): no score is given out until it is; readings are recorded");
        let title = "Scoring is suspended";
        let mut problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "/problems/scoring-suspended", title, detail);
        problem.headers.push((header::RETRY_AFTER, HeaderValue::from(seconds)));
        problem
    }

    /// The fault is here.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "/problems/internal", "A fault of the server", detail)
    }

    /// The problem behind a plain status of the framework.
    pub(crate) fn of_status(status: StatusCode, detail: String) -> Self {
        let (name, title) = match status {
            StatusCode::NOT_FOUND => ("/problems/not-found", "Not found"),
            StatusCode::METHOD_NOT_ALLOWED => ("/problems/method-not-allowed", "Method not allowed"),
            StatusCode::PAYLOAD_TOO_LARGE => ("/problems/too-large", "The body is too large"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => ("/problems/unsupported-media-type", "Unsupported media type"),
            StatusCode::UNPROCESSABLE_ENTITY => ("/problems/unprocessable", "The request does not fit"),
            StatusCode::UPGRADE_REQUIRED => ("/problems/upgrade-required", "A WebSocket is expected"),
            StatusCode::REQUEST_TIMEOUT => ("/problems/timeout", "The request took too long"),
            _ if status.is_server_error() => ("/problems/internal", "A fault of the server"),
            _ => ("/problems/bad-request", "The request cannot be understood"),
        };
        let detail = if detail.is_empty() { title.to_owned() } else { detail };
        Self::new(status, name, title, detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

impl From<&Refusal> for Problem {
    fn from(refusal: &Refusal) -> Self {
        let path = match refusal {
            Refusal::WrongType { field, .. } | Refusal::GivenTwice { field } => field,
            Refusal::OutOfRange { sensor, .. } => sensor,
            Refusal::NoId | Refusal::WrongId(_) | Refusal::OtherId { .. } | Refusal::NotAllowed { .. } => {
                "locomotive_id"
            }
            Refusal::NoTime | Refusal::AbsurdTime { .. } | Refusal::Future { .. } | Refusal::TooLate { .. } => {
                "recorded_at"
            }
            _ => "",
        };
        let message = refusal.to_string();
        let prefix = format!("{path}: ");
        Self::misfit(path, message.strip_prefix(&prefix).unwrap_or(&message))
    }
}

impl From<&CommandRefusal> for Problem {
    fn from(refusal: &CommandRefusal) -> Self {
        match refusal {
            CommandRefusal::Unknown | CommandRefusal::NoSuchAlert => Self::not_found(refusal.to_string()),
            CommandRefusal::WrongTime { field, .. } => {
                let message = refusal.to_string();
                Self::misfit(field, message.strip_prefix(&format!("{field}: ")).unwrap_or(&message))
            }
            CommandRefusal::Retired => Self::conflict(refusal.to_string()),
        }
    }
}

/// Gives the framework's own refusals (unknown route, wrong method, body too large, …) the form of all the others, headers kept.
pub async fn in_one_form(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    let plain = |response: &Response| {
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        kind.is_none_or(|kind| kind.starts_with("text/plain"))
    };
    if !(status.is_client_error() || status.is_server_error()) || !plain(&response) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let text = axum::body::to_bytes(body, 4096).await.unwrap_or_default();
    parts.headers.remove(header::CONTENT_TYPE);
    parts.headers.remove(header::CONTENT_LENGTH);
    let mut problem = Problem::of_status(status, String::from_utf8_lossy(&text).into_owned()).into_response();
    for (name, value) in &parts.headers {
        problem.headers_mut().insert(name, value.clone());
    }
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        // The rest of the body is not read, so the connection ends: a client that is not told would use it again.
        problem.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    problem
}
