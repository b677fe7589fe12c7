//! Reading what a request asks: queries, times, bodies. Errors name the place.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use twin::ids::LocomotiveId;
use twin::instant::{self, Millis};
use utoipa::ToSchema;

use super::Door;
use crate::auth::Principal;
use crate::problem::Problem;

/// Entries of a list where `limit` is not given.
pub const LIMIT_DEFAULT: usize = 100;
/// Entries of a list at most.
pub const LIMIT_MOST: usize = 1_000;

/// A query string; what does not fit is 422 like a body.
#[derive(Debug)]
pub struct Asked<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Door> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Door) -> Result<Self, Problem> {
        Query::try_from_uri(&parts.uri)
            .map(|Query(query)| Self(query))
            .map_err(|rejection| Problem::misfit("query", rejection.body_text()))
    }
}

/// The locomotive of the address, after the caller: one that it does not see is 404, like any that is not there or can be nobody's id.
#[derive(Debug)]
pub struct Addressee(pub LocomotiveId);

impl FromRequestParts<Door> for Addressee {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, door: &Door) -> Result<Self, Problem> {
        let Path(id): Path<String> = Path::from_request_parts(parts, door)
            .await
            .map_err(|rejection| Problem::not_found(rejection.body_text()))?;
        let id = LocomotiveId::parse(&id).map_err(|error| Problem::not_found(error.to_string()))?;
        match parts.extensions.get::<Principal>() {
            Some(principal) if principal.sees(id.as_str()) => Ok(Self(id)),
            Some(_) => Err(Problem::no_locomotive(id.as_str())),
            None => Err(Problem::internal("the handler names the addressee before the caller")),
        }
    }
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// Give it back to get the next page; `null` on the last.
    #[schema(required)]
    pub next: Option<String>,
    /// Entries that match, on all pages.
    pub count: usize,
}

/// The limit of a list.
pub fn limit(asked: Option<usize>) -> Result<usize, Problem> {
    match asked {
        None => Ok(LIMIT_DEFAULT),
        Some(limit) if (1..=LIMIT_MOST).contains(&limit) => Ok(limit),
        Some(limit) => Err(Problem::misfit("limit", format!("expected 1 to {LIMIT_MOST}, got {limit}"))),
    }
}

/// A moment in a query.
pub fn time(name: &str, text: &str) -> Result<Millis, Problem> {
    let expected = || format!("expected RFC 3339 (2026-02-01T08:00:00Z) or epoch milliseconds, got {text:?}");
    // A plus sign that was not escaped arrives as a space.
    instant::parse(text)
        .or_else(|| instant::parse(&text.replace(' ', "+")))
        .ok_or_else(|| Problem::misfit(name, expected()))
}

/// A moment in a query that need not be there.
pub fn time_maybe(name: &str, text: Option<&str>) -> Result<Option<Millis>, Problem> {
    text.map(|text| time(name, text)).transpose()
}

/// A list in one parameter, separated by commas.
pub fn list(text: Option<&str>) -> Option<Vec<String>> {
    let split =
        |text: &str| text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect();
    text.map(split).filter(|parts: &Vec<_>| !parts.is_empty())
}

/// Which of the media types `accepted` a body has; one without a content type is the first of them.
pub fn media_type<'a>(headers: &HeaderMap, accepted: &[&'a str]) -> Result<&'a str, Problem> {
    let Some(given) = headers.get(header::CONTENT_TYPE) else {
        return Ok(accepted[0]);
    };
    let given = given.to_str().unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    let found = accepted.iter().find(|accepted| accepted.eq_ignore_ascii_case(essence));
    found.copied().ok_or_else(|| Problem::unsupported_media_type(&accepted.join(" or "), given))
}

/// Reads a JSON body; what does not fit is 422 and names the place.
pub fn json<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Problem> {
    media_type(headers, &["application/json"])?;
    serde_json::from_slice(body).map_err(|error| {
        let message = error.to_string();
        // serde names the field in backticks; its place in the text is the rest of the message.
        let field = message.split('`').nth(1).unwrap_or_default();
        Problem::misfit(field, message.as_str())
    })
}

/// Whether a condition such as `If-None-Match` names this `ETag`.
pub fn names_etag(headers: &HeaderMap, name: header::HeaderName, etag: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|line| line.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn etags_are_found_in_lists() {
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static("\"1\", W/\"2\""));
        assert!(names_etag(&headers, header::IF_NONE_MATCH, "\"2\""));
        assert!(!names_etag(&headers, header::IF_NONE_MATCH, "\"3\""));
    }

    #[test]
    fn a_limit_is_refused_outside_its_range() {
        assert_eq!(limit(None).ok(), Some(LIMIT_DEFAULT));
        assert_eq!(limit(Some(1_000)).ok(), Some(1_000));
        assert_eq!(limit(Some(0)).map_err(|p| p.status), Err(422));
        assert_eq!(limit(Some(1_001)).map_err(|p| p.status), Err(422));
    }

    #[test]
    fn an_unescaped_offset_is_understood() {
        assert_eq!(time("at", "2026-02-01T09:00:00 01:00").ok(), Some(1_769_932_800_000));
        assert!(time("at", "soon").is_err());
    }
}
