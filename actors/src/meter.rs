//! Metrics of this room, each registered once. Their names are part of the contract.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{Counter, Gauge, Histogram};
use rustc_hash::FxHashMap;

/// Handles of one shard.
pub(crate) struct Meter {
    pub(crate) restarts: Counter,
    /// Twins that did not prove themselves when they were read again.
    pub(crate) mismatches: Counter,
    pub(crate) mailbox_depth: Gauge,
    pub(crate) fold_seconds: Histogram,
    pub(crate) append_seconds: Histogram,
    pub(crate) durable_seconds: Histogram,
    pub(crate) position: Gauge,
    /// Locomotive actors of this shard that are alive.
    pub(crate) hot: Arc<AtomicUsize>,
    locomotives_alive: Gauge,
    sources: Mutex<FxHashMap<String, Readings>>,
}

/// Counts of one source.
#[derive(Clone)]
pub(crate) struct Readings {
    pub(crate) accepted: Counter,
    pub(crate) duplicate: Counter,
    pub(crate) refused: Counter,
}

impl Meter {
    pub(crate) fn of(shard: u16) -> Self {
        Self {
            restarts: metrics::counter!("cidp_actor_restarts_total"),
            mismatches: metrics::counter!("cidp_state_mismatches_total"),
            mailbox_depth: metrics::gauge!("cidp_actor_mailbox_depth"),
            fold_seconds: metrics::histogram!("cidp_fold_seconds"),
            append_seconds: metrics::histogram!("cidp_log_append_seconds"),
            durable_seconds: metrics::histogram!("cidp_reading_to_durable_seconds"),
            position: metrics::gauge!("cidp_log_position", "shard" => shard.to_string()),
            hot: Arc::default(),
            locomotives_alive: metrics::gauge!("cidp_actors_alive", "kind" => "locomotive"),
            sources: Mutex::default(),
        }
    }

    /// A guard for one locomotive's actor.
    pub(crate) fn locomotive(&self) -> Alive {
        Alive { gauge: self.locomotives_alive.clone(), count: Arc::clone(&self.hot), begun: AtomicBool::new(false) }
    }

    /// Counters of a source (bounded: sources are topics and ways in, never senders).
    pub(crate) fn readings(&self, source: &str) -> Readings {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = sources.get(source) {
            return known.clone();
        }
        let counter = |outcome: &'static str| metrics::counter!("cidp_readings_total", "source" => source.to_owned(), "outcome" => outcome);
        let readings =
            Readings { accepted: counter("accepted"), duplicate: counter("duplicate"), refused: counter("refused") };
        sources.insert(source.to_owned(), readings.clone());
        readings
    }
}

/// Counts an actor from its start until its state is dropped, by whatever end.
pub(crate) struct Alive {
    gauge: Gauge,
    count: Arc<AtomicUsize>,
    begun: AtomicBool,
}

impl Alive {
    pub(crate) fn of(kind: &'static str) -> Self {
        let gauge = metrics::gauge!("cidp_actors_alive", "kind" => kind);
        Self { gauge, count: Arc::default(), begun: AtomicBool::new(false) }
    }

    pub(crate) fn begin(&self) {
        self.begun.store(true, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
        self.gauge.increment(1.0);
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        if self.begun.load(Ordering::Relaxed) {
            self.count.fetch_sub(1, Ordering::Relaxed);
            self.gauge.decrement(1.0);
        }
    }
}
