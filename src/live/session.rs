//! One client of the live stream: a snapshot, then what moves, at its own pace. It holds how far it has read and nothing else.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use actors::TwinView;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use twin::ids::LocomotiveId;

use super::filter::Filter;
use super::frames::{self, GapFrame, HeartbeatFrame, ResumedFrame};
use super::hub::{FactFrame, News, Place, Seat};
use super::resume::missed;
use super::token::Cut;
use crate::auth::Principal;
use crate::http::App;
use crate::http::serve::ended;
use crate::render::twin::keep;

/// Time between two heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// A client that takes no frame for so long is let go.
const STUCK: Duration = Duration::from_secs(20);
/// Twins of one snapshot frame.
const SNAPSHOT_TWINS: usize = 500;

/// The connection is over.
struct Over;

/// One client.
pub struct Session {
    app: Arc<App>,
    listener: Principal,
    only: Option<LocomotiveId>,
    filter: Filter,
    resume: Option<Cut>,
    place: Place,
    cut: Cut,
    seq: u64,
    /// Twins that were sent, kept only under a filter that a twin may leave.
    shown: HashSet<LocomotiveId>,
    _seat: Seat,
}

impl Session {
    /// A client that may come in.
    pub fn new(
        app: &Arc<App>,
        listener: Principal,
        only: Option<LocomotiveId>,
        resume: Option<Cut>,
        seat: Seat,
    ) -> Self {
        Self {
            filter: Filter::of(listener.reach.clone(), only.as_ref()),
            listener,
            app: Arc::clone(app),
            only,
            resume,
            place: Place::default(),
            cut: Cut::default(),
            seq: 0,
            shown: HashSet::new(),
            _seat: seat,
        }
    }

    /// Serves the client until either side ends.
    pub async fn run(mut self, mut socket: WebSocket) {
        let (mut facts, mut moves) = (self.app.hub.on_facts(), self.app.hub.on_moves());
        facts.mark_unchanged();
        moves.mark_unchanged();
        (self.place, self.cut) = self.app.hub.end();
        let begun = match self.resume.take() {
            Some(token) => self.go_on(&mut socket, &token).await,
            None => self.snapshot(&mut socket).await,
        };
        let told = match (begun, self.app.hub.scoring_now()) {
            (Ok(()), Some(turn)) => self.fact(&mut socket, &turn).await,
            (begun, _) => begun,
        };
        if told.is_ok() {
            let Err(Over) = self.follow(&mut socket, facts, moves).await;
        }
    }

    async fn follow(
        &mut self,
        socket: &mut WebSocket,
        mut facts: watch::Receiver<u64>,
        mut moves: watch::Receiver<u64>,
    ) -> Result<std::convert::Infallible, Over> {
        let mut heartbeat = tokio::time::interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut shutdown = self.app.parts.shutdown.clone();
        let mut next_twins = Instant::now();
        loop {
            if !self.listener.is_in_force(self.app.now()) {
                return Err(close(socket, close_code::POLICY, "the key is worth nothing any more").await);
            }
            tokio::select! {
                () = ended(&mut shutdown) => {
                    // Its token is where to go on.
                    self.beat(socket).await?;
                    return Err(close(socket, close_code::AWAY, "the server is stopping; come back with resume").await);
                }
                _ = facts.changed() => {
                    let news = self.app.hub.facts_after(&mut self.place);
                    self.tell(socket, &news).await?;
                }
                () = due(&mut moves, next_twins) => {
                    next_twins = Instant::now() + self.filter.pause;
                    let (news, cut) = self.app.hub.after(&mut self.place);
                    self.tell(socket, &news).await?;
                    self.twins(socket, &news).await?;
                    self.cut = cut;
                }
                _ = heartbeat.tick() => {
                    self.beat(socket).await?;
                }
                message = socket.recv() => {
                    if let ControlFlow::Break(()) = self.listen(socket, message).await? {
                        return Err(Over);
                    }
                }
            }
        }
    }

