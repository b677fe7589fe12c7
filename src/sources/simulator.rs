//! The simulated fleet as a source: its readings and its depot's work go the way of any others. No rule of a twin knows of it.

use std::sync::Arc;
use std::time::Duration;

use actors::{Batch, CommandError, Fleet, IngestError, Source};
use simulator::{Demonstration, FleetOptions, SimEvent, SimReading, Work, WorkKind};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use twin::command::Command;
use twin::definition::Definition;
use twin::event::{Cause, MaintenanceKind};
use twin::ids::LocomotiveId;
use twin::instant::Millis;
use twin::wire;

use crate::http::Parts;
use crate::http::serve::ended;

/// Name of this source.
pub const SOURCE: &str = "simulator";
/// How often the simulation moves on.
const STEP: Duration = Duration::from_millis(250);
/// Pause before something that was not taken is given again.
const AGAIN: Duration = Duration::from_millis(200);

/// Whether a definition is of the machine that is simulated.
pub fn fits(definition: &Definition) -> bool {
    let keys: Vec<_> = definition.sensors.iter().map(|sensor| sensor.key.as_str()).collect();
    definition.name == "locomotive" && keys == ["flow", "pressure", "vibration", "temperature"]
}

/// What the simulation needs of the program.
pub struct Simulation {
    fleet: Fleet,
    definition: Definition,
    clock: actors::Clock,
    shutdown: watch::Receiver<bool>,
}

impl Simulation {
    /// A simulation beside the API.
    pub fn new(parts: &Parts) -> Self {
        Self {
            fleet: parts.fleet.clone(),
            definition: parts.model.blueprint.definition.clone(),
            clock: parts.clock.clone(),
            shutdown: parts.shutdown.clone(),
        }
    }

    /// Runs a fleet and the demonstration locomotive from now until the end is announced. Its time is the clock's: after a pause of the
    /// program the fleet goes on from the present, as machines do.
    pub async fn run(mut self, seed: u64, locomotives: usize) {
        let start = (self.clock)();
        let mut fleet = simulator::Fleet::new(&FleetOptions::new(seed, locomotives, start));
        let mut demonstration = Demonstration::new(seed, start);
        let renewed: Vec<_> = fleet.ids().chain([simulator::demonstration::ID]).map(Arc::from).collect();
        for locomotive_id in renewed {
            if self.renew(locomotive_id, start).await.is_none() {
                return;
            }
        }
        let mut step = tokio::time::interval(STEP);
        step.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = step.tick() => {}
                () = ended(&mut self.shutdown) => return,
            }
            let now = (self.clock)();
            let mut events = fleet.advance_to(now);
            events.extend(demonstration.advance_to(now));
            events.sort_by_key(SimEvent::at);
            if self.give(events, now).await.is_none() {
                return;
            }
        }
    }

    /// The wear of a simulated locomotive begins anew with the program: where its twin is already there, the depot has worked on it.
    async fn renew(&mut self, locomotive_id: Arc<str>, now: Millis) -> Option<()> {
        if self.fleet.twin(&locomotive_id).is_none() {
            return Some(());
        }
        let (kind, component, note) = (WorkKind::Preventive, "all", "the simulation has begun anew");
        self.record(&Work { locomotive_id, performed_at: now, kind, component, note }, now).await
    }

    /// Gives events in their order; `None` when the end was announced.
    async fn give(&mut self, events: Vec<SimEvent>, now: Millis) -> Option<()> {
        let mut readings = Vec::new();
        for event in events {
            match event {
                SimEvent::Reading(reading) => readings.extend(self.decode(&reading, now)),
                SimEvent::Work(work) => {
                    self.ingest(std::mem::take(&mut readings)).await?;
                    self.record(&work, now).await?;
                }
            }
        }
        self.ingest(readings).await
    }

    /// A simulated reading comes in as JSON, like any other.
    fn decode(&self, reading: &SimReading, now: Millis) -> Option<wire::Addressed> {
        let mut json = String::new();
        reading.write_json(&mut json);
        // A reading of a locomotive whose sensors have all dropped out says nothing.
        wire::decode(json.as_bytes(), &self.definition, now, None).ok()
    }

    async fn ingest(&mut self, readings: Vec<wire::Addressed>) -> Option<()> {
        if readings.is_empty() {
            return Some(());
        }
        loop {
            let batch = Batch { readings: readings.clone(), source: Source::named(SOURCE), cause: Cause::of(SOURCE) };
            match self.fleet.ingest(batch).await {
                Ok(_) => return Some(()),
                Err(IngestError::Stopping) => return None,
                Err(error @ (IngestError::Overloaded { .. } | IngestError::Unavailable { .. })) => {
                    tracing::warn!(%error, "simulated readings wait");
                    self.pause().await?;
                }
            }
        }
    }

    async fn record(&mut self, work: &Work, now: Millis) -> Option<()> {
        let Ok(id) = LocomotiveId::parse(&work.locomotive_id) else {
            return Some(());
        };
        let done =
            twin::event::Work { at: work.performed_at, component: work.component.to_owned(), note: String::new() };
        let command = match work.kind {
            WorkKind::Preventive => Command::RecordMaintenance { kind: MaintenanceKind::Preventive, work: done },
            WorkKind::Corrective => Command::RecordMaintenance { kind: MaintenanceKind::Corrective, work: done },
            WorkKind::Failure => Command::ReportFailure(done),
        };
        let cause = Cause { asked_at: now, actor: "depot".to_owned(), ..Cause::of(SOURCE) };
        loop {
            match self.fleet.command(&id, command.clone(), cause.clone()).await {
                // A locomotive that has not yet sent a reading, or that somebody retired, has no depot.
                Ok(_) | Err(CommandError::Refused(_)) => return Some(()),
                Err(CommandError::Stopping) => return None,
                Err(error @ (CommandError::Unavailable { .. } | CommandError::Overloaded { .. })) => {
                    tracing::warn!(%error, "simulated work waits");
                    self.pause().await?;
                }
            }
        }
    }

    async fn pause(&mut self) -> Option<()> {
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => Some(()),
            () = ended(&mut self.shutdown) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_simulated_machine_fits() {
        let text = include_str!("../../data/locomotive.toml");
        assert!(fits(&Definition::parse(text).expect("valid")));
        let other = text.replace("name = \"locomotive\"", "name = \"pump\"");
        assert!(!fits(&Definition::parse(&other).expect("valid")));
    }
}
