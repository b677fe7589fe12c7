//! A history that is followed: what stands in the log, then each new event once it is durable, as server-sent events. A client that comes
//! back names the last version that it has seen, as browsers do by themselves.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::watch;
use twin::ids::LocomotiveId;

use super::App;
use super::history::{CHUNK, Wanted};
use super::serve::ended;
use crate::auth::Principal;
use crate::problem::Problem;
use crate::render::event::event;

/// Time between two comments where nothing happens, so that nobody on the way takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// One client that follows one locomotive.
pub(super) struct Follower {
    app: Arc<App>,
    listener: Principal,
    id: LocomotiveId,
    /// The last version read.
    after: u64,
    wanted: Wanted,
    left: Option<usize>,
    ready: VecDeque<Event>,
    moves: watch::Receiver<u64>,
    shutdown: watch::Receiver<bool>,
    over: bool,
}

/// The version after which a client that comes back goes on.
pub(super) fn last_seen(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(last) = headers.get("last-event-id") else { return Ok(None) };
    let version = last.to_str().ok().and_then(|last| last.parse().ok());
    let misfit = || Problem::misfit("Last-Event-ID", format!("expected the id of an event, got {last:?}"));
    version.map(Some).ok_or_else(misfit)
}

impl Follower {
    pub(super) fn new(
        app: &Arc<App>,
        listener: Principal,
        id: LocomotiveId,
        after: u64,
        (wanted, left): (Wanted, Option<usize>),
    ) -> Self {
        Self {
            listener,
            id,
            after,
            wanted,
            left,
            ready: VecDeque::new(),
            moves: app.hub.on_moves(),
            shutdown: app.parts.shutdown.clone(),
            over: false,
            app: Arc::clone(app),
        }
    }

    pub(super) fn into_response(self) -> Response {
        let events = stream::unfold(self, |mut follower| async move {
            let event = follower.next().await?;
            Some((Ok::<_, Infallible>(event), follower))
        });
        Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
    }

    /// The next event; none when the key is worth nothing any more, the server ends, the bounds are reached or the log cannot be read, from
    /// which a client comes back.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if !self.listener.is_in_force(self.app.now()) {
                return None;
            }
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.over || *self.shutdown.borrow() {
                return None;
            }
            // Before the log is read: what becomes durable meanwhile wakes again.
            self.moves.mark_unchanged();
            let at_end = match self.read().await {
                Ok(at_end) => at_end,
                Err(error) => {
                    tracing::warn!(%error, "a history can be followed no further");
                    return None;
                }
            };
            if at_end && self.ready.is_empty() && !self.over {
                self.moved().await?;
            }
        }
    }

    /// Reads on; whether the end of the log was reached.
    async fn read(&mut self) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
        let parts = &self.app.parts;
        let over_by_now = self.wanted.is_over(self.app.now());
        let chunk = parts.fleet.history(self.id.as_str(), self.after, CHUNK).await?;
        for past in &chunk {
            self.after = past.version;
            if self.wanted.is_past(past) || self.left == Some(0) {
                self.over = true;
                break;
            }
            if self.wanted.holds(past) {
                let json = event(past, &parts.model, &*parts.journal).await;
                self.ready.push_back(Event::default().id(past.version.to_string()).json_data(json)?);
                self.left = self.left.map(|left| left - 1);
            }
        }
        let at_end = chunk.len() < CHUNK;
        self.over |= self.left == Some(0) || (at_end && over_by_now);
        Ok(at_end)
    }

    /// Waits until the locomotive has moved on; none when the server ends.
    async fn moved(&mut self) -> Option<()> {
        loop {
            tokio::select! {
                changed = self.moves.changed() => changed.ok()?,
                () = ended(&mut self.shutdown) => return None,
            }
            if self.app.parts.fleet.twin(self.id.as_str()).is_some_and(|view| view.version > self.after) {
                return Some(());
            }
        }
    }
}
