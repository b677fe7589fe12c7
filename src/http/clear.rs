//! `GET /twins/{id}/clear`: the smallest change of the sensors that brings the level back to nominal. It is found in `models::clear`; here it
//! gets its words. Nothing is recorded.

use axum::Json;
use axum::extract::State;
use models::clear::{self, Change, Clear};
use serde::Serialize;
use twin::level::Level;
use utoipa::ToSchema;

use super::Door;
use super::ask::Addressee;
use crate::auth::extract::{Caller, Read};
use crate::problem::Problem;
use crate::render::doubt::standing;
use crate::render::words::{Words, decimals, sensor};
use crate::render::{LevelName, ServedModel};

/// The way back to nominal.
#[derive(Debug, Serialize, ToSchema)]
pub struct Clearing {
    /// The level once the changes have lasted: nominal where there is a way, the present level where there is none.
    pub level: LevelName,
    /// The risk once the changes have lasted; `null` where the level is unknown.
    #[schema(required)]
    pub risk: Option<f32>,
    /// How the locomotive stands now.
    pub now: Present,
    /// What to change; empty where nothing need or can be changed, and `reason` says which.
    pub changes: Vec<SensorChange>,
    /// Size of the change: the sum over the sensors of the change as a share of the valid range; `null` without one.
    #[schema(required)]
    pub distance: Option<f64>,
    /// Why `changes` is empty: `nominal`, `settling` (the present values are good, the windows still remember others), `unknown`, `unscored`
    /// (no score by the model in service yet) or `out_of_reach` (no change of one or two sensors is enough); `null` with changes.
    #[schema(required, example = "settling")]
    pub reason: Option<&'static str>,
    /// The same in words.
    pub words: Words,
}

/// The present level and risk.
#[derive(Debug, Serialize, ToSchema)]
pub struct Present {
    /// The level.
    pub level: LevelName,
    /// The risk; `null` where the level is unknown.
    #[schema(required)]
    pub risk: Option<f32>,
}

/// The change of one sensor.
#[derive(Debug, Serialize, ToSchema)]
pub struct SensorChange {
    /// The sensor.
    #[schema(example = "temperature")]
    pub sensor: String,
    /// Its present value.
    pub from: f32,
    /// The value that it should have.
    pub to: f32,
    /// The unit of both.
    #[schema(example = "°C")]
    pub unit: String,
    /// The change as a share of the sensor's valid range.
    pub distance: f64,
    /// The same in words: `température −6 °C`.
    pub words: Words,
}

/// The smallest change of the sensors that brings the level back to nominal.
///
/// The question is that of a machine that runs steadily: every sensor stands at its present value, and those of the answer at their new ones,
/// long enough for all windows to stand there too; the maintenance stays what it is. The level comes back where the risk of that machine
/// lies more than the hysteresis below the threshold of watch. New values lie within the valid range, on the sensor's resolution, and not
/// far outside of what the model learnt from. The size of a change is its share of the sensor's valid range, that of two sensors the sum.
/// For one sensor what is answered is the smallest change there is; two sensors are searched for a smaller one, which is verified by scoring.
#[utoipa::path(
    get, path = "/twins/{id}/clear", tag = "twins", params(("id" = String, Path, description = "The locomotive")),
    responses((status = 200, body = Clearing), (status = "default", response = Problem)),
    security(("key" = []), ("bearer" = []))
)]
pub async fn clear(
    State(door): State<Door>,
    _: Caller<Read>,
    Addressee(id): Addressee,
) -> Result<Json<Clearing>, Problem> {
    let view = door.app.parts.fleet.twin(id.as_str()).ok_or_else(|| Problem::no_locomotive(id.as_str()))?;
    let model = door.app.parts.model.clone();
    // Thousands of scores: not on a thread that others wait for.
    let answer = tokio::task::spawn_blocking(move || answer(&view.state, &model)).await;
    answer.map(Json).map_err(|error| Problem::internal(error.to_string()))
}

