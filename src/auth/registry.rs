//! Making and revoking keys: each is an event of the log `fleet` before it is in force. What a key allows is `keys`' affair.

use anyhow::Result;
use journal::error::{AppendError, ReadError};
use twin::event::Cause;
use twin::fleet::{FleetEvent, KeyCreated};
use twin::instant::Millis;

use super::keys::{Keys, hash_of};
use super::session;
use super::wire::{KeyEntry, KeyOrder, NewKey};
use crate::fleet_log::FleetLog;

/// The start of every key, by which scanners for leaked secrets know it.
const PREFIX: &str = "cidp_";
/// Most keys that one log holds, revoked ones too.
pub const KEYS_MOST: usize = 10_000;

/// Why there is no new key.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Nothing can be written.
    #[error("the log takes no records now: {0}")]
    Log(#[from] AppendError),
    /// Nothing can be read.
    #[error("the log cannot be read: {0}")]
    Read(#[from] ReadError),
    /// There are too many.
    #[error("this log holds {KEYS_MOST} keys already, which is the most")]
    Full,
}

/// A page of keys.
#[derive(Debug)]
pub struct Listed {
    /// The keys.
    pub entries: Vec<KeyEntry>,
    /// How many there are on all pages.
    pub count: usize,
    /// Whether others follow.
    pub more: bool,
}

/// The keys and the log in which they are recorded.
#[derive(Clone)]
pub struct Registry {
    log: FleetLog,
    keys: Keys,
}

impl Registry {
    /// Reads the keys of the log into `keys`.
    ///
    /// # Errors
    /// A record that cannot be read.
    pub async fn open(log: FleetLog, keys: Keys) -> Result<Self> {
        log.read(|event| keys.fold(event)).await?;
        Ok(Self { log, keys })
    }

    /// Makes a key. It is durable and in force when this returns.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn create(&self, order: KeyOrder, cause: &Cause, now: Millis) -> Result<NewKey, RegistryError> {
        if self.keys.made().len() >= KEYS_MOST {
            return Err(RegistryError::Full);
        }
        let key = format!("{PREFIX}{}{}", session::secret(), session::secret());
        let KeyOrder { name, scopes, expires_at, rate, locomotives } = order;
        let kept = self.log.keep(&name).await?;
        let id = format!("key-{}", &session::secret()[..16]);
        let created = KeyCreated {
            at: now,
            key: id.clone(),
            hash: hash_of(&key),
            name: kept.clone(),
            scopes: scopes.bits(),
            expires_at,
            rate,
            locomotives,
        };
        let event = FleetEvent::KeyCreated(created);
        if let Err(error) = self.log.append(&event, cause).await {
            // Nobody names the text, so that nobody would ever erase it.
            if let Err(error) = self.log.erase(&kept).await {
                tracing::warn!(%error, id = kept, "the name of a key that was not made could not be erased");
            }
            return Err(error.into());
        }
        self.keys.fold(&event);
        tracing::info!(id, "a key was made");
        let made = self.keys.find(&id).expect("it was just folded, and keys are never removed");
        Ok(NewKey { key, entry: KeyEntry::of(&made, name, now) })
    }

    /// At most `limit` keys after the key `after`, oldest first, with their names, and how many keys there are; `None` where there is no
    /// key `after`.
    ///
    /// # Errors
    /// What the journal says.
    pub async fn list(&self, after: Option<&str>, limit: usize, now: Millis) -> Result<Option<Listed>, RegistryError> {
        let made = self.keys.made();
        let count = made.len();
        let start = match after {
            None => 0,
            // Keys are never removed, so that the last one of a page is still there.
            Some(after) => match made.iter().position(|made| made.created.key == after) {
                Some(place) => place + 1,
                None => return Ok(None),
            },
        };
        let mut entries = Vec::new();
        for made in made.iter().skip(start).take(limit) {
            let name = self.log.kept(&made.created.name).await?;
            entries.push(KeyEntry::of(made, name, now));
        }
        let more = start + entries.len() < count;
        Ok(Some(Listed { entries, count, more }))
    }

    /// Revokes a key, and erases its name where that is asked; whether there is one. One that is revoked stays as it is.
    ///
    /// # Errors
    /// What the journal says.
    pub async fn revoke(&self, id: &str, erase_name: bool, cause: &Cause, now: Millis) -> Result<bool, RegistryError> {
        let Some(made) = self.keys.find(id) else { return Ok(false) };
        if made.revoked_at.is_none() {
            let event = FleetEvent::KeyRevoked { at: now, key: id.to_owned() };
            self.log.append(&event, cause).await?;
            self.keys.fold(&event);
            tracing::info!(id, "a key was revoked");
        }
        if erase_name {
            self.log.erase(&made.created.name).await?;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::auth::wire::KeyRequest;
    use journal::memory::MemoryJournal;
    use journal::port::{FLEET, Journal};

    const NOW: Millis = 1_769_932_800_000;

    async fn registry(journal: &Arc<MemoryJournal>) -> Registry {
        let port = Arc::clone(journal) as Arc<dyn Journal>;
        let log = FleetLog::claim(port, "test").await.expect("a claim");
        Registry::open(log, Keys::default()).await.expect("a log that can be read")
    }

    #[tokio::test]
    async fn keys_are_read_again_from_the_log_which_holds_neither_key_nor_name() {
        let journal = Arc::new(MemoryJournal::new(1));
        let cause = Cause::of("test");
        let order = || {
            let request = KeyRequest {
                name: "Ngo Biyong".to_owned(),
                scopes: vec!["read".to_owned()],
                locomotives: vec!["CC-22*".to_owned()],
                ..KeyRequest::default()
            };
            request.check(NOW).expect("it fits")
        };
        let first = registry(&journal).await;
        let (kept, revoked) = (first.create(order(), &cause, NOW).await, first.create(order(), &cause, NOW + 1).await);
        let (kept, revoked) = (kept.expect("made"), revoked.expect("made"));
        assert!(first.revoke(&revoked.entry.id, true, &cause, NOW + 2).await.expect("revoked"));
        assert!(!first.revoke("key-of-nobody", false, &cause, NOW + 2).await.expect("there is none"));

        let again = registry(&journal).await;
        let holder = again.keys.principal(&kept.key, NOW + 3).expect("in force after a restart");
        assert_eq!(*holder.actor, *kept.entry.id);
        assert!(holder.sees("CC-2201") && !holder.sees("CC-2301"));
        assert!(again.keys.principal(&revoked.key, NOW + 3).is_none());
        let list = again.list(None, 10, NOW + 3).await.expect("read").expect("from the beginning");
        let told: Vec<_> = list.entries.iter().map(|entry| (entry.name.as_str(), entry.state.as_str())).collect();
        assert_eq!(told, [("Ngo Biyong", "active"), ("", "revoked")]);
        let second = again.list(Some(&kept.entry.id), 1, NOW + 3).await.expect("read").expect("it is known");
        assert_eq!((second.entries[0].id.as_str(), second.count, second.more), (revoked.entry.id.as_str(), 2, false));
        assert!(again.list(Some("key-of-nobody"), 1, NOW + 3).await.expect("read").is_none());
        for record in journal.read(FLEET, 1, 100, usize::MAX).await.expect("read") {
            let bytes = record.content().expect("kept");
            for secret in ["Ngo Biyong", kept.key.as_str(), revoked.key.as_str(), &kept.key[5..]] {
                assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret}");
            }
        }
    }

    #[tokio::test]
    async fn keys_differ_and_are_long() {
        let journal = Arc::new(MemoryJournal::new(1));
        let registry = registry(&journal).await;
        let order = KeyRequest { name: "a".to_owned(), scopes: vec!["read".to_owned()], ..KeyRequest::default() };
        let order = order.check(NOW).expect("it fits");
        let one = registry.create(order.clone(), &Cause::of("test"), NOW).await.expect("made");
        let other = registry.create(order, &Cause::of("test"), NOW).await.expect("made");
        assert_ne!(one.key, other.key);
        assert_ne!(one.entry.id, other.entry.id);
        assert_eq!(one.key.len(), PREFIX.len() + 64, "256 bits");
    }
}
