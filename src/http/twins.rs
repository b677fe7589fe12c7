//! `/twins`: the live state of every locomotive, and any state of its past.

use actors::{At, PastError, PastTwin, TwinView};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use journal::error::ReadError;
use journal::hash::hex;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use twin::command::Command;
use twin::ids::LocomotiveId;
use twin::level::Level;
use utoipa::{IntoParams, ToSchema};

use super::ask::{self, Addressee, Asked, Page};
use super::commands::{cause_of, command_problem};
use super::{App, Door, ServedModel};
use crate::auth::extract::{Caller, Operate, Read};
use crate::problem::Problem;
use crate::render::twin::{FIELDS, Twin, pick};

/// Which twins, in which order.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TwinsQuery {
    /// Only these levels, separated by commas: `danger,watch`.
    level: Option<String>,
    /// Only ids that contain this text (upper and lower case alike).
    q: Option<String>,
    /// `id` (default), `risk` (lowest first), `-risk` (highest first), `-level` (worst first).
    sort: Option<String>,
    /// Only these fields of each twin, separated by commas.
    fields: Option<String>,
    /// Only positions within `west,south,east,north` (degrees).
    bbox: Option<String>,
    /// Entries of a page, 1 to 1000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// The locomotives, page by page.
#[utoipa::path(
    get, path = "/twins", tag = "twins", params(TwinsQuery),
    responses((status = 200, body = inline(Page<Twin>)), (status = "default", response = Problem)),
    security(("key" = []), ("bearer" = []))
)]
pub async fn list(
    State(door): State<Door>,
    caller: Caller<Read>,
    Asked(query): Asked<TwinsQuery>,
) -> Result<Json<Page<Box<RawValue>>>, Problem> {
    let limit = ask::limit(query.limit)?;
    let levels = levels(query.level.as_deref())?;
    let fields = fields(query.fields.as_deref())?;
    let bbox = query.bbox.as_deref().map(Bbox::parse).transpose()?;
    let sort = Sort::parse(query.sort.as_deref())?;
    let after = query.cursor.as_deref().map(Sort::read_cursor).transpose()?;
    let needle = query.q.as_deref().map(str::to_ascii_lowercase);
    let mut places = Vec::new();
    let scoring = door.app.parts.breaker.scoring();
    door.app.parts.fleet.read(|view: &TwinView| {
        if !caller.principal.sees(view.id.as_str()) {
            return;
        }
        let named = needle.as_ref().is_none_or(|needle| view.id.as_str().to_ascii_lowercase().contains(needle));
        let within = bbox.as_ref().is_none_or(|bbox| bbox.holds(view));
        if named && within && levels.as_ref().is_none_or(|levels| levels.contains(&scoring.level(view.state.level))) {
            places.push((sort.place(view), view.id.clone()));
        }
    });
    let count = places.len();
    places.sort_unstable();
    let start = after.map_or(0, |after| places.partition_point(|place| *place <= after));
    let page = &places[start..places.len().min(start + limit)];
    let more = start + page.len() < count;
    let next = page.last().filter(|_| more).map(|(place, id)| format!("{place:x}~{id}"));
    let stale = door.app.stale_shards();
    let mut items = Vec::with_capacity(page.len());
    for (_, id) in page {
        if let Some(view) = door.app.parts.fleet.twin(id.as_str()) {
            items.push(render(&view, &door.app, &door.app.parts.model, &stale, fields.as_deref()).await?);
        }
    }
    Ok(Json(Page { items, next, count }))
}

async fn render(
    view: &TwinView,
    app: &App,
    model: &ServedModel,
    stale: &[u16],
    fields: Option<&[String]>,
) -> Result<Box<RawValue>, Problem> {
    let twin = Twin::of(view, model, &*app.parts.journal, stale.contains(&view.shard)).await;
    pick(&twin, fields).map_err(|error| Problem::internal(error.to_string()))
}

/// Levels out of a list of names.
pub fn levels(text: Option<&str>) -> Result<Option<Vec<Level>>, Problem> {
    let level = |name: String| {
        let expected = || Problem::misfit("level", format!("expected nominal, watch, danger or unknown, got {name:?}"));
        Level::parse(&name).ok_or_else(expected)
    };
    ask::list(text).map(|names| names.into_iter().map(level).collect()).transpose()
}

/// Fields out of a list of names.
pub fn fields(text: Option<&str>) -> Result<Option<Vec<String>>, Problem> {
    let fields = ask::list(text);
    if let Some(unknown) = fields.iter().flatten().find(|field| !FIELDS.contains(&field.as_str())) {
        return Err(Problem::misfit("fields", format!("expected some of {}, got {unknown:?}", FIELDS.join(", "))));
    }
    Ok(fields)
}

/// A box of the map; one whose west lies east of its east crosses the date line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bbox {
    west: f32,
    south: f32,
    east: f32,
    north: f32,
}

