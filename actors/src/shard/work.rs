//! The shard's work: merge, fold, keep what was refused, commit. Commands and ticks go the same way.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use twin::command::Command;
use twin::event::ShardEvent;
use twin::instant::Millis;
use twin::refusal::CommandRefusal;

use super::commit::{Commit, Reply};
use super::intake::{Asked, Intake};
use super::messages::{CommandRequest, ShardMessage};
use super::{Fault, Shard, Waits};
use crate::dead_letters::DeadLetter;
use crate::ingest::{CommandError, Source};
use crate::live::{Answer, Call, Grouped, Moved};

impl Shard {
    /// Lets something wait, and sees to it that it is worked on after all that was sent before.
    pub(super) fn wait(&mut self, waits: Waits) {
        self.waits.push_back(waits);
        self.schedule();
    }

    fn schedule(&mut self) {
        if !self.scheduled && !self.waits.is_empty() {
            // An error means that this actor is stopping; it works off its queue then.
            let _ = self.myself.cast(ShardMessage::Work);
            self.scheduled = true;
        }
    }

    /// Works on what waits in front: a batch of readings, or one command.
    pub(super) async fn work(&mut self) -> Result<(), Fault> {
        self.scheduled = false;
        self.work_once().await?;
        self.snapshot_if_due().await?;
        self.schedule();
        Ok(())
    }

    /// Works on everything that waits.
    pub(super) async fn work_off(&mut self) -> Result<(), Fault> {
        while !self.waits.is_empty() {
            self.work_once().await?;
        }
        Ok(())
    }

    async fn work_once(&mut self) -> Result<(), Fault> {
        match self.waits.front() {
            None => Ok(()),
            Some(Waits::Ingest(_)) => self.take_in().await,
            Some(Waits::Command(_)) => match self.waits.pop_front() {
                Some(Waits::Command(request)) => self.carry_out(request).await,
                Some(Waits::Ingest(_)) | None => Ok(()),
            },
        }
    }

    async fn take_in(&mut self) -> Result<(), Fault> {
        let started = Instant::now();
        self.eased = false;
        let requests = self.take_requests();
        let Intake { grouped, residents, origin, mut asked, mut letters } = self.group(requests);
        let grouped = Arc::new(grouped);
        let moves = self.fold(&grouped, &residents).await?;
        self.door.meter.fold_seconds.record(started.elapsed());
        let mut commit = Commit::default();
        for (resident, moved) in residents.iter().zip(moves) {
            self.account(*resident, &moved, (&grouped, &origin), &mut asked, &mut letters);
            commit.add(&self.residents[*resident].id, moved);
        }
        self.vacate_unborn(&residents);
        if !letters.is_empty() {
            self.ground.options.dead_letters.keep(letters).await?;
        }
        self.end_with_positions(&mut commit, &asked);
        for asked in asked {
            let counts = self.door.meter.readings(&asked.source.topic);
            counts.accepted.increment(u64::from(asked.outcome.accepted));
            counts.duplicate.increment(u64::from(asked.outcome.duplicates));
            counts.refused.increment(asked.outcome.rejected.len() as u64);
            commit.replies.push(Reply::Ingest(asked));
        }
        self.commit(commit).await
    }

    /// Puts what became of a twin's readings to the account of those who brought them.
    fn account(
        &self,
        resident: usize,
        moved: &Moved,
        (grouped, origin): (&Grouped, &[u32]),
        asked: &mut [Asked],
        letters: &mut Vec<DeadLetter>,
    ) {
        for tally in &moved.tallies {
            let outcome = &mut asked[tally.request as usize].outcome;
            outcome.accepted += tally.accepted;
            outcome.duplicates += tally.duplicates;
        }
        for (index, refusal) in &moved.refused {
            let request = grouped.request_of[*index] as usize;
            let from = (&asked[request].source, &grouped.causes[request]);
            letters.push(self.letter(&self.residents[resident].id, &grouped.readings[*index], refusal, from));
            asked[request].outcome.rejected.push((origin[*index] as usize, refusal.clone()));
        }
    }

