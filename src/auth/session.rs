//! Secrets that stand for a key for a while: sign-in links and sessions of the Monitor, single-use tickets for `WebSockets` of browsers.
//! Nothing here outlives the process.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use twin::instant::{MINUTE, Millis, SECOND};

use super::Principal;

/// How long a WebSocket ticket is valid.
pub const TICKET_VALID: Millis = 30 * SECOND;
/// How long a sign-in link waits for its click.
pub const LINK_VALID: Millis = 24 * 60 * MINUTE;
/// How long a browser stays signed in.
pub const SESSION_VALID: Millis = 12 * 60 * MINUTE;
/// Secrets of one kind kept at most; beyond that the oldest goes.
const MOST: usize = 10_000;

/// A secret of 128 random bits in hexadecimal digits.
pub fn secret() -> String {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes; without them no secret may be made");
    bytes.iter().fold(String::with_capacity(32), |mut text, byte| {
        text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
        text
    })
}

/// Secrets of one kind and who stands behind each, until they expire, or the key from which they were made does.
#[derive(Debug, Default)]
pub struct Passes {
    valid: Mutex<HashMap<[u8; 32], (Principal, Millis)>>,
}

impl Passes {
    /// Issues a secret for `principal`, valid for `lifetime` from `now`.
    pub fn issue(&self, principal: Principal, now: Millis, lifetime: Millis) -> String {
        let secret = secret();
        let mut valid = self.valid.lock().unwrap_or_else(PoisonError::into_inner);
        valid.retain(|_, (_, until)| *until > now);
        if valid.len() >= MOST {
            let oldest = valid.iter().min_by_key(|(_, (_, until))| *until).map(|(hash, _)| *hash);
            oldest.map(|hash| valid.remove(&hash));
        }
        valid.insert(*blake3::hash(secret.as_bytes()).as_bytes(), (principal, now + lifetime));
        secret
    }

    /// Takes a single-use secret: the second time it is worth nothing.
    pub fn redeem(&self, secret: &str, now: Millis) -> Option<Principal> {
        let mut valid = self.valid.lock().unwrap_or_else(PoisonError::into_inner);
        let (principal, until) = valid.remove(blake3::hash(secret.as_bytes()).as_bytes())?;
        (until > now && principal.is_in_force(now)).then_some(principal)
    }

    /// Who stands behind a secret that may be shown again and again.
    pub fn holder(&self, secret: &str, now: Millis) -> Option<Principal> {
        let valid = self.valid.lock().unwrap_or_else(PoisonError::into_inner);
        let (principal, until) = valid.get(blake3::hash(secret.as_bytes()).as_bytes())?;
        (*until > now && principal.is_in_force(now)).then(|| principal.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn somebody() -> Principal {
        Principal::unbounded("key:test", super::super::Scopes::default())
    }

    #[test]
    fn a_ticket_is_worth_something_once_and_for_a_while() {
        let tickets = Passes::default();
        let ticket = tickets.issue(somebody(), 0, TICKET_VALID);
        let holder = tickets.redeem(&ticket, 1);
        assert_eq!(holder.as_ref().map(|holder| &*holder.actor), Some("key:test"));
        assert!(tickets.redeem(&ticket, 1).is_none());
        let late = tickets.issue(somebody(), 0, TICKET_VALID);
        assert!(tickets.redeem(&late, TICKET_VALID).is_none());
    }

    #[test]
    fn a_session_lasts_until_it_expires() {
        let sessions = Passes::default();
        let cookie = sessions.issue(somebody(), 0, SESSION_VALID);
        assert!(sessions.holder(&cookie, 1).is_some() && sessions.holder(&cookie, 2).is_some());
        assert!(sessions.holder(&cookie, SESSION_VALID).is_none());
        assert!(sessions.holder("", 1).is_none());
    }

    #[test]
    fn secrets_differ() {
        assert_ne!(secret(), secret());
        assert_eq!(secret().len(), 32);
    }
}
