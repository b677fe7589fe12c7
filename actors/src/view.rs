//! The fleet view: the latest durable state of each twin, and what is told to those who follow. What is not durable is not here.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rustc_hash::FxHashMap;
use twin::codec;
use twin::event::{Cause, Event};
use twin::ids::LocomotiveId;
use twin::instant::Millis;
use twin::state::TwinState;

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

/// The views of one shard, under one short lock. Those of sleeping twins are encoded, which takes a third of the room.
#[derive(Debug)]
pub(crate) struct ShardView {
    shard: u16,
    twins: RwLock<FxHashMap<LocomotiveId, Shown>>,
}

/// How one twin is held.
#[derive(Debug)]
enum Shown {
    Awake(Box<TwinView>),
    Asleep(Arc<[u8]>),
}

/// Version, position and append time in front of an encoded state.
const STANDING: usize = 24;

impl ShardView {
    pub(crate) fn of(shard: u16) -> Self {
        Self { shard, twins: RwLock::default() }
    }

    fn read(&self) -> RwLockReadGuard<'_, FxHashMap<LocomotiveId, Shown>> {
        self.twins.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, FxHashMap<LocomotiveId, Shown>> {
        self.twins.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, id: &str) -> Option<TwinView> {
        let (id, asleep) = match self.read().get_key_value(id)? {
            (_, Shown::Awake(view)) => return Some(TwinView::clone(view)),
            (id, Shown::Asleep(bytes)) => (id.clone(), Arc::clone(bytes)),
        };
        Some(wake(id, self.shard, &asleep))
    }

    /// Where a twin stands.
    pub(crate) fn standing(&self, id: &str) -> Option<Standing> {
        Some(match self.read().get(id)? {
            Shown::Awake(view) => {
                Standing { version: view.version, sequence: view.sequence, appended_at: view.appended_at }
            }
            Shown::Asleep(bytes) => standing(bytes).0,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.read().len()
    }

    /// Visits all as they stand at one moment; those asleep come after the lock, since they must be decoded.
    pub(crate) fn visit(&self, visit: &mut impl FnMut(&TwinView)) {
        let mut asleep = Vec::new();
        for (id, shown) in &*self.read() {
            match shown {
                Shown::Awake(view) => visit(view),
                Shown::Asleep(bytes) => asleep.push((id.clone(), Arc::clone(bytes))),
            }
        }
        for (id, bytes) in asleep {
            visit(&wake(id, self.shard, &bytes));
        }
    }

    /// Replaces everything: what recovery found is the truth.
    pub(crate) fn replace(&self, found: Found) {
        *self.write() = found.0;
    }

    /// Holds a twin encoded until it moves again.
    pub(crate) fn sleep(&self, id: &LocomotiveId) {
        if let Some(shown) = self.write().get_mut(id)
            && let Shown::Awake(view) = shown
        {
            *shown = Shown::Asleep(lay_down(view));
        }
    }

    /// Takes the states of an append.
    pub(crate) fn update(&self, views: Vec<TwinView>) {
        let mut twins = self.write();
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
pub(crate) struct Found(FxHashMap<LocomotiveId, Shown>);

impl Found {
    /// Takes one; that of a sleeping twin is encoded at once.
    pub(crate) fn add(&mut self, view: TwinView, asleep: bool) {
        let id = view.id.clone();
        let shown = if asleep { Shown::Asleep(lay_down(&view)) } else { Shown::Awake(Box::new(view)) };
        self.0.insert(id, shown);
    }
}

fn lay_down(view: &TwinView) -> Arc<[u8]> {
    let standing = [view.version, view.sequence, view.appended_at.cast_unsigned()].map(u64::to_le_bytes);
    let mut bytes = standing.concat();
    bytes.extend_from_slice(&codec::encode_state(&view.state));
    Arc::from(bytes)
}

/// The standing in front, and the encoded state behind it.
fn standing(bytes: &[u8]) -> (Standing, &[u8]) {
    let number = |nth: usize| {
        let number = bytes[nth * 8..].first_chunk().expect("what was laid down above begins with three numbers");
        u64::from_le_bytes(*number)
    };
    let standing = Standing { version: number(0), sequence: number(1), appended_at: number(2).cast_signed() };
    (standing, &bytes[STANDING..])
}

fn wake(id: LocomotiveId, shard: u16, bytes: &[u8]) -> TwinView {
    let (Standing { version, sequence, appended_at }, state) = standing(bytes);
    let state = codec::decode_state(state).expect("what was encoded above is decoded here");
    TwinView { id, version, shard, sequence, appended_at, state }
}