impl Bbox {
    /// Reads `west,south,east,north`.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let sides: Vec<f32> = text.split(',').filter_map(|side| side.trim().parse().ok()).collect();
        match sides[..] {
            [west, south, east, north] if south <= north && sides.iter().all(|side| side.is_finite()) => {
                Ok(Self { west, south, east, north })
            }
            _ => Err(Problem::misfit("bbox", format!("expected west,south,east,north in degrees, got {text:?}"))),
        }
    }

    /// Whether a twin is inside; one without a position is not.
    pub fn holds(&self, view: &TwinView) -> bool {
        view.state.position.is_some_and(|position| {
            let (x, y) = (position.longitude, position.latitude);
            let across = if self.west <= self.east {
                self.west <= x && x <= self.east
            } else {
                x >= self.west || x <= self.east
            };
            across && self.south <= y && y <= self.north
        })
    }
}

/// The order of a list, as a number that grows; ids order what it leaves equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Id,
    RiskUp,
    RiskDown,
    Worst,
}

impl Sort {
    fn parse(text: Option<&str>) -> Result<Self, Problem> {
        match text {
            None | Some("id") => Ok(Self::Id),
            Some("risk") => Ok(Self::RiskUp),
            Some("-risk") => Ok(Self::RiskDown),
            Some("-level") => Ok(Self::Worst),
            Some(other) => Err(Problem::misfit("sort", format!("expected id, risk, -risk or -level, got {other:?}"))),
        }
    }

    fn place(self, view: &TwinView) -> u64 {
        // A risk is never negative, so its bits order like its value.
        let risk = view.state.assessment.map_or(0, |assessment| u64::from(assessment.score.risk.to_bits()));
        let level = view.state.level as u64;
        match self {
            Self::Id => 0,
            Self::RiskUp => risk,
            Self::RiskDown => u64::from(u32::MAX) - risk,
            Self::Worst => (3 - level) << 32 | (u64::from(u32::MAX) - risk),
        }
    }

    fn read_cursor(cursor: &str) -> Result<(u64, LocomotiveId), Problem> {
        let read = || {
            let (place, id) = cursor.split_once('~')?;
            Some((u64::from_str_radix(place, 16).ok()?, LocomotiveId::parse(id).ok()?))
        };
        read().ok_or_else(|| Problem::misfit("cursor", "expected the `next` of the page before"))
    }
}

/// Which moment of a twin's life.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TwinQuery {
    /// The state that was known at this moment.
    at: Option<String>,
    /// The state after this version.
    version: Option<u64>,
    /// Only these fields, separated by commas.
    fields: Option<String>,
    /// With `true` every feature's contribution comes in words as well.
    words: Option<bool>,
}

/// One locomotive, now or in the past, with its explanation in French and English.
///
/// `contributions` say what each feature adds to the risk; they sum to the risk minus `explanation.base_rate`, and each sensor's
/// `contribution` is the sum of its own. They are computed for the answer from the state by the model that gave the score; where that is not
/// the model in service, or maintenance has emptied the windows since, `explanation.available` is false and says so. While the level is
/// unknown there is no risk to believe: it is `null`, and `doubts` say why. Words are given in both languages, whatever `Accept-Language`.
#[utoipa::path(
    get, path = "/twins/{id}", tag = "twins", params(("id" = String, Path, description = "The locomotive"), TwinQuery),
    responses(
        (status = 200, body = Twin, headers(("ETag" = String, description = "The version"))),
        (status = 304, description = "It is still the version of If-None-Match"),
        (status = "default", response = Problem)
    ),
    security(("key" = []), ("bearer" = []))
)]
pub async fn twin(
    State(door): State<Door>,
    _: Caller<Read>,
    Addressee(id): Addressee,
    Asked(query): Asked<TwinQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let fields = fields(query.fields.as_deref())?;
    let at = match (ask::time_maybe("at", query.at.as_deref())?, query.version) {
        (Some(_), Some(_)) => return Err(Problem::misfit("version", "expected either at or version, got both")),
        (Some(time), None) => Some(At::Time(time)),
        (None, Some(version)) => Some(At::Version(version)),
        (None, None) => None,
    };
    let is_past = at.is_some();
    let fleet = &door.app.parts.fleet;
    let mut state_hash = None;
    // A state of the past is what it is, whether its shard runs or not.
    let mut stale = Vec::new();
    let view = match at {
        None => {
            stale = door.app.stale_shards();
            fleet.twin(id.as_str()).ok_or_else(|| Problem::no_locomotive(id.as_str()))?
        }
        Some(at) => {
            let past = past_twin(&door, &id, at).await?;
            state_hash = Some(hex(&past.state_hash));
            past.view
        }
    };
    let model = if is_past { &door.app.parts.model.of_the_past() } else { &door.app.parts.model };
    // The version is that of the history; the breaker changes the answer without it.
    let held = if model.scoring.is_suspended() { "-suspended" } else { "" };
    let etag = format!("\"{}{held}\"", view.version);
    let mut response = if ask::names_etag(&headers, header::IF_NONE_MATCH, &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let app = &door.app;
        let stale = stale.contains(&view.shard);
        let mut twin = Twin::of(&view, model, &*app.parts.journal, stale).await;
        if query.words.unwrap_or_default() {
            twin.say_features(model);
        }
        let json = pick(&twin, fields.as_deref()).map_err(|error| Problem::internal(error.to_string()))?;
        Json(json).into_response()
    };
    let tag = HeaderValue::from_str(&etag).map_err(|error| Problem::internal(error.to_string()))?;
    response.headers_mut().insert(header::ETAG, tag);
    if let Some(hash) = state_hash.and_then(|hash| HeaderValue::from_str(&hash).ok()) {
        response.headers_mut().insert("x-state-hash", hash);
    }
    Ok(response)
}

