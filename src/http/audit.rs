//! `/audit`: signed checkpoints, proofs, and the long audits of a log that this server holds. What they prove stands in `docs/audit.md`.

use std::sync::Arc;

use actors::Span;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use journal::hash::{hex, unhex};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use twin::ids::LocomotiveId;
use utoipa::{IntoParams, ToSchema};

use super::ask::{self, Asked};
use super::{App, Door};
use crate::audit::notary::{Notary, NotaryError, header as record_header};
use crate::audit::shelf::Shelf;
use crate::audit::step::{AuditStep, Report};
use crate::audit::verify::{self, Basis};
use crate::audit::wire::{CheckpointBody, SignedText};
use crate::audit::{ledger, rescore};
use crate::auth::extract::{Admin, Caller, Read};
use crate::problem::Problem;
use crate::render::note;

/// What the routes of the audit stand on.
pub struct Desk {
    /// It signs.
    pub notary: Arc<Notary>,
    /// The models that scored.
    pub shelf: Shelf,
    /// Where the audit's files lie.
    pub directory: std::path::PathBuf,
    /// One long audit at a time: it reads the whole log.
    busy: Arc<Semaphore>,
}

impl Desk {
    /// A desk over these.
    pub fn new(notary: Arc<Notary>, shelf: Shelf, directory: std::path::PathBuf) -> Self {
        Self { notary, shelf, directory, busy: Arc::new(Semaphore::new(1)) }
    }

    fn take(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.busy)
            .try_acquire_owned()
            .map_err(|_| Problem::too_many("another audit of this log is under way; wait for its end", 10))
    }
}

fn problem(error: &NotaryError) -> Problem {
    match error {
        NotaryError::NoEvent => Problem::not_found(error.to_string()),
        _ => Problem::unavailable(error.to_string()),
    }
}

/// Which checkpoint.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CheckpointQuery {
    /// One of the past, by its number; the newest if left out.
    #[param(minimum = 1)]
    number: Option<u64>,
    /// `true`: one that covers everything durable now.
    #[serde(default)]
    fresh: bool,
}

/// A signed checkpoint: for every shard the number of its records and the root of the Merkle tree over them.
#[utoipa::path(
    get, path = "/audit/checkpoint", tag = "audit", params(CheckpointQuery),
    responses((status = 200, body = CheckpointBody), (status = "default", response = Problem)),
    security(("key" = []), ("bearer" = []))
)]
pub async fn checkpoint(
    State(door): State<Door>,
    _: Caller<Read>,
    Asked(query): Asked<CheckpointQuery>,
) -> Result<Json<CheckpointBody>, Problem> {
    let notary = &door.app.parts.audits.notary;
    let failed = |error: NotaryError| problem(&error);
    let found = if let Some(number) = query.number {
        let none = || Problem::not_found(format!("there is no checkpoint {number}"));
        notary.past(number).await.map_err(failed)?.ok_or_else(none)?
    } else {
        let newest = if query.fresh { None } else { notary.newest().await.map_err(failed)? };
        match newest {
            Some(newest) => newest,
            None => notary.checkpoint().await.map_err(failed)?,
        }
    };
    Ok(Json(CheckpointBody::of(&found.0, &found.1)))
}

/// Which event.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ProofQuery {
    /// The locomotive.
    locomotive: String,
    /// The version of the twin after the event.
    #[param(minimum = 1)]
    version: u64,
}

/// One event, the path from it to a root, and the checkpoint that signs this root. Of other locomotives it holds hashes alone.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProofBody {
    /// The locomotive.
    locomotive: String,
    /// Its version after the event.
    version: u64,
    /// The shard.
    shard: u16,
    /// The position in it, from 1.
    sequence: u64,
    /// The record's header, hexadecimal.
    header: String,
    /// The record's payload, hexadecimal; `null` once retention has dropped it.
    #[schema(required)]
    payload: Option<String>,
    /// BLAKE3 of the payload, hexadecimal.
    payload_hash: String,
    /// The salt of this record's leaf, hexadecimal.
    salt: String,
    /// Records of the shard in the checkpoint.
    size: u64,
    /// The hashes beside the way from the leaf up to the root, hexadecimal.
    path: Vec<String>,
    /// The root in the checkpoint, hexadecimal.
    root: String,
    /// The checkpoint.
    checkpoint: SignedText,
}

