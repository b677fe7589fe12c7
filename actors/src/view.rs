//! The fleet view: the latest durable state of each twin, and what is told to those who follow. What is not durable is not here.

use std::sync::{PoisonError, RwLock};

use rustc_hash::FxHashMap;
use twin::event::{Cause, Event};
use twin::ids::LocomotiveId;
use twin::instant::Millis;
use twin::state::TwinState;

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

/// The views of one shard, under one short lock.
#[derive(Debug, Default)]
pub(crate) struct ShardView(RwLock<FxHashMap<LocomotiveId, TwinView>>);

impl ShardView {
    pub(crate) fn get(&self, id: &str) -> Option<TwinView> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(crate) fn visit(&self, visit: &mut impl FnMut(&TwinView)) {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().for_each(visit);
    }

    /// Replaces everything: what recovery found is the truth.
    pub(crate) fn replace(&self, views: impl Iterator<Item = TwinView>) {
        let views = views.map(|view| (view.id.clone(), view)).collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = views;
    }

    /// Takes the states of an append.
    pub(crate) fn update(&self, views: Vec<TwinView>) {
        let mut map = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for view in views {
            match map.get_mut(&view.id) {
                Some(known) => *known = view,
                None => {
                    map.insert(view.id.clone(), view);
                }
            }
        }
    }
}