    /// Ends an append with the position of each source, if anything was recorded or a position must move.
    fn end_with_positions(&self, commit: &mut Commit, asked: &[Asked]) {
        if commit.is_empty() && !asked.iter().any(|asked| asked.source.has_position()) {
            return;
        }
        let now = (self.ground.options.clock)();
        for (nth, Asked { source, .. }) in asked.iter().enumerate() {
            let same = |other: &&Asked| is_same(&other.source, source);
            if asked[..nth].iter().any(|other| same(&other)) {
                continue;
            }
            let (mut accepted, mut duplicate, mut refused) = (0, 0, 0);
            let mut offsets = source.offsets;
            for Asked { outcome, source, .. } in asked.iter().filter(same) {
                accepted += outcome.accepted;
                duplicate += outcome.duplicates;
                refused += outcome.rejected.len() as u32;
                offsets = (offsets.0.min(source.offsets.0), offsets.1.max(source.offsets.1));
            }
            let Source { topic, partition, .. } = source.clone();
            commit.add_shard_event(
                &ShardEvent::BatchFolded { topic, partition, offsets, accepted, refused, duplicate },
                now,
            );
        }
    }

    /// Carries out a command: one twin, one append.
    async fn carry_out(&mut self, request: CommandRequest) -> Result<(), Fault> {
        let CommandRequest { id, command, cause, reply, waiting } = request;
        if !self.index.contains_key(&id) && command != Command::Commission {
            // The caller may have gone away; that is no fault. The same holds for every answer below.
            let _ = reply.send(Err(CommandError::Refused(CommandRefusal::Unknown)));
            return Ok(());
        }
        let Some(resident) = self.resident(&id) else {
            let limit = self.ground.options.max_locomotives;
            let _ = reply.send(Err(
                self.unavailable(&format!("the node already holds {limit} locomotives (twin.max_locomotives)"))
            ));
            return Ok(());
        };
        let call = || Call::Command { command: command.clone(), cause: cause.clone() };
        let answer = match self.call_one(resident, call()).await? {
            Answer::Lost(_) => self.call_one(resident, call()).await?,
            answer => answer,
        };
        match answer {
            Answer::Done(moved) => {
                self.note(resident, &moved);
                let mut commit = Commit::default();
                commit.replies.push(Reply::Command { version: moved.version, reply, waiting });
                commit.add(&id, *moved);
                self.commit(commit).await
            }
            Answer::Refused(refusal) => {
                // The refusal may rest on what is still in flight.
                self.settle().await?;
                self.vacate_unborn(&[resident]);
                let _ = reply.send(Err(CommandError::Refused(refusal)));
                Ok(())
            }
            other => {
                let fault = self.misfit(resident, other);
                let _ = reply.send(Err(self.unavailable(&fault.to_string())));
                Ok(())
            }
        }
    }

    async fn call_one(&mut self, resident: usize, call: Call) -> Result<Answer, Fault> {
        let answers = self.call(vec![(resident, call)]).await?;
        Ok(answers.into_iter().next().unwrap_or_else(|| Answer::Lost("no answer".to_owned())))
    }

    fn unavailable(&self, reason: &str) -> CommandError {
        CommandError::Unavailable { shard: self.door.shard, reason: reason.to_owned() }
    }

    /// Tells those whose silence may have become news that time has passed.
    pub(super) async fn tick(&mut self, now: Millis) -> Result<(), Fault> {
        self.door.tick_waits.store(false, Ordering::Release);
        let lost = self.workshop.blueprint.definition.signal.lost;
        if now - self.opened_at <= lost {
            return Ok(());
        }
        let silent = |resident: &super::Resident| resident.speaks_since.is_some_and(|since| now - since > lost);
        let silent: Vec<usize> = (0..self.residents.len()).filter(|&index| silent(&self.residents[index])).collect();
        if silent.is_empty() {
            return Ok(());
        }
        let answers = self.call(silent.iter().map(|&resident| (resident, Call::Tick(now))).collect()).await?;
        let mut commit = Commit::default();
        for (resident, answer) in silent.into_iter().zip(answers) {
            // A lost answer is no news of this twin; the next tick finds it rebuilt.
            if let Answer::Done(moved) = answer {
                self.note(resident, &moved);
                commit.add(&self.residents[resident].id, *moved);
            }
        }
        self.commit(commit).await
    }
}

fn is_same(one: &Source, other: &Source) -> bool {
    one.topic == other.topic && one.partition == other.partition
}
