//! From a risk to a level: thresholds with hysteresis and dwell. Which thresholds hold is the model's affair.

use serde::Serialize;

use crate::definition::{Definition, LevelRules};
use crate::instant::Millis;

/// How a locomotive stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing can be said: no reading yet, no signal, or a sensor that cannot be believed.
    #[default]
    Unknown,
    /// Normal running.
    Nominal,
    /// Watch it.
    Watch,
    /// In danger.
    Danger,
}

impl Level {
    /// The wire name: `unknown`, `nominal`, `watch`, `danger`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Nominal => "nominal",
            Self::Watch => "watch",
            Self::Danger => "danger",
        }
    }

    /// The verdict shown to people, in French.
    pub const fn verdict(self) -> &'static str {
        match self {
            Self::Unknown => "INDÉTERMINÉ",
            Self::Nominal => "OPÉRATION NOMINALE",
            Self::Watch => "SURVEILLANCE",
            Self::Danger => "DANGER DÉTECTÉ",
        }
    }

    /// Reads a wire name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Unknown, Self::Nominal, Self::Watch, Self::Danger].into_iter().find(|level| level.name() == name)
    }
}

/// Risks from which a level begins, both in (0, 1), `watch < danger`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, serde::Deserialize)]
pub struct Thresholds {
    /// From here on: watch.
    pub watch: f32,
    /// From here on: danger.
    pub danger: f32,
}

impl Thresholds {
    /// The level of one risk by itself, without history.
    pub fn level(&self, risk: f32) -> Level {
        if risk >= self.danger {
            Level::Danger
        } else if risk >= self.watch {
            Level::Watch
        } else {
            Level::Nominal
        }
    }
}

/// Since when the risk has stood on each side of the thresholds without interruption (event time).
///
/// It depends on the scored readings alone, never on the level, so that events may be folded a batch at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dwell {
    /// At or above `danger`.
    pub danger_above: Option<Millis>,
    /// At or above `watch`.
    pub watch_above: Option<Millis>,
    /// Below `danger` minus hysteresis.
    pub danger_below: Option<Millis>,
    /// Below `watch` minus hysteresis.
    pub watch_below: Option<Millis>,
    /// The last scored reading.
    pub last_at: Option<Millis>,
}

impl Dwell {
    /// Takes one scored reading.
    pub fn observe(&mut self, risk: f32, at: Millis, thresholds: &Thresholds, definition: &Definition) {
        if self.last_at.is_some_and(|last| at - last > definition.gap) {
            // Nobody knows what the risk did meanwhile: what lasts must be seen to last.
            *self = Self::default();
        }
        self.last_at = Some(at);
        let rules = &definition.levels;
        let keep = |since: &mut Option<Millis>, holds: bool| {
            *since = if holds { since.or(Some(at)) } else { None };
        };
        keep(&mut self.danger_above, risk >= thresholds.danger);
        keep(&mut self.watch_above, risk >= thresholds.watch);
        keep(&mut self.danger_below, risk < thresholds.danger - rules.hysteresis);
        keep(&mut self.watch_below, risk < thresholds.watch - rules.hysteresis);
    }

    /// The level that follows `current` at `at`, for a `risk` just observed.
    ///
    /// A twin without a level takes that of its risk at once; otherwise a level is entered after `raise_seconds` above its threshold and
    /// left after `clear_seconds` below it, both counted from `believed_since` at the earliest: doubt neither raises nor clears.
    pub fn next(
        &self,
        current: Level,
        (risk, at): (f32, Millis),
        believed_since: Option<Millis>,
        thresholds: &Thresholds,
        rules: &LevelRules,
    ) -> Level {
        let since = |since: Millis| believed_since.map_or(since, |believed| since.max(believed));
        let held = |held: Option<Millis>, long: Millis| held.is_some_and(|held| at - since(held) >= long);
        let raise = |threshold| held(threshold, rules.raise);
        let clear = |threshold| held(threshold, rules.clear);
        match current {
            Level::Unknown => thresholds.level(risk),
            Level::Nominal | Level::Watch if raise(self.danger_above) => Level::Danger,
            Level::Nominal if raise(self.watch_above) => Level::Watch,
            Level::Watch | Level::Danger if clear(self.watch_below) => Level::Nominal,
            Level::Danger if clear(self.danger_below) => Level::Watch,
            Level::Nominal | Level::Watch | Level::Danger => current,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: Thresholds = Thresholds { watch: 0.3, danger: 0.6 };

    fn run(start: Level, risks: &[f32]) -> Vec<Level> {
        let definition = Definition::parse(include_str!("../../data/locomotive.toml")).expect("valid");
        let mut dwell = Dwell::default();
        let mut level = start;
        let step = |(second, &risk): (usize, &f32)| {
            let at = second as Millis * 5_000;
            dwell.observe(risk, at, &THRESHOLDS, &definition);
            level = dwell.next(level, (risk, at), None, &THRESHOLDS, &definition.levels);
            level
        };
        risks.iter().enumerate().map(step).collect()
    }

    #[test]
    fn a_short_peak_raises_nothing() {
        assert_eq!(run(Level::Nominal, &[0.1, 0.9, 0.1, 0.1]), [Level::Nominal; 4]);
    }

    #[test]
    fn a_peak_that_lasts_raises_and_clears_by_dwell() {
        let levels = run(Level::Nominal, &[0.9, 0.9, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1]);
        assert_eq!(levels[1..3], [Level::Nominal, Level::Danger]);
        assert_eq!(levels[6..8], [Level::Danger, Level::Nominal]);
    }

    #[test]
    fn hysteresis_keeps_the_level_near_its_threshold() {
        assert_eq!(run(Level::Danger, &[0.57; 8]), [Level::Danger; 8]);
        assert_eq!(run(Level::Danger, &[0.5; 8])[4], Level::Watch);
    }

    #[test]
    fn the_first_score_is_believed() {
        assert_eq!(run(Level::Unknown, &[0.9]), [Level::Danger]);
    }
}