/// What a change left behind.
#[derive(Debug, Serialize, ToSchema)]
pub struct Changed {
    /// The locomotive.
    pub locomotive_id: String,
    /// Its version afterwards.
    pub version: u64,
}

/// Puts a locomotive in service. One that is in service already stays as it is.
#[utoipa::path(
    put, path = "/twins/{id}", tag = "twins", params(("id" = String, Path, description = "The locomotive")),
    responses((status = 200, description = "It is in service, durably", body = Changed), (status = "default", response = Problem)),
    security(("key" = []), ("bearer" = []))
)]
pub async fn commission(
    State(door): State<Door>,
    caller: Caller<Operate>,
    Addressee(id): Addressee,
    headers: HeaderMap,
) -> Result<Json<Changed>, Problem> {
    order(&door, &caller, &id, Command::Commission, &headers, "commission").await
}

/// Takes a locomotive out of service. Its history stays.
#[utoipa::path(
    delete, path = "/twins/{id}", tag = "twins", params(("id" = String, Path, description = "The locomotive")),
    responses((status = 200, description = "It is out of service, durably", body = Changed), (status = "default", response = Problem)),
    security(("key" = []), ("bearer" = []))
)]
pub async fn retire(
    State(door): State<Door>,
    caller: Caller<Operate>,
    Addressee(id): Addressee,
    headers: HeaderMap,
) -> Result<Json<Changed>, Problem> {
    order(&door, &caller, &id, Command::Retire, &headers, "retire").await
}

async fn order(
    door: &Door,
    caller: &Caller<Operate>,
    id: &LocomotiveId,
    command: Command,
    headers: &HeaderMap,
    name: &str,
) -> Result<Json<Changed>, Problem> {
    let cause = cause_of(caller, headers, door.app.now(), (name, id))?;
    let version = door.app.parts.fleet.command(id, command, cause).await.map_err(|error| command_problem(&error))?;
    Ok(Json(Changed { locomotive_id: id.to_string(), version }))
}

/// A twin as it was; 404 before its first record, 410 before what is kept.
pub async fn past_twin(door: &Door, id: &LocomotiveId, at: At) -> Result<PastTwin, Problem> {
    let past = door.app.parts.fleet.twin_at(id.as_str(), at).await.map_err(|error| past_problem(&error))?;
    past.ok_or_else(|| Problem::not_found(format!("{id} had no record yet at that moment, or is not known")))
}

/// A question to the past that could not be answered.
pub fn past_problem(error: &PastError) -> Problem {
    match error {
        PastError::Read(ReadError::Dropped { .. }) => Problem::gone(error.to_string()),
        PastError::NoSuchCut { .. } => Problem::misfit("cut", error.to_string()),
        _ => Problem::unavailable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_is_read_or_refused() {
        assert!(Bbox::parse("8,3,16,13").is_ok());
        for wrong in ["8,3,16", "8,13,16,3", "a,b,c,d", "NaN,3,16,13"] {
            assert_eq!(Bbox::parse(wrong).map_err(|problem| problem.status), Err(422), "{wrong}");
        }
    }

    #[test]
    fn unknown_names_are_refused() {
        assert!(levels(Some("danger,watch")).is_ok_and(|levels| levels.is_some_and(|levels| levels.len() == 2)));
        assert!(levels(Some("bad")).is_err());
        assert!(fields(Some("risk,colour")).is_err());
        assert!(fields(None).is_ok_and(|fields| fields.is_none()));
    }

    #[test]
    fn a_cursor_leads_back_to_its_place() {
        let id = LocomotiveId::parse("CC-2201").expect("valid");
        assert_eq!(Sort::read_cursor("ff~CC-2201").ok(), Some((255, id)));
        assert!(Sort::read_cursor("CC-2201").is_err());
    }
}
