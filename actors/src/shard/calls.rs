//! Calling twins and waiting for them: waking, rebuilding after a panic, asking the log for identities, and the careful way past a poison.

use std::sync::Arc;

use ractor::{Actor, ActorRef};
use twin::codec::kind;
use twin::event::Event;
use twin::identity::KnownIdentities;
use twin::ids::LocomotiveId;
use twin::instant::Millis;

use super::{Fault, Residence, Shard};
use crate::collect::Collector;
use crate::live::{Answer, Call, Grouped, LiveTwin, Moved, view_of};
use crate::locomotive::{Cabin, Locomotive, LocomotiveMessage};
use crate::past;
use crate::replay::{self, Replayed};
use crate::snapshots::{self, speaks_since};

/// What was tried with one part of a batch.
#[derive(Clone, Default)]
struct Tried {
    known: Option<Arc<KnownIdentities>>,
    failures: u8,
}

impl Shard {
    /// Folds every part of a batch; the moves in the order of the parts.
    pub(super) async fn fold(&mut self, batch: &Arc<Grouped>, residents: &[usize]) -> Result<Vec<Moved>, Fault> {
        let mut by_part: Vec<Option<Moved>> = residents.iter().map(|_| None).collect();
        let mut attempts = vec![Tried::default(); residents.len()];
        let mut open: Vec<usize> = (0..residents.len()).collect();
        while !open.is_empty() {
            let call = |&part: &usize| {
                let Tried { known, failures } = &attempts[part];
                let (batch, known, careful) = (Arc::clone(batch), known.clone(), *failures > 1);
                (residents[part], Call::Fold { batch, part, known, careful })
            };
            let answers = self.call(open.iter().map(call).collect()).await?;
            let mut again = Vec::new();
            for (part, answer) in open.into_iter().zip(answers) {
                let resident = residents[part];
                match answer {
                    Answer::Done(moved) => {
                        self.note(resident, &moved);
                        by_part[part] = Some(*moved);
                    }
                    Answer::NeedsHistory(from, to) => {
                        attempts[part].known = Some(self.ask_log(resident, from, to).await?);
                        again.push(part);
                    }
                    Answer::Lost(_) if attempts[part].failures < 2 => {
                        attempts[part].failures += 1;
                        again.push(part);
                    }
                    other => return Err(self.misfit(resident, other)),
                }
            }
            open = again;
        }
        Ok(by_part.into_iter().flatten().collect())
    }

    /// Calls twins and waits for all answers. A twin whose answer is lost is rebuilt at its next call.
    pub(super) async fn call(&mut self, calls: Vec<(usize, Call)>) -> Result<Vec<Answer>, Fault> {
        let count = calls.len();
        let collector = Collector::new(count);
        let mut called = Vec::with_capacity(count);
        for (slot, (resident, call)) in calls.into_iter().enumerate() {
            let ticket = collector.ticket(slot);
            let actor = self.wake(resident).await?;
            // A mailbox that is gone drops the ticket, which is a lost answer.
            let _ = actor.cast(LocomotiveMessage { call, ticket });
            called.push(resident);
        }
        self.door.meter.mailbox_depth.increment(count as f64);
        let answers = collector.answers().await;
        self.door.meter.mailbox_depth.decrement(count as f64);
        for (resident, answer) in called.into_iter().zip(&answers) {
            if let Answer::Lost(message) = answer {
                let resident = &mut self.residents[resident];
                resident.residence = Residence::Lost;
                self.door.meter.restarts.increment(1);
                tracing::warn!(shard = self.door.shard, %message, "a twin failed");
            }
        }
        Ok(answers)
    }

    /// The actor of a resident; spawned at the first touch, rebuilt from the log when the one before has failed.
    async fn wake(&mut self, index: usize) -> Result<&ActorRef<LocomotiveMessage>, Fault> {
        if !matches!(self.residents[index].residence, Residence::Hot(_)) {
            let twin = match std::mem::replace(&mut self.residents[index].residence, Residence::Lost) {
                Residence::Dormant(twin) => *twin,
                Residence::Asleep => self.recall(index).await?,
                Residence::Lost | Residence::Hot(_) => self.rebuild(index).await?,
            };
            self.residents[index].idle.0 = u64::MAX;
            let cabin = Cabin { twin, workshop: Arc::clone(&self.workshop), alive: self.door.meter.locomotive() };
            let spawned = Actor::spawn_linked(None, Locomotive, cabin, self.myself.get_cell()).await;
            let (actor, _) = spawned.map_err(|error| Fault::Spawn(error.to_string()))?;
            self.residents[index].residence = Residence::Hot(actor);
        }
        match &self.residents[index].residence {
            Residence::Hot(actor) => Ok(actor),
            Residence::Dormant(_) | Residence::Asleep | Residence::Lost => {
                Err(Fault::Spawn("a twin was lost while it was woken".to_owned()))
            }
        }
    }