/// Proof of one event. Where the newest checkpoint does not cover it yet, one is made now.
#[utoipa::path(
    get, path = "/audit/proof", tag = "audit", params(ProofQuery),
    responses((status = 200, body = ProofBody), (status = "default", response = Problem)),
    security(("key" = []), ("bearer" = []))
)]
pub async fn proof(
    State(door): State<Door>,
    caller: Caller<Read>,
    Asked(query): Asked<ProofQuery>,
) -> Result<Json<ProofBody>, Problem> {
    let none = || Problem::not_found(format!("{} has no event of version {}", query.locomotive, query.version));
    if !caller.principal.sees(&query.locomotive) {
        return Err(none());
    }
    let proof = match door.app.parts.audits.notary.prove(&query.locomotive, query.version).await {
        Err(NotaryError::NoEvent) => return Err(none()),
        proof => proof.map_err(|error| problem(&error))?,
    };
    let record = &proof.record;
    Ok(Json(ProofBody {
        locomotive: query.locomotive,
        version: query.version,
        shard: record.shard,
        sequence: record.sequence,
        header: hex(&record_header(record)),
        payload: record.payload.kept().map(|payload| hex(payload)),
        payload_hash: hex(&record.payload.digest()),
        salt: hex(&proof.salt),
        size: proof.size,
        path: proof.path.iter().map(|hash| hex(hash)).collect(),
        root: hex(&proof.root),
        checkpoint: SignedText::of(&proof.signed),
    }))
}

/// Which two checkpoints.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ConsistencyQuery {
    /// The earlier one, by its number.
    #[param(minimum = 1)]
    from: u64,
    /// The later one; the newest if left out.
    #[param(minimum = 1)]
    to: Option<u64>,
}

/// One shard of a continuation.
#[derive(Debug, Serialize, ToSchema)]
pub struct ContinuationBody {
    /// The shard.
    shard: u16,
    /// Its records in the earlier checkpoint.
    first: u64,
    /// Its records in the later one.
    second: u64,
    /// The proof, hexadecimal.
    proof: Vec<String>,
}

/// That a checkpoint goes on from another: nothing that was signed has been changed or removed.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConsistencyBody {
    /// The earlier checkpoint.
    from: SignedText,
    /// The later one.
    to: SignedText,
    /// Every shard of the later one.
    shards: Vec<ContinuationBody>,
}

/// Proof that one checkpoint is the continuation of another.
#[utoipa::path(
    get, path = "/audit/consistency", tag = "audit", params(ConsistencyQuery),
    responses((status = 200, body = ConsistencyBody), (status = "default", response = Problem)),
    security(("key" = []), ("bearer" = []))
)]
pub async fn consistency(
    State(door): State<Door>,
    _: Caller<Read>,
    Asked(query): Asked<ConsistencyQuery>,
) -> Result<Json<ConsistencyBody>, Problem> {
    let notary = &door.app.parts.audits.notary;
    let past = async |number: u64| {
        let past = notary.past(number).await.map_err(|error| problem(&error))?;
        past.ok_or_else(|| Problem::not_found(format!("there is no checkpoint {number}")))
    };
    let from = past(query.from).await?;
    let to = match query.to {
        Some(number) => past(number).await?,
        None => notary.newest().await.map_err(|error| problem(&error))?.unwrap_or_else(|| from.clone()),
    };
    if to.0.number < from.0.number {
        return Err(Problem::misfit("to", format!("expected {} or more, got {}", from.0.number, to.0.number)));
    }
    let proofs = notary.continuation(&from.0, &to.0).await.map_err(|error| problem(&error))?;
    let shards = proofs.into_iter().map(|proof| ContinuationBody {
        shard: proof.shard,
        first: proof.first,
        second: proof.second,
        proof: proof.proof.iter().map(|hash| hex(hash)).collect(),
    });
    Ok(Json(ConsistencyBody { from: SignedText::of(&from.1), to: SignedText::of(&to.1), shards: shards.collect() }))
}

/// What an auditor brings.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyBody {
    /// Checkpoints that were kept elsewhere.
    #[serde(default)]
    trusted: Vec<SignedText>,
    /// The public key that alone counts, hexadecimal.
    #[serde(default)]
    key: Option<String>,
}

/// Verifies hash chain and signatures of the whole log, with progress, as lines of JSON; the last line has the type `done`.
#[utoipa::path(
    post, path = "/audit/verify", tag = "audit",
    request_body(content = Option<VerifyBody>, content_type = "application/json"),
    responses((status = 200, body = AuditStep, content_type = "application/x-ndjson"), (status = "default", response = Problem)),
    security(("key" = []), ("bearer" = []))
)]
pub async fn verification(
    State(door): State<Door>,
    _: Caller<Admin>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: VerifyBody = if body.is_empty() { VerifyBody::default() } else { ask::json(&headers, &body)? };
    let key = body
        .key
        .as_deref()
        .map(|key| unhex(key).ok_or_else(|| Problem::misfit("key", "expected 64 hexadecimal digits")));
    let malformed = |index| {
        Problem::misfit(&format!("trusted[{index}]"), "expected key and signature as 64 and 128 hexadecimal digits")
    };
    let trusted = body.trusted.iter().enumerate().map(|(index, text)| text.signed().ok_or_else(|| malformed(index)));
    let (trusted, key) = (trusted.collect::<Result<_, _>>()?, key.transpose()?);
    let desk = &door.app.parts.audits;
    let permit = desk.take()?;
    let directory = desk.directory.clone();
    let read = tokio::task::spawn_blocking(move || ledger::read(&directory));
    let own = read.await.map_err(|error| Problem::internal(error.to_string()))?;
    let own = own.map_err(|error| Problem::unavailable(format!("{error:#}")))?;
    let basis = Basis { own, own_key: Some(desk.notary.public_key()), trusted, key };
    let journal = Arc::clone(&door.app.parts.journal);
    Ok(told(&door.app, permit, move |report| async move { verify::log(&*journal, &basis, report).await }))
}

