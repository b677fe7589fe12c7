//! How the breaker stands, as everybody reads it who gives scores out: a cheap handle, and the words for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::sync::{PoisonError, RwLock};

use serde::Serialize;
use twin::fleet::{Breaker, Suspension};
use twin::fold::Blueprint;
use twin::instant::{self, Millis, SECOND};
use twin::level::Level;
use utoipa::ToSchema;

use super::machine::{Held, Machine};

/// While the breaker is on trial, so often one request is let through.
const TRIED_EVERY: Millis = SECOND;

/// One cause that holds the breaker open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = BreakerCause)]
pub struct Cause {
    /// `drift`, `latency`, `alert` or `operator`.
    #[schema(example = "alert")]
    pub kind: &'static str,
    /// What it is, in words.
    pub reason: String,
    /// The same in French.
    pub reason_fr: String,
    /// Fingerprint of the alert; left out for other kinds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Since when.
    pub since: String,
}

/// How the breaker stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
// `Standing` is the name of how a locomotive stands.
#[schema(as = BreakerStanding)]
pub struct Standing {
    /// `closed`, `half_open` or `open`.
    #[schema(example = "closed")]
    pub state: &'static str,
    /// Why it is not closed; `null` where it is.
    #[schema(required)]
    pub reason: Option<String>,
    /// The same in French.
    #[schema(required)]
    pub reason_fr: Option<String>,
    /// Since when it stands so; `null` when it never turned.
    #[schema(required)]
    pub since: Option<String>,
    /// What holds it open.
    pub causes: Vec<Cause>,
}

impl Standing {
    /// The standing of a machine. Features are named as the blueprint does.
    pub fn of(machine: &Machine, blueprint: &Blueprint) -> Self {
        let causes: Vec<_> = machine.holding().map(|held| cause(held, blueprint)).collect();
        let joined = |texts: Vec<&str>| (!texts.is_empty()).then(|| texts.join("; "));
        let (mut reason, mut reason_fr) = (
            joined(causes.iter().map(|cause| cause.reason.as_str()).collect()),
            joined(causes.iter().map(|cause| cause.reason_fr.as_str()).collect()),
        );
        if let Some(why) = machine.on_trial_after() {
            let (en, fr) = words(why, blueprint);
            reason = Some(format!("on trial after: {en}"));
            reason_fr = Some(format!("à l’essai après : {fr}"));
        }
        Self { state: machine.state().name(), reason, reason_fr, since: machine.since().map(instant::format), causes }
    }
}

fn cause(held: &Held, blueprint: &Blueprint) -> Cause {
    let (reason, reason_fr) = words(&held.why, blueprint);
    let fingerprint = match &held.why {
        Suspension::Alert { fingerprint, .. } => Some(fingerprint.clone()),
        Suspension::Drift { .. } | Suspension::Latency { .. } | Suspension::Order { .. } => None,
    };
    Cause { kind: held.why.kind(), reason, reason_fr, fingerprint, since: instant::format(held.since) }
}

/// A cause in English and in French.
fn words(why: &Suspension, blueprint: &Blueprint) -> (String, String) {
    match why {
        Suspension::Drift { feature, psi } => {
            let known = blueprint.schema.features.iter().find(|known| known.id == *feature);
            let name = known.map_or_else(|| format!("feature_{}", feature.0), |known| known.name.clone());
            (
                format!("drift: {name} is no longer distributed as in training (PSI {psi:.2})"),
                format!("dérive : {name} n’est plus répartie comme à l’apprentissage (PSI {psi:.2})"),
            )
        }
        Suspension::Latency { seconds, objective } => {
            let (now, most) = (seconds * 1e3, objective * 1e3);
            (
                format!("latency: scoring takes {now:.2} ms a row, its objective is {most:.2} ms"),
                format!("lenteur : le calcul prend {now:.2} ms par ligne, l’objectif est {most:.2} ms"),
            )
        }
        Suspension::Alert { name, .. } if name.is_empty() => {
            ("alert: an alert fires in Alertmanager".to_owned(), "alerte : Alertmanager en signale une".to_owned())
        }
        Suspension::Alert { name, .. } => (format!("alert: {name} fires"), format!("alerte : {name}")),
        Suspension::Order { .. } => {
            ("operator: opened by an operator".to_owned(), "ouvert par un opérateur".to_owned())
        }
    }
}

struct Shared {
    state: AtomicU8,
    tried_at: AtomicI64,
    standing: RwLock<Arc<Standing>>,
}

/// Whether scores may be given out. All clones are the same.
#[derive(Clone)]
pub struct Scoring(Arc<Shared>);

impl Default for Scoring {
    /// Closed for ever, as for what is known of the past.
    fn default() -> Self {
        let standing =
            Standing { state: Breaker::Closed.name(), reason: None, reason_fr: None, since: None, causes: Vec::new() };
        Self(Arc::new(Shared {
            state: AtomicU8::new(number(Breaker::Closed)),
            tried_at: AtomicI64::new(Millis::MIN / 2),
            standing: RwLock::new(Arc::new(standing)),
        }))
    }
}

const fn number(state: Breaker) -> u8 {
    match state {
        Breaker::Closed => 0,
        Breaker::HalfOpen => 1,
        Breaker::Open => 2,
    }
}

impl Scoring {
    pub(super) fn set(&self, state: Breaker, standing: Standing) {
        *self.0.standing.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(standing);
        self.0.state.store(number(state), Ordering::Release);
    }

    /// How the breaker stands.
    pub fn standing(&self) -> Arc<Standing> {
        Arc::clone(&self.0.standing.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether levels and risks are held back: until it is closed, also on trial.
    pub fn is_suspended(&self) -> bool {
        self.0.state.load(Ordering::Acquire) != number(Breaker::Closed)
    }

    /// A level as it may be told.
    pub fn level(&self, level: Level) -> Level {
        if self.is_suspended() { Level::Unknown } else { level }
    }

    /// Lets a request for a score through, or says how many seconds to wait. On trial one a second is let through.
    pub fn admit(&self, now: Millis) -> Result<(), u32> {
        match self.0.state.load(Ordering::Acquire) {
            0 => Ok(()),
            1 => {
                let free = |at: Millis| (now - at >= TRIED_EVERY).then_some(now);
                let tried = self.0.tried_at.fetch_update(Ordering::AcqRel, Ordering::Acquire, free);
                tried.map(|_| ()).map_err(|_| 1)
            }
            _ => Err(10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_trial_one_request_a_second_is_let_through() {
        let scoring = Scoring::default();
        assert_eq!((scoring.admit(0), scoring.level(Level::Danger)), (Ok(()), Level::Danger));
        let standing = (*scoring.standing()).clone();
        scoring.set(Breaker::HalfOpen, standing.clone());
        assert_eq!([0, 10, 999, 1_000, 1_001].map(|now| scoring.admit(now)), [Ok(()), Err(1), Err(1), Ok(()), Err(1)]);
        assert_eq!(scoring.level(Level::Danger), Level::Unknown);
        scoring.set(Breaker::Open, standing);
        assert_eq!(scoring.admit(5_000), Err(10));
    }
}
