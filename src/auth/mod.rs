//! Who may do what: scopes, and whoever stands behind a request. Which keys there are is `keys`' affair, how they are made `registry`'s, how a
//! browser keeps one `session`'s; what a route needs, the route says itself.

pub mod extract;
pub mod keys;
pub mod rate;
pub mod reach;
pub mod registry;
pub mod session;
pub mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use twin::instant::Millis;

pub use self::keys::{KeyError, Keys, SEED_KEY};
use self::rate::Rate;
pub use self::reach::Reach;

/// What a key allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// See.
    Read,
    /// Send readings.
    Ingest,
    /// Record maintenance and failures, acknowledge alerts, commission and retire.
    Operate,
    /// Everything.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Read, Self::Ingest, Self::Operate, Self::Admin];

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Ingest => "ingest",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

/// A set of scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// The set of these.
    pub fn of(scopes: &[Scope]) -> Self {
        Self(scopes.iter().fold(0, |bits, scope| bits | 1 << *scope as u8))
    }

    /// The set whose bits are these: bit 0 read, 1 ingest, 2 operate, 3 admin.
    pub const fn of_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// Its bits.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The names of those that are in it.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Scope::ALL.into_iter().filter(move |scope| self.0 & (1 << *scope as u8) != 0).map(Scope::name)
    }

    /// Whether a scope is allowed; `admin` allows everything.
    pub const fn allow(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8 | 1 << Scope::Admin as u8) != 0
    }
}

/// Whoever stands behind a request. Tickets and sessions hold a clone of the key's own, so that what bounds the key bounds them.
#[derive(Debug, Clone)]
pub struct Principal {
    /// Opaque id of the key; it goes into events as their cause.
    pub actor: Arc<str>,
    /// What it may do.
    pub scopes: Scopes,
    /// Which locomotives it sees.
    pub reach: Reach,
    bounds: Option<Arc<Bounds>>,
}

/// What ends a key, and how fast it may ask.
#[derive(Debug)]
struct Bounds {
    expires_at: Option<Millis>,
    revoked: AtomicBool,
    rate: Option<Rate>,
}

impl Principal {
    /// One that sees every locomotive, does not expire and may ask as fast as it likes.
    pub fn unbounded(actor: &str, scopes: Scopes) -> Self {
        Self { actor: Arc::from(actor), scopes, reach: Reach::default(), bounds: None }
    }

    /// One that sees `reach`, until `expires_at`, at most `rate` requests a second.
    pub fn bounded(
        actor: &str,
        scopes: Scopes,
        reach: Reach,
        (expires_at, rate): (Option<Millis>, Option<u32>),
    ) -> Self {
        let bounds = Bounds { expires_at, revoked: AtomicBool::new(false), rate: rate.map(Rate::new) };
        Self { actor: Arc::from(actor), scopes, reach, bounds: Some(Arc::new(bounds)) }
    }

    /// Whether the key behind it is worth anything still.
    pub fn is_in_force(&self, now: Millis) -> bool {
        self.bounds.as_ref().is_none_or(|bounds| {
            !bounds.revoked.load(Ordering::Acquire) && bounds.expires_at.is_none_or(|expires_at| now < expires_at)
        })
    }

    /// Counts one request.
    ///
    /// # Errors
    /// The seconds to wait, where there were too many.
    pub fn admit(&self, now: Millis) -> Result<(), u32> {
        let rate = self.bounds.as_ref().and_then(|bounds| bounds.rate.as_ref());
        rate.map_or(Ok(()), |rate| rate.admit(now))
    }

    /// Whether it sees this locomotive.
    pub fn sees(&self, locomotive: &str) -> bool {
        self.reach.holds(locomotive)
    }

    /// The key behind it is worth nothing from now on, and neither is what was made from it.
    fn revoke(&self) {
        if let Some(bounds) = &self.bounds {
            bounds.revoked.store(true, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_allows_everything_and_the_others_themselves() {
        assert!(Scopes::of(&[Scope::Admin]).allow(Scope::Operate));
        let scopes = Scopes::of(&[Scope::Read, Scope::Ingest]);
        assert!(scopes.allow(Scope::Read) && scopes.allow(Scope::Ingest));
        assert!(!scopes.allow(Scope::Operate) && !scopes.allow(Scope::Admin));
        assert_eq!(scopes.names().collect::<Vec<_>>(), ["read", "ingest"]);
        assert_eq!(Scopes::of_bits(scopes.bits()), scopes);
    }

    #[test]
    fn what_was_made_from_a_key_ends_with_it() {
        let key = Principal::bounded("key-1", Scopes::of(&[Scope::Read]), Reach::default(), (Some(10), None));
        let ticket = key.clone();
        assert!(ticket.is_in_force(9) && !ticket.is_in_force(10));
        key.revoke();
        assert!(!ticket.is_in_force(9));
        assert!(Principal::unbounded("key:environment", Scopes::default()).is_in_force(Millis::MAX));
    }
}
