//! `GET /fleet`: the whole fleet at one look, now or at a moment of the past.

use std::collections::BTreeMap;

use actors::{FleetAt, TwinView};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use twin::instant;
use utoipa::{IntoParams, ToSchema};

use super::ask::{self, Asked};
use super::twins::past_problem;
use super::{Door, ServedModel};
use crate::auth::extract::{Caller, Read};
use crate::problem::Problem;
use crate::render::{LevelName, sensor_key};

/// The fleet at one look.
#[derive(Debug, Serialize, ToSchema)]
pub struct FleetAnswer {
    /// The moment asked for, or now.
    pub at: String,
    /// Locomotives in service.
    pub count: usize,
    /// How many stand how.
    pub levels: BTreeMap<LevelName, usize>,
    /// The worst first, at most `limit`.
    pub worst: Vec<Standing>,
    /// Where each locomotive was when it last said so.
    pub positions: Vec<Place>,
    /// The last record of each shard that this answer knows.
    // The keys of a JSON object are text, so that a schema of numbers would refuse them all.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub cut: BTreeMap<u16, u64>,
}

/// How one locomotive stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct Standing {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: u64,
    /// How it stands.
    pub level: LevelName,
    /// Its risk.
    #[schema(required)]
    pub risk: Option<f32>,
    /// Since when.
    #[schema(required)]
    pub since: Option<String>,
    /// The sensor that weighs most.
    #[schema(required)]
    pub reason: Option<String>,
}

/// Where one locomotive is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Place {
    /// Its id.
    pub id: String,
    /// How it stands.
    pub level: LevelName,
    /// Degrees, WGS 84.
    pub latitude: f32,
    /// Degrees, WGS 84.
    pub longitude: f32,
    /// km/h.
    pub speed: f32,
}

/// Which moment.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FleetQuery {
    /// What was known at this moment.
    at: Option<String>,
    /// A cut as an answer gave it: `{"0":90211,"1":88112}`, or shorter `0:90211,1:88112`. A shard that is not named stands at nothing.
    cut: Option<String>,
    /// How many of the worst, 1 to 1000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// The fleet at one look: counts by level, the worst first, positions, and the cut through the log that all of it stands on.
#[utoipa::path(
    get, path = "/fleet", tag = "fleet", params(FleetQuery),
    responses((status = 200, body = FleetAnswer), (status = "default", response = Problem)),
    security(("key" = []), ("bearer" = []))
)]
pub async fn fleet(
    State(door): State<Door>,
    caller: Caller<Read>,
    Asked(query): Asked<FleetQuery>,
) -> Result<Json<FleetAnswer>, Problem> {
    let limit = ask::limit(query.limit)?;
    let fleet = &door.app.parts.fleet;
    let seen = |view: &TwinView| caller.principal.sees(view.id.as_str());
    let mut summary = Summary::default();
    let asked = match (ask::time_maybe("at", query.at.as_deref())?, query.cut.as_deref().map(read_cut).transpose()?) {
        (Some(_), Some(_)) => return Err(Problem::misfit("cut", "expected either at or cut, got both")),
        (Some(at), None) => Some((Some(at), FleetAt::Time(at))),
        (None, Some(cut)) => Some((None, FleetAt::Cut(cut))),
        (None, None) => None,
    };
    let (at, cut) = match asked {
        None => {
            fleet.read(|view: &TwinView| {
                if seen(view) {
                    summary.add(view, &door.app.parts.model);
                }
            });
            (door.app.now(), summary.cut.clone())
        }
        Some((at, moment)) => {
            let past = fleet.fleet_at(moment).await.map_err(|error| past_problem(&error))?;
            let model = door.app.parts.model.of_the_past();
            past.twins.iter().filter(|view| seen(view)).for_each(|view| summary.add(view, &model));
            // A cut is no moment; its newest event's is the best name for it.
            let newest = || {
                past.twins
                    .iter()
                    .filter(|view| seen(view))
                    .map(|view| view.appended_at)
                    .max()
                    .unwrap_or_else(|| door.app.now())
            };
            (at.unwrap_or_else(newest), past.cut.into_iter().collect())
        }
    };
    Ok(Json(summary.answer(at, cut, limit)))
}

/// Reads a cut, with or without the signs of a JSON object.
fn read_cut(text: &str) -> Result<Vec<(u16, u64)>, Problem> {
    let pair = |pair: &str| {
        let (shard, position) = pair.split_once(':')?;
        Some((shard.parse().ok()?, position.parse().ok()?))
    };
    let bare: String = text.chars().filter(|c| !matches!(c, '{' | '}' | '"' | ' ')).collect();
    let expected = || Problem::misfit("cut", format!("expected shard:position,… as an answer gave it, got {text:?}"));
    bare.split(',').map(|part| pair(part).ok_or_else(expected)).collect()
}

/// What is gathered in one walk through the twins.
#[derive(Default)]
struct Summary {
    levels: BTreeMap<LevelName, usize>,
    standings: Vec<Standing>,
    positions: Vec<Place>,
    cut: BTreeMap<u16, u64>,
}

impl Summary {
    fn add(&mut self, view: &TwinView, model: &ServedModel) {
        let newest = self.cut.entry(view.shard).or_default();
        *newest = view.sequence.max(*newest);
        let state = &view.state;
        if !state.in_service() {
            return;
        }
        let level = LevelName::from(model.scoring.level(state.level));
        let standing = model.scoring.is_suspended().then(|| model.scoring.standing());
        let assessment = state.assessment.filter(|_| standing.is_none());
        *self.levels.entry(level).or_default() += 1;
        self.standings.push(Standing {
            id: view.id.to_string(),
            version: view.version,
            level,
            risk: assessment.filter(|_| level != LevelName::Unknown).map(|assessment| assessment.score.risk),
            since: standing
                .as_ref()
                .map_or_else(|| state.level_since.map(instant::format), |standing| standing.since.clone()),
            reason: match &standing {
                Some(standing) => standing.reason.clone(),
                None => state.reason.and_then(|id| sensor_key(id, &model.blueprint)),
            },
        });
        if let Some(position) = state.position {
            let (latitude, longitude, speed) = (position.latitude, position.longitude, position.speed);
            self.positions.push(Place { id: view.id.to_string(), level, latitude, longitude, speed });
        }
    }

    fn answer(mut self, at: instant::Millis, cut: BTreeMap<u16, u64>, limit: usize) -> FleetAnswer {
        let count = self.standings.len();
        let risk = |standing: &Standing| standing.risk.unwrap_or_default();
        self.standings.sort_unstable_by(|a, b| {
            b.level.cmp(&a.level).then(risk(b).total_cmp(&risk(a))).then_with(|| a.id.cmp(&b.id))
        });
        self.standings.truncate(limit);
        self.positions.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        let levels = [LevelName::Danger, LevelName::Watch, LevelName::Nominal, LevelName::Unknown];
        let levels =
            levels.into_iter().map(|level| (level, self.levels.get(&level).copied().unwrap_or_default())).collect();
        FleetAnswer { at: instant::format(at), count, levels, worst: self.standings, positions: self.positions, cut }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_read_as_it_was_given_and_shorter() {
        for text in [r#"{"0": 12, "3": 7}"#, "0:12,3:7"] {
            assert_eq!(read_cut(text).ok(), Some(vec![(0, 12), (3, 7)]), "{text}");
        }
        for wrong in ["", "{}", "0", "0:x", "70000:1", "0:1;1:2"] {
            assert_eq!(read_cut(wrong).map_err(|problem| problem.status), Err(422), "{wrong}");
        }
    }
}