    /// A twin whose actor failed, from the log. What is decided of it must be durable first, and then the log holds exactly its version, and
    /// the view shows the same state.
    async fn rebuild(&mut self, index: usize) -> Result<LiveTwin, Fault> {
        self.settle().await?;
        let (id, version) = (self.residents[index].id.clone(), self.residents[index].version);
        if version == 0 {
            let state = twin::state::TwinState::new();
            return Ok(LiveTwin { id, version, state });
        }
        let mut twin = self.reread(index, u64::MAX).await?;
        let shown = self.door.view.get(id.as_str()).filter(|shown| shown.version == version);
        if shown.is_some_and(|shown| shown.state != view_of(&mut twin.state)) {
            self.door.meter.mismatches.increment(1);
            tracing::error!(shard = self.door.shard, locomotive = %id, version, "a rebuilt twin is not the one that was shown; all its events are read");
            twin = self.reread(index, 0).await?;
            self.show(&id, &twin);
        }
        Ok(LiveTwin { id, version, state: twin.state })
    }

    /// A sleeping twin out of its entry, which must be what was kept; if not, its events are read, all of them.
    async fn recall(&mut self, index: usize) -> Result<LiveTwin, Fault> {
        let (id, version, shard) = (self.residents[index].id.clone(), self.residents[index].version, self.door.shard);
        let Some(entered) = self.residents[index].entered.filter(|entered| entered.version == version) else {
            return self.rebuild(index).await;
        };
        let entry = self.ground.options.journal.snapshot_entry(shard, entered.sequence, id.as_str()).await?;
        let kept = entry.and_then(|entry| snapshots::open(&entry).ok()).filter(|kept| kept.proof == entered.proof);
        if let Some(Ok(twin)) = kept.map(|kept| kept.twin()) {
            return Ok(LiveTwin { id, version, state: twin.state });
        }
        self.door.meter.mismatches.increment(1);
        tracing::error!(shard, locomotive = %id, version, "a sleeping twin's entry is not what was kept; all its events are read");
        let twin = self.reread(index, 0).await?;
        if snapshots::proof_of(&id, &twin) != entered.proof {
            tracing::error!(shard, locomotive = %id, version, "its events tell another state than the one that was kept; they are believed");
            self.show(&id, &twin);
        }
        // It is kept anew with the next snapshot, or when it sleeps again.
        self.residents[index].entered = None;
        Ok(LiveTwin { id, version, state: twin.state })
    }

    /// A twin out of its events, begun with an entry at a position of `entries_up_to` at most, or at the horizon where they are gone.
    async fn reread(&self, index: usize, entries_up_to: u64) -> Result<Replayed, Fault> {
        let (id, version, shard) = (&self.residents[index].id, self.residents[index].version, self.door.shard);
        let horizon = self.ground.options.journal.horizon(shard).await?;
        let rebuilt = self.ground.past.rebuild(id, shard, version, entries_up_to.max(horizon.sequence)).await?;
        rebuilt.ok_or_else(|| lost(id, "the log does not hold its version"))
    }

    /// Shows a twin as its events tell it.
    fn show(&self, id: &LocomotiveId, twin: &Replayed) {
        let mut view = past::view_of(id.clone(), self.door.shard, twin.clone());
        view.state = view_of(&mut view.state);
        self.door.view.update(vec![view]);
    }

    /// Identities that the log holds in a range of event times.
    async fn ask_log(&mut self, index: usize, from: Millis, to: Millis) -> Result<Arc<KnownIdentities>, Fault> {
        self.settle().await?;
        let id = self.residents[index].id.as_str();
        let records = self.ground.options.journal.read_occurred(id, kind::TELEMETRY_RECORDED, from, to).await?;
        let mut known = KnownIdentities::new();
        let blueprints = &self.workshop.definitions.blueprints;
        // What retention has dropped is forgotten: a reading of then that comes again is recorded again, as a late one.
        for record in records.iter().filter(|record| record.payload.kept().is_some()) {
            if let (Event::TelemetryRecorded(telemetry), _) = replay::decode(record, blueprints)? {
                let blueprint = blueprints.get(telemetry.definition).map_err(replay::ReplayError::from)?;
                let readings = telemetry.readings.iter().map(|recorded| &recorded.reading);
                let wanted = readings.filter(|reading| (from..=to).contains(&reading.recorded_at));
                known.extend(wanted.map(|reading| (reading.recorded_at, reading.digest(&blueprint.definition))));
            }
        }
        Ok(Arc::new(known))
    }

    /// Keeps in mind where a twin stands now.
    pub(super) fn note(&mut self, resident: usize, moved: &Moved) {
        let resident = &mut self.residents[resident];
        resident.version = moved.version;
        resident.speaks_since = speaks_since(&moved.view);
    }

    pub(super) fn misfit(&self, resident: usize, answer: Answer) -> Fault {
        let message = match answer {
            Answer::Lost(message) => message,
            _ => "it answered another question".to_owned(),
        };
        lost(&self.residents[resident].id, &message)
    }
}

fn lost(locomotive: &LocomotiveId, message: &str) -> Fault {
    Fault::Twin { locomotive: locomotive.clone(), message: message.to_owned() }
}