/// Which scores.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RescoreQuery {
    /// Scores recorded at this moment or later.
    from: Option<String>,
    /// Scores recorded before this moment.
    to: Option<String>,
    /// Those of one locomotive.
    locomotive: Option<String>,
}

/// Computes every recorded score of a span again, with progress, as lines of JSON; the last line has the type `done`.
#[utoipa::path(
    post, path = "/audit/rescore", tag = "audit", params(RescoreQuery),
    responses((status = 200, body = AuditStep, content_type = "application/x-ndjson"), (status = "default", response = Problem)),
    security(("key" = []), ("bearer" = []))
)]
pub async fn rescoring(
    State(door): State<Door>,
    _: Caller<Admin>,
    Asked(query): Asked<RescoreQuery>,
) -> Result<Response, Problem> {
    let locomotive = query.locomotive.as_deref().map(LocomotiveId::parse).transpose();
    let span = Span {
        from: ask::time_maybe("from", query.from.as_deref())?,
        to: ask::time_maybe("to", query.to.as_deref())?,
        locomotive: locomotive.map_err(|error| Problem::misfit("locomotive", error.to_string()))?,
    };
    let desk = &door.app.parts.audits;
    let permit = desk.take()?;
    let (journal, shelf) = (Arc::clone(&door.app.parts.journal), desk.shelf.clone());
    let blueprint = Arc::clone(&door.app.parts.model.blueprint);
    Ok(told(
        &door.app,
        permit,
        move |report| async move { rescore::log(&journal, &blueprint, &shelf, &span, report).await },
    ))
}

/// Runs a long audit beside the requests and tells its steps as they come. It ends when the client goes away or the server ends.
fn told<F: Future<Output = anyhow::Result<()>> + Send + 'static>(
    app: &Arc<App>,
    permit: OwnedSemaphorePermit,
    work: impl FnOnce(Report) -> F,
) -> Response {
    let (report, steps) = Report::new();
    let failed = report.clone();
    let work = work(report);
    let mut shutdown = app.parts.shutdown.clone();
    tokio::spawn(async move {
        let outcome = tokio::select! {
            outcome = work => outcome,
            () = super::serve::ended(&mut shutdown) => Ok(()),
        };
        if let Err(error) = outcome {
            let told = failed.tell(AuditStep::Note { message: format!("the audit was broken off: {error:#}") }).await;
            if told.is_err() {
                tracing::debug!(%error, "an audit that nobody waited for was broken off");
            }
        }
        drop(permit);
    });
    let lines = stream::unfold(steps, |mut steps| async move {
        let step = steps.recv().await?;
        let line = serde_json::to_vec(&step).map(|mut line| {
            line.push(b'\n');
            Bytes::from(line)
        });
        Some((line.map_err(std::io::Error::other), steps))
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

/// Erases what a person wrote to an event: the note to maintenance or a failure, the comment to an acknowledgement. The event stays.
#[utoipa::path(
    delete, path = "/twins/{id}/events/{version}/note", tag = "audit",
    params(("id" = String, Path, description = "The locomotive"), ("version" = u64, Path, description = "The version after the event")),
    responses((status = 204, description = "No copy is left in the log"), (status = "default", response = Problem)),
    security(("key" = []), ("bearer" = []))
)]
pub async fn erase_note(
    State(door): State<Door>,
    _: Caller<Admin>,
    Path((id, version)): Path<(String, u64)>,
) -> Result<StatusCode, Problem> {
    let none = || Problem::not_found(format!("{id} has no event of version {version} with a text"));
    let before = version.checked_sub(1).ok_or_else(none)?;
    let id = LocomotiveId::parse(&id).map_err(|_| none())?;
    let parts = &door.app.parts;
    let events =
        parts.fleet.history(id.as_str(), before, 1).await.map_err(|error| super::twins::past_problem(&error))?;
    let event = events.first().filter(|past| past.version == version).ok_or_else(none)?;
    let text = note::id_of(&event.event);
    if text.is_empty() {
        return Err(none());
    }
    let erased = parts.journal.erase(text).await;
    erased.map_err(|error| Problem::unavailable(format!("the text could not be erased: {error}")))?;
    Ok(StatusCode::NO_CONTENT)
}
