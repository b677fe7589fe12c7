//! The hub: hears the fleet, keeps what is recent once for all clients, wakes them. Memory is bounded by the number of twins and by
//! [`FACTS_KEPT`], whatever the clients do: each of them only holds two numbers, how far it has read.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use actors::{Clock, Fact, Fleet, Published, TwinView};
use journal::port::Journal;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use twin::event::Event;
use twin::ids::LocomotiveId;
use twin::instant;
use twin::level::Level;

use super::delay::Delay;
use super::frames::{AlertBody, RiskBody};
use super::token::Cut;
use crate::breaker::Standing;
use crate::http::serve::ended;
use crate::http::{Parts, ServedModel};
use crate::render::doubt::Doubt;
use crate::render::twin::Twin;
use crate::render::{contributions_in_words, sensor_key, words};

/// Risk and alert frames kept for clients that are behind.
pub const FACTS_KEPT: usize = 8_192;
/// Latest moves whose JSON is kept; older ones are made again for the client that is so far behind.
const JSON_KEPT: u64 = 16_384;
/// Time between two collections of what moved.
const TICK: Duration = Duration::from_millis(100);

/// A risk or alert frame without its number.
#[derive(Debug)]
pub struct FactFrame {
    /// The locomotive; `None` for what concerns all of them.
    pub id: Option<LocomotiveId>,
    /// `risk`, `alert` or `scoring`.
    pub kind: &'static str,
    /// Levels that it touches, for filters.
    pub levels: Vec<Level>,
    /// The frame's body as a JSON object.
    pub body: String,
}

/// What a client has not read yet.
#[derive(Debug, Default)]
pub struct News {
    /// Risk and alert frames, oldest first.
    pub facts: Vec<Arc<FactFrame>>,
    /// Frames that were dropped before the client came to read them.
    pub lost: u64,
    /// Twins that moved, in the order of their last move.
    pub moved: Vec<(LocomotiveId, Option<Arc<str>>)>,
}

/// How far a client has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    fact: u64,
    moved: u64,
}

#[derive(Default)]
struct Recent {
    /// The last move of each twin, oldest first, with its JSON if somebody listened.
    moves: BTreeMap<u64, (LocomotiveId, Option<Arc<str>>)>,
    /// Where each twin stands in `moves`.
    of: HashMap<LocomotiveId, u64>,
    last_move: u64,
    /// Moves before this one have no JSON any more.
    forgotten: u64,
    facts: VecDeque<Arc<FactFrame>>,
    last_fact: u64,
    heard: Cut,
    collected: Cut,
}

/// The hub.
pub struct Hub {
    recent: RwLock<Recent>,
    facts: watch::Sender<u64>,
    moves: watch::Sender<u64>,
    clients: AtomicUsize,
    fleet: Fleet,
    model: ServedModel,
    journal: Arc<dyn Journal>,
    clock: Clock,
}

impl Hub {
    /// Starts to listen. It ends with the server.
    pub fn start(parts: &Parts) -> Arc<Self> {
        let (published, turns) = (parts.fleet.subscribe(), parts.breaker.turns());
        let hub = Arc::new(Self {
            recent: RwLock::default(),
            facts: watch::Sender::new(0),
            moves: watch::Sender::new(0),
            clients: AtomicUsize::new(0),
            fleet: parts.fleet.clone(),
            model: parts.model.clone(),
            journal: Arc::clone(&parts.journal),
            clock: Arc::clone(&parts.clock),
        });
        hub.write().heard = hub.present();
        let heard = hub.read().heard.clone();
        hub.write().collected = heard;
        tokio::spawn(Arc::clone(&hub).listen(published, turns, parts.shutdown.clone()));
        hub
    }

