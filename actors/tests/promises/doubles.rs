//! What stands in for the world: a clock set by hand, a scorer that can be made to panic, dead letters that are collected.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actors::{Clock, DeadLetter, DeadLetterError, DeadLetters};
use async_trait::async_trait;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use twin::features::FeatureKind;
use twin::fold::Blueprint;
use twin::ids::ModelId;
use twin::instant::Millis;
use twin::level::Thresholds;
use twin::scoring::{Score, Scorer};

use crate::stage::{eventually, quiet};

/// A clock set by hand; it counts who asks, so that ticks can be awaited.
#[derive(Clone)]
pub struct HandClock {
    now: Arc<AtomicI64>,
    asked: Arc<AtomicU64>,
}

impl HandClock {
    pub fn at(now: Millis) -> Self {
        Self { now: Arc::new(AtomicI64::new(now)), asked: Arc::default() }
    }

    pub fn set(&self, now: Millis) {
        self.now.store(now, Ordering::SeqCst);
    }

    /// As a fleet wants it.
    pub fn clock(&self) -> Clock {
        let Self { now, asked } = self.clone();
        Arc::new(move || {
            asked.fetch_add(1, Ordering::SeqCst);
            now.load(Ordering::SeqCst)
        })
    }

    /// As a fleet wants it, but the call after `fuse` is set panics.
    pub fn clock_with_a_fuse(&self, fuse: &Arc<AtomicBool>) -> Clock {
        let (clock, fuse) = (self.clock(), Arc::clone(fuse));
        Arc::new(move || {
            assert!(!fuse.swap(false, Ordering::SeqCst), "the clock is broken");
            clock()
        })
    }

    /// As a log wants it.
    pub fn uncounted(&self) -> Clock {
        let now = Arc::clone(&self.now);
        Arc::new(move || now.load(Ordering::SeqCst))
    }

    /// Waits until time has passed for a fleet at rest: a tick asks the clock once, and the next one is sent when it was heard.
    pub async fn some_ticks(&self) {
        let before = self.asked.load(Ordering::SeqCst);
        eventually("the fleet ticks", || self.asked.load(Ordering::SeqCst) >= before + 3).await;
        quiet().await;
    }
}

/// Risk = vibration / 10, explained by that alone. A fuse makes it panic on a given vibration.
pub struct Vibration {
    name: &'static [u8],
    column: usize,
    scored: Mutex<Vec<f32>>,
    fuses: Mutex<Vec<(f32, u32)>>,
}

impl Vibration {
    pub fn of(blueprint: &Blueprint) -> Self {
        Self::named(b"vibration", blueprint)
    }

    /// The same under the name of another model.
    pub fn named(name: &'static [u8], blueprint: &Blueprint) -> Self {
        let is_vibration = |kind: FeatureKind, sensor| kind == FeatureKind::Value && sensor == Some(2);
        let column = blueprint.schema.features.iter().position(|feature| is_vibration(feature.kind, feature.sensor));
        Self { name, column: column.expect("the definition has it"), scored: Mutex::default(), fuses: Mutex::default() }
    }

    /// Panics on this vibration the next `times` times.
    pub fn panics_on(&self, vibration: f32, times: u32) {
        locked(&self.fuses).push((vibration, times));
    }

    /// Whether a reading of this vibration was ever scored.
    pub fn has_scored(&self, vibration: f32) -> bool {
        locked(&self.scored).contains(&vibration)
    }

    fn burn(&self, vibration: f32) -> bool {
        let mut fuses = locked(&self.fuses);
        let fuse = fuses.iter_mut().find(|(value, left)| *value == vibration && *left > 0);
        fuse.map(|(_, left)| *left -= 1).is_some()
    }
}

impl Scorer for Vibration {
    fn model(&self) -> ModelId {
        ModelId::of(self.name)
    }

    fn thresholds(&self) -> Thresholds {
        Thresholds { watch: 0.3, danger: 0.6 }
    }

    fn base_rate(&self) -> f64 {
        0.1
    }

    fn score(&self, rows: &[f32], stride: usize, scores: &mut Vec<Score>) {
        for row in rows.chunks_exact(stride) {
            let vibration = row[self.column];
            locked(&self.scored).push(vibration);
            assert!(!self.burn(vibration), "a fuse burnt at {vibration}");
            scores.push(Score::of_votes((vibration * 10.0).round().clamp(0.0, 100.0) / 100.0));
        }
    }

    fn explain(&self, row: &[f32]) -> Vec<f64> {
        let mut weights = vec![0.0; row.len()];
        weights[self.column] = f64::from(row[self.column]) / 10.0 - 0.1;
        weights
    }
}

/// Dead letters in the order in which they were kept.
#[derive(Default)]
pub struct Letters {
    kept: Mutex<Vec<DeadLetter>>,
    full: AtomicBool,
}

impl Letters {
    /// Reasons of all letters.
    pub fn reasons(&self) -> Vec<String> {
        locked(&self.kept).iter().map(|letter| letter.reason.clone()).collect()
    }

    pub fn all(&self) -> Vec<DeadLetter> {
        locked(&self.kept).clone()
    }

    /// Whether there is no room for letters.
    pub fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }
}

#[async_trait]
impl DeadLetters for Letters {
    async fn keep(&self, letters: Vec<DeadLetter>) -> Result<(), DeadLetterError> {
        if self.full.load(Ordering::SeqCst) {
            return Err(DeadLetterError("no room".to_owned()));
        }
        locked(&self.kept).extend(letters);
        Ok(())
    }
}

/// Keeps what one counter counts on this thread, as long as it is the local recorder.
pub struct Counted {
    name: &'static str,
    count: Arc<AtomicU64>,
}

impl Counted {
    pub fn of(name: &'static str) -> Self {
        Self { name, count: Arc::default() }
    }

    pub fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }
}

impl Recorder for Counted {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        if key.name() == self.name { Counter::from_arc(Arc::clone(&self.count)) } else { Counter::noop() }
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
