//! What every answer tells browsers and caches, and which pages of other addresses may ask. Pages set a policy of their own.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Door;

/// Answers of the API are data: nothing in them is run, loaded or framed.
const POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
/// Set on every answer that does not say otherwise itself. What was answered to one key is nobody else's.
const ALWAYS: [(HeaderName, HeaderValue); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// Sets the headers that every answer has.
pub(super) async fn on_every_answer(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in ALWAYS {
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}

/// Lets pages of the origins in `http.cors` ask, with a key of theirs; no cookie of ours goes with it. Without such origins, and at the door
/// where a cookie counts, no page of another address reads anything.
pub(super) async fn across_origins(State(door): State<Door>, request: Request, next: Next) -> Response {
    let named = |origin: &HeaderValue| door.app.parts.origins.iter().any(|known| known.as_bytes() == origin.as_bytes());
    let origin = request.headers().get(header::ORIGIN).filter(|origin| !door.browser && named(origin)).cloned();
    let Some(origin) = origin else {
        return next.run(request).await;
    };
    let asks_first =
        *request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if asks_first { preflight() } else { next.run(request).await };
    tell(response.headers_mut(), origin);
    response
}

fn tell(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    let exposed = HeaderValue::from_static("ETag, Retry-After, X-State-Hash");
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
}

/// The answer to a browser that asks whether it may ask.
fn preflight() -> Response {
    let allowed = "X-API-KEY, Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID";
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PUT, DELETE"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, allowed),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}