    /// Clients that listen now.
    pub fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }

    /// Takes one of `most` seats, given back when it is dropped.
    pub fn seat(self: &Arc<Self>, most: usize) -> Option<Seat> {
        let take = |taken| (taken < most).then_some(taken + 1);
        let taken = self.clients.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.ok().map(|_| Seat(Arc::clone(self)))
    }

    /// Wakes at every new risk or alert frame.
    pub fn on_facts(&self) -> watch::Receiver<u64> {
        self.facts.subscribe()
    }

    /// Wakes when twins moved, at most ten times a second.
    pub fn on_moves(&self) -> watch::Receiver<u64> {
        self.moves.subscribe()
    }

    /// The end of the stream, and the cut through the log that belongs to it: what was heard, since facts count from when they are heard.
    /// Twins that have moved by then and are not collected yet come again with the next collection, as they are then.
    pub fn end(&self) -> (Place, Cut) {
        let recent = self.read();
        (Place { fact: recent.last_fact, moved: recent.last_move }, recent.heard.clone())
    }

    /// Risk and alert frames after `place`, which moves on.
    pub fn facts_after(&self, place: &mut Place) -> News {
        self.read().facts_after(place)
    }

    /// Everything after `place`, which moves on, and the cut that it leads to.
    pub fn after(&self, place: &mut Place) -> (News, Cut) {
        let recent = self.read();
        let mut news = recent.facts_after(place);
        news.moved = recent.moves.range(place.moved + 1..).map(|(_, moved)| moved.clone()).collect();
        place.moved = recent.last_move;
        (news, recent.collected.clone())
    }

    /// How the breaker stands, for a client that comes while it is not closed.
    pub fn scoring_now(&self) -> Option<FactFrame> {
        let scoring_now = &self.model.scoring;
        scoring_now.is_suspended().then(|| scoring(&scoring_now.standing())).flatten()
    }

    /// A twin as JSON, or `None` when there is none of this id.
    pub async fn twin_json(&self, view: &TwinView) -> Arc<str> {
        let twin = Twin::of(view, &self.model, &*self.journal, false).await;
        let json = serde_json::to_string(&twin).unwrap_or_default();
        Arc::from(json)
    }

    fn present(&self) -> Cut {
        Cut(self.fleet.status().shards.iter().map(|shard| (shard.shard, shard.sequence)).collect())
    }

    fn read(&self) -> RwLockReadGuard<'_, Recent> {
        self.recent.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Recent> {
        self.recent.write().unwrap_or_else(PoisonError::into_inner)
    }

    async fn listen(
        self: Arc<Self>,
        mut published: broadcast::Receiver<Arc<Published>>,
        mut turns: broadcast::Receiver<Arc<Standing>>,
        mut shutdown: watch::Receiver<bool>,
    ) {
        let mut moved = HashSet::new();
        let mut delay = Delay::new((self.clock)());
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                heard = published.recv() => match heard {
                    Ok(batch) => self.hear(&batch, &mut moved),
                    Err(RecvError::Lagged(batches)) => self.lag(batches, &mut moved),
                    Err(RecvError::Closed) => return,
                },
                turned = turns.recv() => match turned {
                    Ok(standing) => self.turn(&standing, &mut moved),
                    Err(RecvError::Lagged(_)) => self.turn(&self.model.scoring.standing(), &mut moved),
                    Err(RecvError::Closed) => return,
                },
                _ = tick.tick() => self.collect(&mut moved, &mut delay).await,
                () = ended(&mut shutdown) => return,
            }
        }
    }

    fn hear(&self, batch: &Published, moved: &mut HashSet<LocomotiveId>) {
        let frames: Vec<_> = batch.facts.iter().filter_map(|fact| frame(fact, batch.shard, &self.model)).collect();
        moved.extend(batch.moved.iter().cloned());
        self.write().heard.0.insert(batch.shard, batch.last);
        self.keep(frames);
    }

    /// The breaker turned: every client is told, and sees all twins as they may be told now.
    fn turn(&self, standing: &Standing, moved: &mut HashSet<LocomotiveId>) {
        self.keep(scoring(standing).into_iter().collect());
        self.fleet.read(|view: &TwinView| {
            moved.insert(view.id.clone());
        });
    }

    fn keep(&self, frames: Vec<FactFrame>) {
        if frames.is_empty() {
            return;
        }
        let mut recent = self.write();
        for frame in frames {
            if recent.facts.len() == FACTS_KEPT {
                recent.facts.pop_front();
            }
            recent.facts.push_back(Arc::new(frame));
            recent.last_fact += 1;
        }
        self.facts.send_replace(recent.last_fact);
    }

    /// The hub itself was too slow: whatever was kept may have holes, so that every client is told of a gap and sees all twins anew.
    fn lag(&self, batches: u64, moved: &mut HashSet<LocomotiveId>) {
        tracing::warn!(batches, "the live hub fell behind; clients are told of a gap");
        self.fleet.read(|view: &TwinView| {
            moved.insert(view.id.clone());
        });
        let present = self.present();
        let mut recent = self.write();
        recent.facts.clear();
        recent.last_fact += batches;
        recent.heard = present;
        self.facts.send_replace(recent.last_fact);
    }

    /// Gives what moved since the last time to the clients. Twins are turned into JSON once, and only if somebody listens.
    async fn collect(&self, moved: &mut HashSet<LocomotiveId>, delay: &mut Delay) {
        let listened = self.clients() > 0;
        if !listened {
            delay.unheard((self.clock)());
        }
        if moved.is_empty() {
            return;
        }
        let mut readings = Vec::new();
        let mut collected = Vec::with_capacity(moved.len());
        for id in moved.drain() {
            let view = if listened { self.fleet.twin(id.as_str()) } else { None };
            let json = match view {
                Some(view) => {
                    readings.extend(view.state.last_received_at.map(|received| (id.clone(), received)));
                    Some(self.twin_json(&view).await)
                }
                None => None,
            };
            collected.push((id, json));
        }
        let mut recent = self.write();
        for (id, json) in collected {
            recent.last_move += 1;
            let number = recent.last_move;
            if let Some(before) = recent.of.insert(id.clone(), number) {
                recent.moves.remove(&before);
            }
            recent.moves.insert(number, (id, json));
        }
        recent.forget_json();
        recent.collected = recent.heard.clone();
        self.moves.send_replace(recent.last_move);
        drop(recent);
        let now = (self.clock)();
        for (id, received) in readings {
            delay.handed_over(id, received, now);
        }
    }
}

