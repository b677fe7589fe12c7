//! Intake: what waits becomes one batch, grouped by locomotive in the order of first appearance, so that the same input gives the same log.

use std::time::Instant;

use tokio::sync::oneshot;
use twin::ids::LocomotiveId;
use twin::reading::Reading;
use twin::refusal::Refusal;

use super::messages::{IngestRequest, Waiting};
use super::{Residence, Resident, Shard, Waits};
use crate::dead_letters::{self, DeadLetter};
use crate::ingest::{IngestError, IngestOutcome, Source};
use crate::live::{Grouped, LiveTwin};
use twin::event::Cause;
use twin::state::TwinState;
use twin::wire::Addressed;

/// A request on its way through the shard, without its readings.
pub(super) struct Asked {
    pub(super) reply: oneshot::Sender<Result<IngestOutcome, IngestError>>,
    pub(super) outcome: IngestOutcome,
    pub(super) source: Source,
    pub(super) waiting: Waiting,
    pub(super) since: Instant,
}

/// A batch ready to be folded.
pub(super) struct Intake {
    pub(super) grouped: Grouped,
    /// The resident of each part.
    pub(super) residents: Vec<usize>,
    /// For each grouped reading its place in its request.
    pub(super) origin: Vec<u32>,
    pub(super) asked: Vec<Asked>,
    /// Readings that no twin will see.
    pub(super) letters: Vec<DeadLetter>,
}

impl Shard {
    /// Takes the requests that wait in front, as many as fit into one batch, at least one.
    pub(super) fn take_requests(&mut self) -> Vec<IngestRequest> {
        let mut requests = Vec::new();
        let mut readings = 0;
        while let Some(Waits::Ingest(request)) = self.waits.front() {
            readings += request.readings.len();
            if !requests.is_empty() && readings > self.ground.options.max_batch_readings {
                break;
            }
            if let Some(Waits::Ingest(request)) = self.waits.pop_front() {
                requests.push(request);
            }
        }
        requests
    }

    /// Groups the readings of requests by locomotive.
    pub(super) fn group(&mut self, requests: Vec<IngestRequest>) -> Intake {
        self.batch += 1;
        let mut residents = Vec::new();
        let mut counts: Vec<usize> = Vec::new();
        let mut causes = Vec::with_capacity(requests.len());
        let mut asked = Vec::with_capacity(requests.len());
        let mut arrived: Vec<(usize, u32, u32, Reading)> =
            Vec::with_capacity(requests.iter().map(|request| request.readings.len()).sum());
        let mut letters = Vec::new();
        for (number, request) in requests.into_iter().enumerate() {
            let IngestRequest { readings, source, cause, reply, waiting, since } = request;
            let mut outcome = IngestOutcome::default();
            for (place, Addressed { id, reading, .. }) in readings.into_iter().enumerate() {
                let Some(resident) = self.resident(&id) else {
                    let refusal = Refusal::TooManyLocomotives { limit: self.ground.options.max_locomotives };
                    letters.push(self.letter(&id, &reading, &refusal, (&source, &cause)));
                    outcome.rejected.push((place, refusal));
                    continue;
                };
                let touched = &mut self.residents[resident].touched;
                if touched.0 != self.batch {
                    *touched = (self.batch, residents.len());
                    residents.push(resident);
                    counts.push(0);
                }
                counts[touched.1] += 1;
                arrived.push((touched.1, number as u32, place as u32, reading));
            }
            causes.push(cause);
            asked.push(Asked { reply, outcome, source, waiting, since });
        }
        let (grouped, origin) = side_by_side(&arrived, &counts, causes);
        Intake { grouped, residents, origin, asked, letters }
    }

    /// The place of a locomotive; a new one gets one, unless the node is full.
    pub(super) fn resident(&mut self, id: &LocomotiveId) -> Option<usize> {
        if let Some(index) = self.index.get(id) {
            return Some(*index);
        }
        if !self.places.take(self.ground.options.max_locomotives) {
            return None;
        }
        let state = TwinState::new();
        let residence = Residence::Dormant(Box::new(LiveTwin { id: id.clone(), version: 0, state }));
        let resident = Resident::new(id.clone(), residence, 0, None);
        let index = if let Some(index) = self.vacant.pop() {
            self.residents[index] = resident;
            index
        } else {
            self.residents.push(resident);
            self.residents.len() - 1
        };
        self.index.insert(id.clone(), index);
        Some(index)
    }

    /// Gives up the places of those that came to nothing: a stranger whose readings were all refused is no twin.
    pub(super) fn vacate_unborn(&mut self, touched: &[usize]) {
        for &index in touched {
            let resident = &mut self.residents[index];
            if resident.version > 0 || self.index.get(&resident.id) != Some(&index) {
                continue;
            }
            if let Residence::Hot(actor) = &resident.residence {
                actor.stop(None);
            }
            resident.residence = Residence::Lost;
            self.index.remove(&resident.id);
            self.vacant.push(index);
            self.places.give_back();
        }
    }

    /// A refused reading as a dead letter.
    pub(super) fn letter(
        &self,
        id: &LocomotiveId,
        reading: &Reading,
        refusal: &Refusal,
        (source, cause): (&Source, &Cause),
    ) -> DeadLetter {
        DeadLetter {
            reason: refusal.code().to_owned(),
            message: refusal.to_string(),
            received_at: reading.received_at,
            source: cause.source.clone(),
            topic: source.topic.clone(),
            partition: source.partition,
            offset: source.offsets.0,
            value: dead_letters::render(id, reading, &self.workshop.blueprint.definition),
        }
    }
}

/// Puts the readings of each part side by side, in the order of their arrival.
fn side_by_side(arrived: &[(usize, u32, u32, Reading)], counts: &[usize], causes: Vec<Cause>) -> (Grouped, Vec<u32>) {
    let mut ranges = Vec::with_capacity(counts.len());
    let mut next = Vec::with_capacity(counts.len());
    let mut start = 0;
    for count in counts {
        next.push(start);
        ranges.push(start..start + count);
        start += count;
    }
    let mut readings = vec![Reading::new(0, 0); arrived.len()];
    let (mut request_of, mut origin) = (vec![0; arrived.len()], vec![0; arrived.len()]);
    for &(part, request, place, reading) in arrived {
        let at = next[part];
        next[part] += 1;
        (readings[at], request_of[at], origin[at]) = (reading, request, place);
    }
    (Grouped { readings, request_of, ranges, causes }, origin)
}
