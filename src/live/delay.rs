//! How long readings take from their arrival to the live stream, as the metric `cidp_reading_to_publish_seconds`. A twin may move without
//! a reading, and nobody may listen for hours: neither may look like a slow reading.

use std::collections::HashMap;

use metrics::Histogram;
use twin::ids::LocomotiveId;
use twin::instant::Millis;

/// What was measured so far.
pub(super) struct Delay {
    histogram: Histogram,
    /// Until then nobody listened.
    unheard_until: Millis,
    /// Arrival of the newest reading of each twin that was measured.
    measured: HashMap<LocomotiveId, Millis>,
}

impl Delay {
    pub(super) fn new(now: Millis) -> Self {
        let histogram = metrics::histogram!("cidp_reading_to_publish_seconds");
        Self { histogram, unheard_until: now, measured: HashMap::new() }
    }

    /// Nobody listens now.
    pub(super) fn unheard(&mut self, now: Millis) {
        self.unheard_until = now;
        self.measured.clear();
    }

    /// A twin was handed over whose newest reading arrived at `received`.
    pub(super) fn handed_over(&mut self, id: LocomotiveId, received: Millis, now: Millis) {
        if let Some(seconds) = self.seconds(id, received, now) {
            self.histogram.record(seconds);
        }
    }

    fn seconds(&mut self, id: LocomotiveId, received: Millis, now: Millis) -> Option<f64> {
        if received <= self.unheard_until || self.measured.insert(id, received).is_some_and(|before| received <= before)
        {
            return None;
        }
        Some((now - received).max(0) as f64 / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reading_is_measured_once_and_only_while_somebody_listens() {
        let id = || LocomotiveId::parse("CC-1").expect("valid");
        let mut delay = Delay::new(1_000);
        assert_eq!(delay.seconds(id(), 900, 1_100), None, "it came before anybody listened");
        assert_eq!(delay.seconds(id(), 1_050, 1_100), Some(0.05));
        assert_eq!(delay.seconds(id(), 1_050, 9_000), None, "a move without a reading");
        assert_eq!(delay.seconds(id(), 9_000, 9_100), Some(0.1));
        delay.unheard(20_000);
        assert_eq!(delay.seconds(id(), 19_000, 90_000), None, "nobody was there to be told");
        assert_eq!(delay.seconds(id(), 90_100, 90_000), Some(0.0), "a clock that was set back");
    }
}