impl Recent {
    /// Twins that have not moved for long take no more room than their ids.
    fn forget_json(&mut self) {
        let up_to = self.last_move.saturating_sub(JSON_KEPT);
        for (_, (_, json)) in self.moves.range_mut(self.forgotten..up_to) {
            *json = None;
        }
        self.forgotten = up_to.max(self.forgotten);
    }

    fn facts_after(&self, place: &mut Place) -> News {
        let first = self.last_fact - self.facts.len() as u64;
        let lost = first.saturating_sub(place.fact);
        let known = place.fact.saturating_sub(first) as usize;
        place.fact = self.last_fact;
        News { facts: self.facts.iter().skip(known).cloned().collect(), lost, moved: Vec::new() }
    }
}

/// A client's seat at the hub.
pub struct Seat(Arc<Hub>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.clients.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The frame of a turn of the breaker.
fn scoring(standing: &Standing) -> Option<FactFrame> {
    let body = serde_json::to_string(standing).ok()?;
    Some(FactFrame { id: None, kind: "scoring", levels: Vec::new(), body })
}

/// The frame of a fact; most facts have none.
pub fn frame(fact: &Fact, shard: u16, model: &ServedModel) -> Option<FactFrame> {
    let key = |reason: Option<u32>| reason.and_then(|id| sensor_key(id, &model.blueprint));
    let alert = |id: &str, state, at, severity: Option<Level>, reason| AlertBody {
        locomotive_id: fact.id.to_string(),
        alert: id.to_owned(),
        state,
        at: instant::format(at),
        severity: severity.map(Into::into),
        reason,
        version: fact.version,
        shard,
        sequence: fact.sequence,
    };
    let (kind, levels, body) = match &fact.event {
        Event::RiskChanged(changed) => {
            let (weights, blueprint) = (changed.contributions.iter().copied(), &model.blueprint);
            let contributions = contributions_in_words(weights, blueprint);
            let body = RiskBody {
                locomotive_id: fact.id.to_string(),
                from: changed.from.into(),
                to: changed.to.into(),
                risk: changed.risk,
                probability: model.probability(changed.model, changed.risk),
                at: instant::format(changed.at),
                reason: key(changed.reason),
                doubt: changed.doubt.as_ref().map(|doubt| Doubt::recorded(doubt, model)),
                words: words::summary(changed.risk, changed.base_rate, &contributions, &blueprint.definition),
                contributions,
                version: fact.version,
                shard,
                sequence: fact.sequence,
            };
            ("risk", vec![changed.from, changed.to], serde_json::to_string(&body))
        }
        Event::AlertRaised { alert: id, at, severity, reason } => {
            ("alert", vec![*severity], serde_json::to_string(&alert(id, "raised", *at, Some(*severity), key(*reason))))
        }
        Event::AlertAcknowledged { alert: id, at, .. } => {
            ("alert", Vec::new(), serde_json::to_string(&alert(id, "acknowledged", *at, None, None)))
        }
        Event::AlertCleared { alert: id, at } => {
            ("alert", Vec::new(), serde_json::to_string(&alert(id, "cleared", *at, None, None)))
        }
        Event::TelemetryRecorded(_)
        | Event::LocomotiveCommissioned { .. }
        | Event::MaintenanceRecorded { .. }
        | Event::FailureReported(_)
        | Event::SignalLost { .. }
        | Event::SignalRestored { .. }
        | Event::LocomotiveRetired { .. } => return None,
    };
    Some(FactFrame { id: Some(fact.id.clone()), kind, levels, body: body.ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recent(facts: u64, kept: usize) -> Recent {
        let id = LocomotiveId::parse("A").expect("valid");
        let fact =
            || Arc::new(FactFrame { id: Some(id.clone()), kind: "risk", levels: Vec::new(), body: "{}".to_owned() });
        Recent { facts: (0..kept).map(|_| fact()).collect(), last_fact: facts, ..Recent::default() }
    }

    #[test]
    fn a_client_reads_each_fact_once() {
        let recent = recent(5, 5);
        let mut place = Place { fact: 3, moved: 0 };
        let news = recent.facts_after(&mut place);
        assert_eq!((news.facts.len(), news.lost), (2, 0));
        assert_eq!(recent.facts_after(&mut place).facts.len(), 0);
    }

    #[test]
    fn a_client_that_is_too_far_behind_learns_how_much_it_lost() {
        let recent = recent(100, 10);
        let mut place = Place { fact: 3, moved: 0 };
        let news = recent.facts_after(&mut place);
        assert_eq!((news.facts.len(), news.lost), (10, 87));
        assert_eq!(place.fact, 100);
    }
}
