//! The caller of a route, as an argument of its handler: a handler that names `Caller<Operate>` cannot run for anybody else.

use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};

use super::{Principal, Scope};
use crate::http::Door;
use crate::problem::Problem;

/// Name of the Monitor's session cookie.
pub const COOKIE: &str = "cidp_session";

/// A scope as a type.
pub trait Needs: Send + Sync + 'static {
    /// The scope.
    const SCOPE: Scope;
}

macro_rules! scope {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;

        impl Needs for $name {
            const SCOPE: Scope = Scope::$name;
        }
    };
}

scope! {
    /// See [`Scope::Read`].
    Read
}
scope! {
    /// See [`Scope::Ingest`].
    Ingest
}
scope! {
    /// See [`Scope::Operate`].
    Operate
}
scope! {
    /// See [`Scope::Admin`].
    Admin
}

/// Whoever calls, with at least the scope `S`.
#[derive(Debug)]
pub struct Caller<S> {
    /// Who.
    pub principal: Principal,
    scope: PhantomData<S>,
}

impl<S: Needs> FromRequestParts<Door> for Caller<S> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, door: &Door) -> Result<Self, Problem> {
        let principal = identify(&parts.method, &parts.headers, door).ok_or_else(Problem::unauthorized)?;
        admit(&principal, door)?;
        if !principal.scopes.allow(S::SCOPE) {
            return Err(Problem::forbidden(S::SCOPE.name()));
        }
        // For the addressee of the request, who must be one that the caller sees.
        parts.extensions.insert(principal.clone());
        Ok(Self { principal, scope: PhantomData })
    }
}

impl<S> Caller<S> {
    /// Refuses a key that sees some locomotives only: what is asked concerns all of them.
    ///
    /// # Errors
    /// 403.
    pub fn sees_all(&self) -> Result<(), Problem> {
        if self.principal.reach.is_whole() { Ok(()) } else { Err(Problem::limited()) }
    }
}

/// Counts a request of somebody who may come in.
///
/// # Errors
/// 429 with the seconds to wait.
pub fn admit(principal: &Principal, door: &Door) -> Result<(), Problem> {
    let too_fast =
        |seconds| Problem::too_many("this key asks more often than its rate allows; ask again later", seconds);
    principal.admit(door.app.now()).map_err(too_fast)
}

/// Finds who calls: by key anywhere, by session cookie at the Monitor's door.
pub fn identify(method: &Method, headers: &HeaderMap, door: &Door) -> Option<Principal> {
    if let Some(key) = key_of(headers) {
        return door.app.parts.keys.principal(key, door.app.now());
    }
    let session = cookie_of(headers).filter(|_| door.browser)?;
    if *method != Method::GET && !same_origin(headers) {
        return None;
    }
    door.app.sessions.holder(session, (door.app.parts.clock)())
}

/// The key of a request, as `X-API-KEY` or as a bearer token.
fn key_of(headers: &HeaderMap) -> Option<&str> {
    if let Some(key) = headers.get("x-api-key") {
        return key.to_str().ok();
    }
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

/// The Monitor's session.
pub fn cookie_of(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

/// Whether a browser's request comes from a page of this very address; a request without an origin comes from no page.
pub fn same_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host) == host
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (axum::http::HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn keys_come_in_two_ways() {
        assert_eq!(key_of(&headers(&[("x-api-key", "a")])), Some("a"));
        assert_eq!(key_of(&headers(&[("authorization", "bearer b")])), Some("b"));
        assert_eq!(key_of(&headers(&[("authorization", "Basic b")])), None);
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        assert_eq!(cookie_of(&headers(&[("cookie", "x=1; cidp_session=abc; y=2")])), Some("abc"));
        assert_eq!(cookie_of(&headers(&[("cookie", "x=1")])), None);
    }

    #[test]
    fn another_origin_is_told_apart() {
        assert!(same_origin(&headers(&[("host", "localhost:8501")])));
        assert!(same_origin(&headers(&[("host", "localhost:8501"), ("origin", "http://localhost:8501")])));
        assert!(!same_origin(&headers(&[("host", "localhost:8501"), ("origin", "http://evil.example")])));
        assert!(!same_origin(&headers(&[("host", "localhost:8501"), ("origin", "null")])));
    }
}
