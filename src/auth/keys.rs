//! The keys in force. Only their hashes are kept: those of the environment for as long as the process runs, all others as the log `fleet` has
//! them (`registry`).

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use subtle::ConstantTimeEq;
use twin::fleet::{FleetEvent, KeyCreated};
use twin::instant::Millis;

use super::{Principal, Reach, Scope, Scopes};

/// The key of the seed. It is public, so it counts on loopback listeners alone.
pub const SEED_KEY: &str = "entreprise_secret_key_2026";

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

/// BLAKE3 of a key. A key has 256 random bits, so that nobody finds it by trying: neither salt nor slowness would add anything.
type Hash = [u8; 32];

/// The keys. All clones are the same.
#[derive(Clone)]
pub struct Keys(Arc<Shared>);

struct Shared {
    /// Secret of this process: where a hash stands in the table cannot be steered from outside, so that the time of a look-up tells nothing.
    secret: [u8; 32],
    table: RwLock<Table>,
}

#[derive(Default)]
struct Table {
    /// By [`Keys::place`].
    in_force: HashMap<Hash, (Hash, Principal)>,
    /// Every key of the log, revoked ones too, by id.
    made: BTreeMap<String, Made>,
}

/// A key as the log has it.
#[derive(Debug, Clone)]
pub struct Made {
    /// How it was made.
    pub created: KeyCreated,
    /// Since when it is worth nothing.
    pub revoked_at: Option<Millis>,
    principal: Principal,
}

impl Default for Keys {
    fn default() -> Self {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).expect("the operating system gives random bytes; without them no key is safe");
        Self(Arc::new(Shared { secret, table: RwLock::default() }))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.read().in_force.len())
    }
}

impl Keys {
    /// The keys for these listeners: one's own, and beside it the seed's where every listener is loopback. The second value tells whether
    /// the seed's key is accepted, which deserves a warning.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn for_listeners(own: Option<&str>, listeners: &[SocketAddr]) -> Result<(Self, bool), KeyError> {
        let open = listeners.iter().find(|listener| !listener.ip().is_loopback());
        let keys = Self::default();
        if let Some(own) = own {
            if let (SEED_KEY, Some(listener)) = (own, open) {
                return Err(KeyError::Published { listener: *listener });
            }
            if own.len() < 16 || own.contains(char::is_whitespace) {
                return Err(KeyError::Weak { length: own.len() });
            }
            keys.add(own, "key:environment");
        }
        match (own, open) {
            (None, Some(listener)) => Err(KeyError::NoOwnKey { listener: *listener }),
            (_, None) => {
                keys.add(SEED_KEY, "key:seed");
                Ok((keys, true))
            }
            (Some(_), Some(_)) => Ok((keys, false)),
        }
    }

    /// Adds an admin key without bounds.
    fn add(&self, key: &str, actor: &str) {
        let hash = hash_of(key);
        let principal = Principal::unbounded(actor, Scopes::of(&[Scope::Admin]));
        let place = self.place(&hash);
        self.0.table.write().unwrap_or_else(PoisonError::into_inner).in_force.insert(place, (hash, principal));
    }

    /// Whose key this is. Hashes are compared in constant time.
    pub fn principal(&self, key: &str, now: Millis) -> Option<Principal> {
        let hash = hash_of(key);
        let table = self.read();
        let (known, principal) = table.in_force.get(&self.place(&hash))?;
        let same = bool::from(known.ct_eq(&hash));
        (same && principal.is_in_force(now)).then(|| principal.clone())
    }

    /// Takes an event that is in the log.
    pub fn fold(&self, event: &FleetEvent) {
        match event {
            FleetEvent::KeyCreated(created) => {
                let (scopes, reach) = (Scopes::of_bits(created.scopes), Reach::of(&created.locomotives));
                let principal = Principal::bounded(&created.key, scopes, reach, (created.expires_at, created.rate));
                let place = self.place(&created.hash);
                let mut table = self.0.table.write().unwrap_or_else(PoisonError::into_inner);
                table.in_force.insert(place, (created.hash, principal.clone()));
                let made = Made { created: created.clone(), revoked_at: None, principal };
                table.made.insert(created.key.clone(), made);
            }
            FleetEvent::KeyRevoked { at, key } => {
                let mut table = self.0.table.write().unwrap_or_else(PoisonError::into_inner);
                let Some(made) = table.made.get_mut(key) else { return };
                made.revoked_at.get_or_insert(*at);
                made.principal.revoke();
                let place = self.place(&made.created.hash);
                table.in_force.remove(&place);
            }
            FleetEvent::ModelPromoted { .. } | FleetEvent::ScoringSuspended(_) | FleetEvent::ScoringResumed(_) => {}
        }
    }

    /// Every key of the log, oldest first.
    pub fn made(&self) -> Vec<Made> {
        let mut made: Vec<_> = self.read().made.values().cloned().collect();
        made.sort_by(|a, b| (a.created.at, &a.created.key).cmp(&(b.created.at, &b.created.key)));
        made
    }

    /// One key of the log.
    pub fn find(&self, id: &str) -> Option<Made> {
        self.read().made.get(id).cloned()
    }

    fn place(&self, hash: &Hash) -> Hash {
        *blake3::keyed_hash(&self.0.secret, hash).as_bytes()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Table> {
        self.0.table.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The hash under which a key is known.
pub fn hash_of(key: &str) -> Hash {
    *blake3::hash(key.as_bytes()).as_bytes()
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
        assert!(seed && keys.principal(SEED_KEY, 0).is_some());
        assert_eq!(
            Keys::for_listeners(None, &[LOOPBACK, OPEN]).map(|_| ()),
            Err(KeyError::NoOwnKey { listener: OPEN })
        );
        let (keys, seed) = Keys::for_listeners(Some(OWN), &[OPEN]).expect("own key");
        assert!(!seed && keys.principal(SEED_KEY, 0).is_none() && keys.principal(OWN, 0).is_some());
        let published = Keys::for_listeners(Some(SEED_KEY), &[OPEN]).map(|_| ());
        assert_eq!(published, Err(KeyError::Published { listener: OPEN }));
    }

    #[test]
    fn a_weak_key_is_refused() {
        assert_eq!(Keys::for_listeners(Some("short"), &[OPEN]).map(|_| ()), Err(KeyError::Weak { length: 5 }));
    }

    #[test]
    fn a_key_of_the_log_is_worth_what_was_recorded_until_it_ends() {
        let created = KeyCreated {
            at: 1,
            key: "key-1".to_owned(),
            hash: hash_of("secret"),
            name: String::new(),
            scopes: Scopes::of(&[Scope::Read]).bits(),
            expires_at: Some(100),
            rate: None,
            locomotives: vec!["CC-22*".to_owned()],
        };
        let keys = Keys::default();
        keys.fold(&FleetEvent::KeyCreated(created));
        let held = keys.principal("secret", 99).expect("in force");
        assert!(held.scopes.allow(Scope::Read) && !held.scopes.allow(Scope::Ingest));
        assert!(held.sees("CC-2201") && !held.sees("CC-2301"));
        assert!(keys.principal("secret", 100).is_none() && keys.principal("other", 1).is_none());
        keys.fold(&FleetEvent::KeyRevoked { at: 5, key: "key-1".to_owned() });
        assert!(keys.principal("secret", 6).is_none() && !held.is_in_force(6));
        assert_eq!(keys.find("key-1").and_then(|made| made.revoked_at), Some(5));
    }
}
