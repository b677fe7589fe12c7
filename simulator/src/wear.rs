//! Hidden wear: four components that grow old from repair to failure. A closed form in time, so that any moment can be asked for.

use twin::instant::{DAY, HOUR, Millis};

use crate::random::Draws;

/// A component that wears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Component {
    Pump,
    Bearing,
    Cooler,
    Seal,
}

impl Component {
    pub(crate) const ALL: [Self; 4] = [Self::Pump, Self::Bearing, Self::Cooler, Self::Seal];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pump => "pump",
            Self::Bearing => "bearing",
            Self::Cooler => "cooler",
            Self::Seal => "seal",
        }
    }

    /// Mean life in days. Bearings run with the hottest cooler circuit, and fail the most.
    const fn mean_life_days(self) -> f64 {
        match self {
            Self::Pump | Self::Seal => 58.0,
            Self::Bearing => 54.0,
            Self::Cooler => 62.0,
        }
    }
}

/// A sudden fault: from its onset wear runs straight to its end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Fault {
    pub(crate) onset: Millis,
    pub(crate) duration: Millis,
}

/// The life of one component since its last repair.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Life {
    started: Millis,
    /// Milliseconds from repair to a wear of 1.
    span: f64,
    shape: f64,
    /// Wear at which it fails; drawn, so that nobody can read the moment off the wear.
    limit: f64,
    /// Wear at which the crew hears or smells it and the depot repairs it before it fails; above `limit` where nobody notices.
    noticed: f64,
    fault: Option<Fault>,
}

impl Life {
    /// A component repaired at `started`.
    pub(crate) fn draw(component: Component, started: Millis, draws: &mut Draws) -> Self {
        let span = component.mean_life_days() * draws.between(0.55, 1.45) * DAY as f64;
        let shape = draws.between(3.0, 4.8);
        let limit = (1.0 + 0.035 * draws.normal()).clamp(0.9, 1.1);
        let noticed = if draws.chance(0.12) { limit * draws.between(0.7, 0.95) } else { f64::MAX };
        // One life in sixteen ends with a fault that comes within a day or a few.
        let fault = draws.chance(1.0 / 16.0).then(|| Fault {
            onset: started + (span * draws.between(0.05, 0.8)) as Millis,
            duration: (draws.between(12.0, 84.0) * HOUR as f64) as Millis,
        });
        Self { started, span, shape, limit, noticed, fault }
    }

    /// A sound component with a fault to come and no end of its own.
    pub(crate) const fn with_fault(started: Millis, fault: Fault) -> Self {
        Self { started, span: f64::MAX, shape: 2.0, limit: f64::MAX, noticed: f64::MAX, fault: Some(fault) }
    }

    /// Moves the start back, as if it had already run for `share` of its life.
    pub(crate) fn aged(mut self, share: f64) -> Self {
        let back = (self.span * share) as Millis;
        self.started -= back;
        self.fault = None;
        self
    }

    /// Wear at a moment: 0 new, about 1 at the end.
    pub(crate) fn wear(&self, at: Millis) -> f64 {
        let slow = libm::pow((at - self.started).max(0) as f64 / self.span, self.shape);
        let fast = self.fault.map_or(0.0, |fault| (at - fault.onset).max(0) as f64 / fault.duration as f64);
        slow.max(fast).min(1.1)
    }

    /// When it fails.
    pub(crate) fn fails_at(&self) -> Millis {
        self.reaches(self.limit)
    }

    /// When it is repaired although it has not failed; `Millis::MAX` where nobody notices before it fails.
    pub(crate) fn noticed_at(&self) -> Millis {
        if self.noticed < self.limit { self.reaches(self.noticed) } else { Millis::MAX }
    }

    fn reaches(&self, wear: f64) -> Millis {
        let slow = self.span * libm::pow(wear, 1.0 / self.shape);
        let slow = if slow < 1e15 { self.started + slow as Millis } else { Millis::MAX };
        let fast =
            self.fault.filter(|_| wear < 2.0).map(|fault| fault.onset + (fault.duration as f64 * wear) as Millis);
        slow.min(fast.unwrap_or(Millis::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wear_reaches_its_limit_when_it_fails() {
        let mut draws = Draws::new(7, 0);
        for _ in 0..200 {
            let life = Life::draw(Component::Bearing, 1_000, &mut draws);
            let end = life.fails_at();
            assert!((life.wear(end) - life.limit).abs() < 0.01, "{} at its end", life.wear(end));
            assert!(life.wear(1_000) < 1e-9 && life.wear(end - HOUR) < life.limit);
        }
    }
}
