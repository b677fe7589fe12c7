//! Which rows train, which choose the thresholds and which judge. Decided by machine and by time, never by row: neighbours in time are alike.
//!
//! With five machines or more: of every five by id, the third validates and the fifth tests, over the whole time; the others train on the
//! first 85 % of the time, less the label's horizon, so that no training label looks into what comes later; what comes later judges them
//! too (`later`: known machines, unknown time). With fewer machines the time is cut into twenty blocks (fewer where they would be shorter than
//! three horizons), and of every five the third validates and the fifth tests; a training block leaves out a horizon at each end, so that no
//! failure is in the labels of two parts. That none of this leaks is checked in `leak`, not believed.

use twin::instant::Millis;

/// Machines from which on they are split by machine.
const ENOUGH_MACHINES: usize = 5;
/// Blocks of time where there are fewer.
const MOST_BLOCKS: i64 = 20;

/// What a row is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Teaches.
    Training,
    /// Chooses the thresholds.
    Validation,
    /// Judges, on machines (or times) that nothing was learnt from.
    Test,
    /// Judges, on known machines at a later time.
    Later,
    /// Its label looks over the border of its part.
    None,
}

/// A split of a past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    by_machine: bool,
    first: Millis,
    last: Millis,
    horizon: Millis,
    block: Millis,
}

impl Split {
    /// The split for so many machines with readings from `first` to `last`, whose labels look `horizon` ahead.
    pub const fn new(machines: usize, (first, last): (Millis, Millis), horizon: Millis) -> Self {
        let twentieth = (last - first) / MOST_BLOCKS + 1;
        let block = if twentieth < 3 * horizon { 3 * horizon } else { twentieth };
        Self { by_machine: machines >= ENOUGH_MACHINES, first, last, horizon, block }
    }

    /// Whether it is by machine.
    pub const fn is_by_machine(&self) -> bool {
        self.by_machine
    }

    /// In words, for the model card.
    pub const fn describe(&self) -> &'static str {
        if self.by_machine {
            "by machine (3 train, 1 validates, 1 tests of every 5) and by time (training on the first 85 %)"
        } else {
            "by time (blocks: 3 train, 1 validates, 1 tests of every 5)"
        }
    }

    /// The part of a row of the `machine`th machine (by id) at `at`.
    pub const fn part(&self, machine: usize, at: Millis) -> Part {
        if self.by_machine {
            let cut = self.first + (self.last - self.first) / 100 * 85;
            return match machine % 5 {
                2 => Part::Validation,
                4 => Part::Test,
                _ if at >= cut => Part::Later,
                _ if at + self.horizon < cut => Part::Training,
                _ => Part::None,
            };
        }
        let block = (at - self.first) / self.block;
        let start = self.first + block * self.block;
        let inside = at - start >= self.horizon && (self.horizon == 0 || at + self.horizon < start + self.block);
        match block % 5 {
            2 => Part::Validation,
            4 => Part::Test,
            _ if inside => Part::Training,
            _ => Part::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_that_test_never_train() {
        let split = Split::new(10, (0, 1_000), 50);
        for at in (0..=1_000).step_by(10) {
            assert_eq!(split.part(4, at), Part::Test);
            assert_eq!(split.part(7, at), Part::Validation);
        }
        assert_eq!(split.part(0, 799), Part::Training);
        assert_eq!(split.part(0, 800), Part::None);
        assert_eq!(split.part(0, 850), Part::Later);
    }

    #[test]
    fn one_machine_is_split_by_time() {
        let split = Split::new(1, (0, 1_999), 0);
        let parts: Vec<_> = (0..10).map(|block| split.part(0, block * 100 + 50)).collect();
        assert_eq!(parts[2..5], [Part::Validation, Part::Training, Part::Test]);
        assert_eq!(parts.iter().filter(|part| **part == Part::Training).count(), 6);
        let purged = Split::new(1, (0, 1_999), 30);
        assert_eq!([75, 50, 20].map(|at| purged.part(0, at)), [Part::None, Part::Training, Part::None]);
    }
}
