//! How many requests a second a key may make.

use std::sync::atomic::{AtomicI64, Ordering};

use twin::instant::Millis;

/// One second in microseconds: so much may be asked at once.
const WINDOW: i64 = 1_000_000;

/// A rate as the generic cell rate algorithm (ITU-T I.371) keeps it: one number, the time at which the next request would be due if all came
/// evenly.
#[derive(Debug)]
pub struct Rate {
    /// Microseconds between two requests.
    interval: i64,
    /// Microseconds since 1970.
    due: AtomicI64,
}

impl Rate {
    /// At most `per_second` requests a second (at least one), which may come at once.
    pub const fn new(per_second: u32) -> Self {
        let per_second = if per_second == 0 { 1 } else { per_second };
        Self { interval: WINDOW / per_second as i64, due: AtomicI64::new(0) }
    }

    /// Counts one request.
    ///
    /// # Errors
    /// Whole seconds, at least one, after which there is room again.
    pub fn admit(&self, now: Millis) -> Result<(), u32> {
        let now = now.saturating_mul(1_000);
        // Nothing is due later than a window ahead unless the clock was set back, which must not shut a key out for as long.
        let after = |due: i64| if due > now + WINDOW { now } else { due.max(now) } + self.interval;
        let next = |due: i64| Some(after(due)).filter(|due| due - now <= WINDOW);
        let counted = self.due.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        counted.map(|_| ()).map_err(|due| {
            let wait = (after(due) - now - WINDOW).max(1);
            wait.unsigned_abs().div_ceil(WINDOW.unsigned_abs()) as u32
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = 1_769_932_800_000;

    #[test]
    fn so_many_come_at_once_and_then_evenly() {
        let rate = Rate::new(4);
        let admitted = (0..10).filter(|_| rate.admit(NOW).is_ok()).count();
        assert_eq!(admitted, 4);
        assert_eq!(rate.admit(NOW + 249), Err(1));
        assert_eq!((rate.admit(NOW + 250), rate.admit(NOW + 250)), (Ok(()), Err(1)));
        let later = (0..10).filter(|_| rate.admit(NOW + 60_000).is_ok()).count();
        assert_eq!(later, 4, "what was not asked is not saved up");
    }

    #[test]
    fn a_clock_that_was_set_back_shuts_nobody_out() {
        let rate = Rate::new(1);
        assert_eq!(rate.admit(NOW + 3_600_000), Ok(()));
        assert_eq!((rate.admit(NOW), rate.admit(NOW)), (Ok(()), Err(1)));
        assert_eq!(rate.admit(NOW + 1_000), Ok(()));
    }
}
