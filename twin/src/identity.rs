//! Which readings a twin has already recorded: the last ones by heart, older ones by asking the log.

use std::collections::BTreeMap;

use crate::instant::Millis;

/// How many identities a twin remembers.
pub const REMEMBERED: usize = 64;

/// Identities found in the log: event time to digest of the values.
pub type KnownIdentities = BTreeMap<Millis, u64>;

/// What is known of an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recognition {
    /// Never recorded.
    New,
    /// Recorded with these values.
    Duplicate,
    /// Recorded with other values.
    Conflict,
    /// Too old to remember: the log must be asked.
    Forgotten,
}

/// The last [`REMEMBERED`] identities in the order of their recording.
#[derive(Debug, Clone, Default)]
pub struct Identities {
    entries: Vec<(Millis, u64)>,
    next: usize,
    forgot: bool,
}

impl PartialEq for Identities {
    fn eq(&self, other: &Self) -> bool {
        self.forgot == other.forgot && self.in_order().eq(other.in_order())
    }
}

impl Identities {
    /// Remembers one, and forgets the oldest where there is no room.
    pub fn remember(&mut self, recorded_at: Millis, digest: u64) {
        if self.entries.len() < REMEMBERED {
            if self.entries.capacity() == 0 {
                self.entries.reserve_exact(REMEMBERED);
            }
            self.entries.push((recorded_at, digest));
        } else {
            self.entries[self.next] = (recorded_at, digest);
            self.next = (self.next + 1) % REMEMBERED;
            self.forgot = true;
        }
    }

    /// Looks one up.
    pub fn recognise(&self, recorded_at: Millis, digest: u64) -> Recognition {
        match self.entries.iter().find(|(at, _)| *at == recorded_at) {
            Some((_, known)) if *known == digest => Recognition::Duplicate,
            Some(_) => Recognition::Conflict,
            None if self.forgot => Recognition::Forgotten,
            None => Recognition::New,
        }
    }

    /// Whether any was forgotten.
    pub const fn forgot(&self) -> bool {
        self.forgot
    }

    /// The remembered ones, oldest first.
    pub fn in_order(&self) -> impl Iterator<Item = (Millis, u64)> {
        self.entries[self.next..].iter().chain(&self.entries[..self.next]).copied()
    }

    /// Rebuilds the memory from [`Self::in_order`] and [`Self::forgot`].
    pub fn restore(entries: Vec<(Millis, u64)>, forgot: bool) -> Self {
        Self { entries, next: 0, forgot }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_the_last_and_admits_what_it_forgot() {
        let mut identities = Identities::default();
        (0..REMEMBERED as i64 + 2).for_each(|at| identities.remember(at, at as u64));
        assert_eq!(identities.recognise(0, 0), Recognition::Forgotten);
        assert_eq!(identities.recognise(2, 2), Recognition::Duplicate);
        assert_eq!(identities.recognise(2, 3), Recognition::Conflict);
        let order: Vec<_> = identities.in_order().map(|(at, _)| at).collect();
        assert_eq!(order, (2..66).collect::<Vec<_>>());
    }
}
