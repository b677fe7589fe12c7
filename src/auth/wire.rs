//! The form in which a key is asked for and shown: over HTTP and by `cidp keys` alike.

use serde::{Deserialize, Serialize};
use twin::instant::{self, Millis};
use utoipa::ToSchema;

use super::keys::Made;
use super::reach::{PATTERNS_MOST, is_pattern};
use super::{Scope, Scopes};
use crate::problem::Misfit;

/// Longest name, in bytes.
const NAME_BYTES: usize = 200;
/// Most requests a second that can be granted.
const RATE_MOST: u32 = 100_000;

/// Which key is wanted.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyRequest {
    /// Whose key it is, or what for; it stays erasable.
    #[schema(min_length = 1, max_length = 200, example = "the depot at Bassa")]
    pub name: String,
    /// What it allows: `read`, `ingest`, `operate`, `admin` (which allows everything).
    #[schema(min_items = 1, example = json!(["read", "ingest"]))]
    pub scopes: Vec<String>,
    /// From this moment on it is worth nothing; never, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// Requests a second at most; without limit, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100_000)]
    pub rate: Option<u32>,
    /// It sees only locomotives whose id fits one of these patterns (`*` any characters, `?` one); all of them, if left out. Not with `admin`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 100, example = json!(["CC-22*"]))]
    pub locomotives: Vec<String>,
}

/// A request that was checked.
#[derive(Debug, Clone)]
pub struct KeyOrder {
    /// See [`KeyRequest::name`].
    pub name: String,
    /// See [`KeyRequest::scopes`].
    pub scopes: Scopes,
    /// See [`KeyRequest::expires_at`].
    pub expires_at: Option<Millis>,
    /// See [`KeyRequest::rate`].
    pub rate: Option<u32>,
    /// See [`KeyRequest::locomotives`].
    pub locomotives: Vec<String>,
}

impl KeyRequest {
    /// Checks it.
    ///
    /// # Errors
    /// Every place that does not fit.
    pub fn check(self, now: Millis) -> Result<KeyOrder, Vec<Misfit>> {
        let mut misfits = Vec::new();
        let mut misfit = |path: &str, message: String| misfits.push(Misfit { path: path.to_owned(), message });
        let Self { name, scopes: names, expires_at, rate, locomotives } = self;
        if name.trim().is_empty() || name.len() > NAME_BYTES {
            misfit("name", format!("expected 1 to {NAME_BYTES} bytes that say whose it is, got {}", name.trim().len()));
        }
        let mut scopes = Vec::new();
        for name in &names {
            match Scope::parse(name) {
                Some(scope) => scopes.push(scope),
                None => misfit("scopes", format!("expected read, ingest, operate or admin, got {name:?}")),
            }
        }
        if names.is_empty() {
            misfit("scopes", "expected at least one of read, ingest, operate and admin".to_owned());
        }
        let expires = expires_at.as_deref().map(|text| (text, instant::parse(text)));
        if let Some((text, at)) = expires
            && at.is_none_or(|at| at <= now)
        {
            misfit("expires_at", format!("expected a moment to come, as RFC 3339 or epoch milliseconds, got {text:?}"));
        }
        if let Some(rate) = rate.filter(|rate| !(1..=RATE_MOST).contains(rate)) {
            misfit("rate", format!("expected 1 to {RATE_MOST} requests a second, got {rate}"));
        }
        if locomotives.len() > PATTERNS_MOST {
            misfit("locomotives", format!("expected at most {PATTERNS_MOST} patterns, got {}", locomotives.len()));
        }
        for pattern in locomotives.iter().filter(|pattern| !is_pattern(pattern)) {
            misfit("locomotives", format!("expected 1 to 64 of A-Z a-z 0-9 . _ - * ?, got {pattern:?}"));
        }
        if !locomotives.is_empty() && scopes.contains(&Scope::Admin) {
            misfit("locomotives", "expected none beside the scope admin, which allows everything".to_owned());
        }
        let (scopes, expires_at) = (Scopes::of(&scopes), expires.and_then(|(_, at)| at));
        if misfits.is_empty() { Ok(KeyOrder { name, scopes, expires_at, rate, locomotives }) } else { Err(misfits) }
    }
}

/// A key as it is shown: everything but the key.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct KeyEntry {
    /// Its id; it is the actor of what was done with it.
    #[schema(example = "key-4f1c09b2a7d35e68")]
    pub id: String,
    /// Whose it is, or what for; empty once the name was erased.
    pub name: String,
    /// What it allows.
    pub scopes: Vec<String>,
    /// When it was made.
    pub created_at: String,
    /// From when on it is worth nothing.
    #[schema(required)]
    pub expires_at: Option<String>,
    /// Requests a second at most.
    #[schema(required)]
    pub rate: Option<u32>,
    /// Patterns of the locomotives that it sees; empty for all of them.
    pub locomotives: Vec<String>,
    /// Since when it is revoked.
    #[schema(required)]
    pub revoked_at: Option<String>,
    /// `active`, `expired` or `revoked`.
    #[schema(example = "active")]
    pub state: String,
}

impl KeyEntry {
    /// A key of the log with its name.
    pub fn of(made: &Made, name: String, now: Millis) -> Self {
        let created = &made.created;
        let state = match (made.revoked_at, created.expires_at) {
            (Some(_), _) => "revoked",
            (None, Some(at)) if at <= now => "expired",
            (None, _) => "active",
        };
        Self {
            id: created.key.clone(),
            name,
            scopes: Scopes::of_bits(created.scopes).names().map(str::to_owned).collect(),
            created_at: instant::format(created.at),
            expires_at: created.expires_at.map(instant::format),
            rate: created.rate,
            locomotives: created.locomotives.clone(),
            revoked_at: made.revoked_at.map(instant::format),
            state: state.to_owned(),
        }
    }
}

/// A key that was just made. It is shown this once.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct NewKey {
    /// The key itself. It is kept nowhere.
    #[schema(example = "cidp_…")]
    pub key: String,
    /// What there is to know of it.
    #[serde(flatten)]
    pub entry: KeyEntry,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> KeyRequest {
        KeyRequest { name: "depot".to_owned(), scopes: vec!["read".to_owned()], ..KeyRequest::default() }
    }

    fn paths(request: KeyRequest) -> Vec<String> {
        request.check(1_000).map(|_| ()).expect_err("it does not fit").into_iter().map(|misfit| misfit.path).collect()
    }

    #[test]
    fn a_request_is_checked_place_by_place() {
        let order = request().check(1_000).expect("it fits");
        assert!(order.scopes.allow(Scope::Read) && order.expires_at.is_none());
        let wrong = KeyRequest {
            name: " ".to_owned(),
            scopes: vec!["write".to_owned()],
            expires_at: Some("1000".to_owned()),
            rate: Some(0),
            locomotives: vec!["CC 22".to_owned()],
        };
        assert_eq!(paths(wrong), ["name", "scopes", "expires_at", "rate", "locomotives"]);
        assert_eq!(paths(KeyRequest { scopes: Vec::new(), ..request() }), ["scopes"]);
        assert_eq!(paths(KeyRequest { expires_at: Some("soon".to_owned()), ..request() }), ["expires_at"]);
        let admin = KeyRequest { scopes: vec!["admin".to_owned()], locomotives: vec!["A*".to_owned()], ..request() };
        assert_eq!(paths(admin), ["locomotives"]);
    }
}
