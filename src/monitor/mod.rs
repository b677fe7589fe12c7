//! The page on the Monitor's port: the API's routes once more, a session cookie that stands for a key, and the page itself, embedded.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;

use crate::auth::extract::{COOKIE, admit, cookie_of, same_origin};
use crate::auth::session::{LINK_VALID, SESSION_VALID};
use crate::auth::{Principal, Scope, Scopes};
use crate::http::ask::Asked;
use crate::http::{App, Door, in_house_style, routes};
use crate::problem::Problem;

/// Nothing is loaded from elsewhere, and the page is shown in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Longest key that is read, in bytes: whoever sends it need not be known yet.
const KEY_BYTES: usize = 1024;

/// The routes of port 8501.
pub fn router(app: Arc<App>) -> Router {
    let (api, _) = routes().split_for_parts();
    let pages = Router::new()
        .route("/", get(page))
        .route("/session", post(sign_in).delete(sign_out).layer(DefaultBodyLimit::max(KEY_BYTES)))
        .route("/monitor.js", get(script))
        .route("/monitor.css", get(style));
    in_house_style(api.merge(pages), Door { app, browser: true })
}

/// A link that signs one browser in, once.
pub fn sign_in_link(app: &App, address: std::net::SocketAddr) -> String {
    let principal = Principal::unbounded("browser", Scopes::of(&[Scope::Read, Scope::Operate]));
    let token = app.links.issue(principal, app.now(), LINK_VALID);
    // A browser on this machine reaches a listener on all addresses by loopback.
    let host = if address.ip().is_unspecified() { "127.0.0.1".to_owned() } else { host_of(address) };
    format!("http://{host}:{}/?token={token}", address.port())
}

fn host_of(address: std::net::SocketAddr) -> String {
    if address.is_ipv6() { format!("[{}]", address.ip()) } else { address.ip().to_string() }
}

#[derive(Deserialize)]
struct PageQuery {
    token: Option<String>,
}

/// The page, for whoever is signed in; otherwise the question for a key. A link's token becomes a session and leaves the address bar.
async fn page(State(door): State<Door>, Asked(query): Asked<PageQuery>, headers: HeaderMap) -> Response {
    let signed_in = cookie_of(&headers).and_then(|cookie| door.app.sessions.holder(cookie, door.app.now())).is_some();
    if let Some(token) = query.token {
        return match door.app.links.redeem(&token, door.app.now()) {
            Some(principal) => ([(header::SET_COOKIE, session(&door, principal))], Redirect::to("/")).into_response(),
            None if signed_in => Redirect::to("/").into_response(),
            None => with_policy(StatusCode::UNAUTHORIZED, include_str!("sign_in.html")),
        };
    }
    if signed_in {
        with_policy(StatusCode::OK, include_str!("page.html"))
    } else {
        with_policy(StatusCode::UNAUTHORIZED, include_str!("sign_in.html"))
    }
}

fn with_policy(status: StatusCode, page: &'static str) -> Response {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (status, headers, Html(page)).into_response()
}

/// A new session as a cookie.
fn session(door: &Door, principal: Principal) -> String {
    let secret = door.app.sessions.issue(principal, door.app.now(), SESSION_VALID);
    format!("{COOKIE}={secret}; HttpOnly; SameSite=Strict; Path=/; Max-Age={}", SESSION_VALID / 1_000)
}

/// Signs a browser in with a key.
async fn sign_in(State(door): State<Door>, headers: HeaderMap, body: Bytes) -> Result<Response, Problem> {
    if !same_origin(&headers) {
        return Err(Problem::unauthorized());
    }
    let key = std::str::from_utf8(&body).unwrap_or_default().trim();
    let principal = door.app.parts.keys.principal(key, door.app.now()).ok_or_else(Problem::unauthorized)?;
    admit(&principal, &door)?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, session(&door, principal))]).into_response())
}

/// Signs a browser out.
async fn sign_out(State(door): State<Door>, headers: HeaderMap) -> Result<Response, Problem> {
    if !same_origin(&headers) {
        return Err(Problem::unauthorized());
    }
    cookie_of(&headers).map(|cookie| door.app.sessions.redeem(cookie, door.app.now()));
    let gone = format!("{COOKIE}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0");
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, gone)]).into_response())
}

async fn script() -> Response {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("monitor.js")).into_response()
}

async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("monitor.css")).into_response()
}