fn answer(state: &twin::state::TwinState, model: &ServedModel) -> Clearing {
    let (level, doubts) = standing(state, model);
    let known = level != Level::Unknown;
    let risk = state.assessment.filter(|_| known).map(|assessment| assessment.score.risk);
    let found = if known { clear::clear(state, &*model.scorer, &model.blueprint) } else { Clear::Unknown };
    let now = || Present { level: level.into(), risk };
    let stays = |reason, words| Clearing {
        level: level.into(),
        risk,
        now: now(),
        changes: Vec::new(),
        distance: None,
        reason: Some(reason),
        words,
    };
    match found {
        Clear::Nominal => stays(
            "nominal",
            Words::new("Rien à changer : l’opération est nominale.", "Nothing to change: all is nominal."),
        ),
        Clear::Unknown => {
            let words = doubts.into_iter().next().map_or_else(|| Words::new("", ""), |doubt| doubt.words);
            let fr = format!("Rien ne peut être conseillé : {}.", words.fr);
            stays("unknown", Words::new(fr, format!("Nothing can be advised: {}.", words.en)))
        }
        Clear::Unscored => stays(
            "unscored",
            Words::new(
                "Le modèle en service n’a pas encore jugé cette locomotive : attendez sa prochaine mesure.",
                "The model in service has not judged this locomotive yet: wait for its next reading.",
            ),
        ),
        Clear::OutOfReach => stays(
            "out_of_reach",
            Words::new(
                "Aucun changement d’un ou de deux capteurs ne suffit : une intervention est nécessaire.",
                "No change of one or two sensors is enough: the machine needs maintenance.",
            ),
        ),
        Clear::Settling { risk } => Clearing {
            level: LevelName::Nominal,
            risk: Some(risk),
            ..stays(
                "settling",
                Words::new(
                    "Rien à changer : si les valeurs actuelles durent, le niveau revient de lui-même au nominal.",
                    "Nothing to change: if the present values last, the level comes back to nominal by itself.",
                ),
            )
        },
        Clear::Change { changes, distance, risk } => {
            let changes: Vec<_> = changes.iter().map(|change| told(change, model)).collect();
            let list = |words: fn(&Words) -> &str| {
                changes.iter().map(|change| words(&change.words)).collect::<Vec<_>>().join(", ")
            };
            let words = Words::new(
                format!("Pour revenir à une opération nominale : {}.", list(|words| &words.fr)),
                format!("To come back to nominal: {}.", list(|words| &words.en)),
            );
            let (level, risk, distance) = (LevelName::Nominal, Some(risk), Some(distance));
            Clearing { level, risk, now: now(), changes, distance, reason: None, words }
        }
    }
}

fn told(change: &Change, model: &ServedModel) -> SensorChange {
    let definition = &model.blueprint.definition.sensors[change.sensor];
    let (least, greatest) = definition.range;
    let difference = f64::from(change.to) - f64::from(change.from);
    let digits = definition.steps.log10().ceil().max(0.0) as usize;
    let amount = |text: &str, mark: char| {
        let shortest = if text.contains(mark) { text.trim_end_matches('0').trim_end_matches(mark) } else { text };
        format!("{}{shortest} {}", if difference > 0.0 { "+" } else { "" }, definition.unit)
    };
    let number = decimals(difference, digits);
    let name = if definition.phrase.is_some() {
        Words::new(definition.label.fr.to_lowercase(), definition.label.en.to_lowercase())
    } else {
        sensor(definition)
    };
    SensorChange {
        sensor: definition.key.clone(),
        from: change.from,
        to: change.to,
        unit: definition.unit.clone(),
        distance: difference.abs() / (f64::from(greatest) - f64::from(least)),
        words: Words::new(
            format!("{} {}", name.fr, amount(&number.fr, ',')),
            format!("{} {}", name.en, amount(&number.en, '.')),
        ),
    }
}