    async fn beat(&mut self, socket: &mut WebSocket) -> Result<(), Over> {
        let frame = HeartbeatFrame { kind: "heartbeat", token: self.cut.to_string() };
        self.send_json(socket, &frame).await
    }

    /// Takes what the client says.
    async fn listen(
        &mut self,
        socket: &mut WebSocket,
        message: Option<Result<Message, axum::Error>>,
    ) -> Result<ControlFlow<()>, Over> {
        match message {
            Some(Ok(Message::Text(text))) => match Filter::read(&text, &self.listener.reach, self.only.as_ref()) {
                Ok(filter) => {
                    self.filter = filter;
                    self.shown.clear();
                    self.snapshot(socket).await?;
                    Ok(ControlFlow::Continue(()))
                }
                Err(reason) => Err(close(socket, close_code::POLICY, &reason).await),
            },
            Some(Ok(Message::Binary(_))) => {
                Err(close(socket, close_code::UNSUPPORTED, "expected JSON text, got bytes").await)
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(ControlFlow::Continue(())),
            Some(Ok(Message::Close(_)) | Err(_)) | None => Ok(ControlFlow::Break(())),
        }
    }

    /// Everything that the client wants to see, in frames of bounded size.
    async fn snapshot(&mut self, socket: &mut WebSocket) -> Result<(), Over> {
        let mut ids = Vec::new();
        let app = Arc::clone(&self.app);
        app.parts.fleet.read(|view: &TwinView| {
            if self.filter.holds(view, &app.parts.model.scoring) {
                ids.push(view.id.clone());
            }
        });
        ids.sort_unstable();
        let mut chunks = ids.chunks(SNAPSHOT_TWINS).peekable();
        let token = self.cut.to_string();
        loop {
            let chunk = chunks.next().unwrap_or_default();
            let mut items = Vec::with_capacity(chunk.len());
            for id in chunk {
                items.extend(self.json(id, None).await);
            }
            self.seq += 1;
            let complete = chunks.peek().is_none();
            let frame = frames::snapshot(self.seq, &token, items.iter().map(AsRef::as_ref), complete);
            self.send(socket, "sent", frame).await?;
            self.remember(chunk);
            if complete {
                return Ok(());
            }
        }
    }

    /// What was missed since `token`, from the log; a gap and a snapshot where that is too much.
    async fn go_on(&mut self, socket: &mut WebSocket, token: &Cut) -> Result<(), Over> {
        let app = Arc::clone(&self.app);
        let missed = match missed(&app.parts.journal, token, &self.cut, &app.parts.model).await {
            Ok(missed) => missed,
            Err(error) => {
                tracing::warn!(%error, "a live stream could not be resumed from the log");
                None
            }
        };
        let Some(missed) = missed else {
            self.gap(socket, 1).await?;
            return self.snapshot(socket).await;
        };
        for fact in &missed.facts {
            self.fact(socket, fact).await?;
        }
        let moved = missed.moved.into_iter().map(|id| (id, None)).collect();
        self.twins(socket, &News { moved, ..News::default() }).await?;
        let frame = ResumedFrame { kind: "resumed", token: self.cut.to_string() };
        self.send_json(socket, &frame).await
    }

    /// Risk and alert frames, after a word on those that were lost.
    async fn tell(&mut self, socket: &mut WebSocket, news: &News) -> Result<(), Over> {
        if news.lost > 0 {
            self.gap(socket, news.lost).await?;
        }
        for fact in &news.facts {
            self.fact(socket, fact).await?;
        }
        Ok(())
    }

    async fn fact(&mut self, socket: &mut WebSocket, fact: &FactFrame) -> Result<(), Over> {
        if !self.filter.wants_change(fact.id.as_ref(), &fact.levels) {
            return Ok(());
        }
        self.seq += 1;
        self.send(socket, "sent", frames::fact(self.seq, fact.kind, &fact.body)).await
    }

    /// The latest state of those that moved and that the client wants to see, or has seen and would otherwise see for ever as they were.
    async fn twins(&mut self, socket: &mut WebSocket, news: &News) -> Result<(), Over> {
        let mut items = Vec::new();
        for (id, json) in &news.moved {
            if self.shows(id) {
                items.extend(self.json(id, json.as_ref()).await);
            }
        }
        for chunk in items.chunks(SNAPSHOT_TWINS) {
            self.seq += 1;
            let frame = frames::twins(self.seq, chunk.iter().map(AsRef::as_ref));
            self.send(socket, "sent", frame).await?;
        }
        Ok(())
    }

    fn shows(&mut self, id: &LocomotiveId) -> bool {
        if !self.filter.is_of_state() {
            return self.filter.wants(id);
        }
        let holds = self.filter.wants(id)
            && self
                .app
                .parts
                .fleet
                .twin(id.as_str())
                .is_some_and(|view| self.filter.holds(&view, &self.app.parts.model.scoring));
        if holds { self.shown.insert(id.clone()) || holds } else { self.shown.remove(id) }
    }

    fn remember(&mut self, ids: &[LocomotiveId]) {
        if self.filter.is_of_state() {
            self.shown.extend(ids.iter().cloned());
        }
    }

    /// A twin as JSON: the hub's, unless the client wants only some fields.
    async fn json(&self, id: &LocomotiveId, ready: Option<&Arc<str>>) -> Option<Arc<str>> {
        let json = match ready {
            Some(json) => Arc::clone(json),
            None => self.app.hub.twin_json(&self.app.parts.fleet.twin(id.as_str())?).await,
        };
        let Some(fields) = &self.filter.fields else {
            return Some(json);
        };
        serde_json::to_string(&keep(&json, fields).ok()?).ok().map(Arc::from)
    }

    /// Tells that `lost` frames were not sent.
    async fn gap(&mut self, socket: &mut WebSocket, lost: u64) -> Result<(), Over> {
        let frame = GapFrame { kind: "gap", from: self.seq + 1, to: self.seq + lost, token: self.cut.to_string() };
        self.seq += lost;
        metrics::counter!("cidp_ws_frames_total", "outcome" => "lost").increment(lost);
        self.send_json(socket, &frame).await
    }

    async fn send_json(&mut self, socket: &mut WebSocket, frame: &impl serde::Serialize) -> Result<(), Over> {
        let frame = serde_json::to_string(frame).map_err(|_| Over)?;
        self.send(socket, "sent", frame).await
    }

    async fn send(&mut self, socket: &mut WebSocket, outcome: &'static str, frame: String) -> Result<(), Over> {
        match tokio::time::timeout(STUCK, socket.send(Message::Text(Utf8Bytes::from(frame)))).await {
            Ok(Ok(())) => {
                metrics::counter!("cidp_ws_frames_total", "outcome" => outcome).increment(1);
                Ok(())
            }
            Ok(Err(_)) => Err(Over),
            Err(_) => {
                metrics::counter!("cidp_ws_frames_total", "outcome" => "stuck").increment(1);
                Err(close(socket, close_code::POLICY, "no frame was taken for too long; come back with resume").await)
            }
        }
    }
}

/// Waits until twins moved and the client may hear of it again.
async fn due(moves: &mut watch::Receiver<u64>, not_before: Instant) {
    tokio::time::sleep_until(not_before).await;
    if moves.changed().await.is_err() {
        // The hub has ended, which only happens as the server stops.
        std::future::pending::<()>().await;
    }
}

/// Closes with a code and a reason. A reason has at most 123 bytes (RFC 6455, 5.5).
async fn close(socket: &mut WebSocket, code: u16, reason: &str) -> Over {
    let mut end = reason.len().min(123);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let frame = CloseFrame { code, reason: Utf8Bytes::from(&reason[..end]) };
    if tokio::time::timeout(Duration::from_secs(1), socket.send(Message::Close(Some(frame)))).await.is_err() {
        tracing::debug!("a client did not take its close frame");
    }
    Over
}
