//! Is scoring as fast as it must be? Counted where a call is measured, judged over a window. A loaded machine makes single calls slow; the
//! breaker opens when most of them are.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use twin::instant::{MINUTE, Millis};

/// Seconds that scoring one row may take. A thousand times what the compiled forest needs: beyond it something is broken, not busy.
pub const OBJECTIVE: f64 = 0.001;
/// How far back the window reaches.
const WINDOW: Millis = MINUTE;
/// Measured calls below which nothing is judged.
const CALLS_LEAST: u64 = 20;

static CALLS: AtomicU64 = AtomicU64::new(0);
static SLOW: AtomicU64 = AtomicU64::new(0);
static NANOS: AtomicU64 = AtomicU64::new(0);
static ROWS: AtomicU64 = AtomicU64::new(0);

/// Counts one measured call, which scored so many rows.
pub fn measured(elapsed: Duration, rows: usize) {
    let slow = elapsed.as_secs_f64() > OBJECTIVE * rows.max(1) as f64;
    CALLS.fetch_add(1, Ordering::Relaxed);
    SLOW.fetch_add(u64::from(slow), Ordering::Relaxed);
    NANOS.fetch_add(elapsed.as_nanos() as u64, Ordering::Relaxed);
    ROWS.fetch_add(rows as u64, Ordering::Relaxed);
}

/// Counts at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    calls: u64,
    slow: u64,
    nanos: u64,
    rows: u64,
}

impl Counts {
    /// What this process has counted so far.
    pub fn now() -> Self {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Self { calls: read(&CALLS), slow: read(&SLOW), nanos: read(&NANOS), rows: read(&ROWS) }
    }
}

/// The sliding window.
#[derive(Debug, Default)]
pub struct Latency(VecDeque<(Millis, Counts)>);

impl Latency {
    /// Seconds a row on the mean, where more than half of the calls within the window were slower than the objective; `None` otherwise.
    pub fn beyond(&mut self, now: Millis, counts: Counts) -> Option<f64> {
        while self.0.len() > 1 && self.0[1].0 <= now - WINDOW {
            self.0.pop_front();
        }
        let (_, before) = self.0.front().copied().unwrap_or((now, counts));
        self.0.push_back((now, counts));
        let (calls, slow) = (counts.calls - before.calls, counts.slow - before.slow);
        let rows = counts.rows - before.rows;
        let beyond = calls >= CALLS_LEAST && slow * 2 > calls;
        beyond.then(|| (counts.nanos - before.nanos) as f64 / 1e9 / rows.max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_calls_must_be_slow_and_enough_of_them() {
        let at = |calls, slow| Counts { calls, slow, nanos: slow * 4_000_000, rows: calls };
        let mut latency = Latency::default();
        assert_eq!(latency.beyond(0, at(0, 0)), None);
        assert_eq!(latency.beyond(1_000, at(10, 10)), None, "too few to say");
        assert_eq!(latency.beyond(2_000, at(100, 40)), None, "a busy machine");
        assert!(latency.beyond(3_000, at(200, 140)).is_some_and(|seconds| (seconds - 0.0028).abs() < 1e-9));
        assert_eq!(latency.beyond(70_000, at(260, 141)), None, "the window has moved on");
    }
}
