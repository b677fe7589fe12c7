//! The API's own description: `OpenAPI` 3.1 from the code, and a small page that shows it. Nothing is loaded from elsewhere.

use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::Door;
use crate::live::frames;
use crate::problem::{MEDIA_TYPE, Misfit, Problem};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "CIDP",
        description = "Camrail Industrial Data Platform: one live digital twin for every locomotive of a fleet. \
                       WebSocket frames of /ws/fleet and /ws/twins/{id} are the component schemas that end in `Frame`."
    ),
    components(
        schemas(
            Problem, Misfit, frames::SnapshotFrame, frames::TwinsFrame, frames::RiskFrame, frames::AlertFrame, frames::GapFrame,
            frames::HeartbeatFrame, frames::ResumedFrame, frames::ScoringFrame, frames::FilterFrame
        ),
        responses(Problem)
    ),
    modifiers(&Keys)
)]
struct Preamble;

struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("key", SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-API-KEY"))));
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    }
}

impl<'r> utoipa::ToResponse<'r> for Problem {
    fn response() -> (&'r str, utoipa::openapi::RefOr<utoipa::openapi::Response>) {
        let schema = utoipa::openapi::Ref::from_schema_name("Problem");
        let content = utoipa::openapi::ContentBuilder::new().schema(Some(schema)).build();
        let response =
            utoipa::openapi::ResponseBuilder::new().description("What went wrong").content(MEDIA_TYPE, content).build();
        ("Problem", response.into())
    }
}

/// The document without its routes, which add themselves.
pub fn preamble() -> utoipa::openapi::OpenApi {
    Preamble::openapi()
}

/// The whole document as JSON.
pub fn document() -> String {
    let (_, document) = super::routes().split_for_parts();
    document.to_json().expect("a document of strings and numbers is always JSON")
}

/// This description as `OpenAPI`.
#[utoipa::path(get, path = "/openapi.json", tag = "docs", responses((status = 200, body = Object)))]
pub async fn openapi(State(door): State<Door>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], door.app.document.clone()).into_response()
}

/// This description as a page.
#[utoipa::path(get, path = "/docs", tag = "docs", responses((status = 200, body = String, content_type = "text/html")))]
pub async fn page() -> Response {
    let policy = "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; \
         frame-ancestors 'none'";
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(include_str!("docs.html"))).into_response()
}

/// The script of that page.
#[utoipa::path(get, path = "/docs/docs.js", tag = "docs", responses((status = 200, body = String, content_type = "text/javascript")))]
pub async fn script() -> Response {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("docs.js")).into_response()
}
