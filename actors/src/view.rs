//! The fleet view: the latest durable state of each twin, and what is told to those who follow. What is not durable is not here.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rustc_hash::FxHashMap;
use twin::event::{Cause, Event};
use twin::ids::LocomotiveId;
use twin::instant::Millis;
use twin::state::TwinState;

use crate::asleep::{Asleep, Names};
use crate::snapshots::Standing;

/// One twin as it durably stands.
#[derive(Debug, Clone, PartialEq)]
pub struct TwinView {
    /// The locomotive.
    pub id: LocomotiveId,
    /// Number of its events.
    pub version: u64,
    /// Its shard.
    pub shard: u16,
    /// Position of its newest event in the shard.
    pub sequence: u64,
    /// When that event was appended.
    pub appended_at: Millis,
    /// Its state. The memory of identities is empty in a live view: nobody but the twin needs it.
    pub state: TwinState,
}

/// What one append made public.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// The shard.
    pub shard: u16,
    /// Position of the append's first record.
    pub first: u64,
    /// Position of its last record.
    pub last: u64,
    /// When it was appended.
    pub appended_at: Millis,
    /// The twins that moved; their state stands in the view already.
    pub moved: Vec<LocomotiveId>,
    /// Every event but telemetry.
    pub facts: Vec<Fact>,
}

/// An event other than telemetry.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// The locomotive.
    pub id: LocomotiveId,
    /// Version of the twin after it.
    pub version: u64,
    /// Its position in the shard.
    pub sequence: u64,
    /// The event.
    pub event: Event,
    /// Who or what caused it.
    pub cause: Cause,
}

/// The views of one shard, under one short lock. Those of sleeping twins are packed, which takes a fifth of the room.
#[derive(Debug)]
pub(crate) struct ShardView {
    shard: u16,
    held: RwLock<Held>,
}

/// All views of a shard.
#[derive(Debug, Default)]
struct Held {
    twins: FxHashMap<LocomotiveId, Shown>,
    names: Names,
}

/// How one twin is held.
#[derive(Debug)]
enum Shown {
    Awake(Box<TwinView>),
    Asleep(Asleep),
}

impl ShardView {
    pub(crate) fn of(shard: u16) -> Self {
        Self { shard, held: RwLock::default() }
    }

    fn read(&self) -> RwLockReadGuard<'_, Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Held> {
        self.held.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, id: &str) -> Option<TwinView> {
        let (id, asleep, names) = {
            let held = self.read();
            match held.twins.get_key_value(id)? {
                (_, Shown::Awake(view)) => return Some(TwinView::clone(view)),
                (id, Shown::Asleep(asleep)) => (id.clone(), asleep.clone(), held.names.clone()),
            }
        };
        Some(asleep.wake(id, self.shard, &names))
    }

    /// Where a twin stands.
    pub(crate) fn standing(&self, id: &str) -> Option<Standing> {
        Some(match self.read().twins.get(id)? {
            Shown::Awake(view) => {
                Standing { version: view.version, sequence: view.sequence, appended_at: view.appended_at }
            }
            Shown::Asleep(asleep) => asleep.standing(),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.read().twins.len()
    }

    /// Visits all as they stand at one moment; those asleep come after the lock, since they must be unpacked.
    pub(crate) fn visit(&self, visit: &mut impl FnMut(&TwinView)) {
        let mut sleepers = Vec::new();
        let names = {
            let held = self.read();
            for (id, shown) in &held.twins {
                match shown {
                    Shown::Awake(view) => visit(view),
                    Shown::Asleep(asleep) => sleepers.push((id.clone(), asleep.clone())),
                }
            }
            held.names.clone()
        };
        for (id, asleep) in sleepers {
            visit(&asleep.wake(id, self.shard, &names));
        }
    }

    /// Replaces everything: what recovery found is the truth.
    pub(crate) fn replace(&self, found: Found) {
        *self.write() = found.0;
    }

    /// Holds a twin packed until it moves again.
    pub(crate) fn sleep(&self, id: &LocomotiveId) {
        let Held { twins, names } = &mut *self.write();
        if let Some(shown) = twins.get_mut(id)
            && let Shown::Awake(view) = shown
        {
            *shown = Shown::Asleep(Asleep::lay_down(view, names));
        }
    }

    /// Takes the states of an append.
    pub(crate) fn update(&self, views: Vec<TwinView>) {
        let twins = &mut self.write().twins;
        for view in views {
            match twins.get_mut(&view.id) {
                Some(Shown::Awake(known)) => **known = view,
                Some(asleep) => *asleep = Shown::Awake(Box::new(view)),
                None => {
                    twins.insert(view.id.clone(), Shown::Awake(Box::new(view)));
                }
            }
        }
    }
}

/// The views that recovery finds, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Found(Held);

impl Found {
    /// Takes one; that of a sleeping twin is packed at once.
    pub(crate) fn add(&mut self, view: TwinView, asleep: bool) {
        let id = view.id.clone();
        let Held { twins, names } = &mut self.0;
        let shown = if asleep { Shown::Asleep(Asleep::lay_down(&view, names)) } else { Shown::Awake(Box::new(view)) };
        twins.insert(id, shown);
    }
}
