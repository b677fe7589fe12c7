//! Who may do what: keys and their scopes. How a browser keeps a key is `session`'s affair; what a route needs, the route says itself.

pub mod extract;
pub mod session;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use subtle::ConstantTimeEq;

/// The key of the seed. It is public, so it counts on loopback listeners alone.
pub const SEED_KEY: &str = "entreprise_secret_key_2026";

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

    /// Whether a scope is allowed; `admin` allows everything.
    pub const fn allow(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8 | 1 << Scope::Admin as u8) != 0
    }
}

/// Whoever stands behind a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Opaque id of the key; it goes into events as their cause.
    pub actor: Arc<str>,
    /// What it may do.
    pub scopes: Scopes,
}

/// Why a server may not start with its keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Everyone knows the seed's key, so it protects nothing on an open address.
    #[error(
        "{listener} can be reached from other machines, but no key of your own is set; set CIDP_API_KEY (or CIDP_API_KEY_FILE) to a secret \
         of at least 16 characters, or listen on 127.0.0.1"
    )]
    NoOwnKey {
        /// The open address.
        listener: SocketAddr,
    },
    /// A key that can be guessed.
    #[error("CIDP_API_KEY: expected at least 16 characters without spaces, got {length}")]
    Weak {
        /// Its length.
        length: usize,
    },
    /// The seed's key set as one's own on an open address.
    #[error("CIDP_API_KEY is the published key of the seed; on {listener} set a secret of your own")]
    Published {
        /// The open address.
        listener: SocketAddr,
    },
}

/// The keys in force. Only their hashes are kept.
#[derive(Clone, Default)]
pub struct Keys {
    entries: Vec<([u8; 32], Principal)>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.entries.len())
    }
}

impl Keys {
    /// The keys for these listeners: one's own, and beside it the seed's where every listener is loopback. The second value tells whether
    /// the seed's key is accepted, which deserves a warning.
    pub fn for_listeners(own: Option<&str>, listeners: &[SocketAddr]) -> Result<(Self, bool), KeyError> {
        let open = listeners.iter().find(|listener| !listener.ip().is_loopback());
        let mut keys = Self::default();
        if let Some(own) = own {
            if let (SEED_KEY, Some(listener)) = (own, open) {
                return Err(KeyError::Published { listener: *listener });
            }
            if own.len() < 16 || own.contains(char::is_whitespace) {
                return Err(KeyError::Weak { length: own.len() });
            }
            keys.add(own, "key:environment", Scopes::of(&[Scope::Admin]));
        }
        match (own, open) {
            (None, Some(listener)) => Err(KeyError::NoOwnKey { listener: *listener }),
            (_, None) => {
                keys.add(SEED_KEY, "key:seed", Scopes::of(&[Scope::Admin]));
                Ok((keys, true))
            }
            (Some(_), Some(_)) => Ok((keys, false)),
        }
    }

    /// Adds a key.
    pub fn add(&mut self, key: &str, actor: &str, scopes: Scopes) {
        let principal = Principal { actor: Arc::from(actor), scopes };
        self.entries.push((*blake3::hash(key.as_bytes()).as_bytes(), principal));
    }

    /// Whose key this is. Every key is compared, in constant time over hashes, so that nothing can be learnt from how long it takes.
    pub fn principal(&self, key: &str) -> Option<&Principal> {
        let hash = blake3::hash(key.as_bytes());
        let mut found = None;
        for (known, principal) in &self.entries {
            if bool::from(known.ct_eq(hash.as_bytes())) {
                found = Some(principal);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 5000);
    const OPEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 5000);
    const OWN: &str = "a-secret-of-my-own";

    #[test]
    fn the_seed_key_counts_on_loopback_alone() {
        let (keys, seed) = Keys::for_listeners(None, &[LOOPBACK]).expect("loopback");
        assert!(seed && keys.principal(SEED_KEY).is_some());
        assert_eq!(
            Keys::for_listeners(None, &[LOOPBACK, OPEN]).map(|_| ()),
            Err(KeyError::NoOwnKey { listener: OPEN })
        );
        let (keys, seed) = Keys::for_listeners(Some(OWN), &[OPEN]).expect("own key");
        assert!(!seed && keys.principal(SEED_KEY).is_none() && keys.principal(OWN).is_some());
        let published = Keys::for_listeners(Some(SEED_KEY), &[OPEN]).map(|_| ());
        assert_eq!(published, Err(KeyError::Published { listener: OPEN }));
    }

    #[test]
    fn a_weak_key_is_refused() {
        assert_eq!(Keys::for_listeners(Some("short"), &[OPEN]).map(|_| ()), Err(KeyError::Weak { length: 5 }));
    }

    #[test]
    fn admin_allows_everything_and_the_others_themselves() {
        assert!(Scopes::of(&[Scope::Admin]).allow(Scope::Operate));
        let scopes = Scopes::of(&[Scope::Read, Scope::Ingest]);
        assert!(scopes.allow(Scope::Read) && scopes.allow(Scope::Ingest));
        assert!(!scopes.allow(Scope::Operate) && !scopes.allow(Scope::Admin));
    }
}
