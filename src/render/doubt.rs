//! Why nothing can be said of a twin or a reading, as JSON and in words. When that is so is decided elsewhere.

use serde::Serialize;
use twin::definition::Definition;
use twin::doubt::{self, DoubtKind};
use twin::explanation;
use twin::instant;
use twin::level::Level;
use twin::state::TwinState;
use utoipa::ToSchema;

use super::words::{self, Words, moment, of_french};
use super::{ServedModel, sensor_key};
use crate::breaker::Standing;

/// One reason why the level is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Doubt {
    /// `signal_lost`, `stuck`, `missing`, `out_of_range`, `outside_training`, `no_reading`, or `suspended` while the breaker is not closed.
    #[schema(example = "stuck")]
    pub kind: String,
    /// The sensor that cannot be believed; `null` where it is the whole machine.
    #[schema(required, example = "vibration")]
    pub sensor: Option<String>,
    /// A second sensor: the two values lie far from all that occurred together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub with: Option<String>,
    /// Since when: the last arrival for a lost signal, the machine's time for a sensor.
    #[schema(required)]
    pub since: Option<String>,
    /// The same in words.
    pub words: Words,
}

impl Doubt {
    /// A doubt as JSON; one without a moment is about a single reading.
    fn of(doubt: &doubt::Doubt, model: &ServedModel, timeless: bool) -> Self {
        let key = |id: Option<u32>| id.and_then(|id| sensor_key(id, &model.blueprint));
        let since = (!timeless).then_some(doubt.since);
        Self {
            kind: doubt.kind.name().to_owned(),
            sensor: key(doubt.sensor),
            with: key(doubt.with),
            since: since.map(instant::format),
            words: in_words(doubt, since, &model.blueprint.definition),
        }
    }

    /// A recorded doubt.
    pub fn recorded(doubt: &doubt::Doubt, model: &ServedModel) -> Self {
        Self::of(doubt, model, false)
    }

    /// A row that the model finds strange, of a reading without a history.
    pub fn strange((one, other): (usize, usize), model: &ServedModel) -> Self {
        Self::of(&strange((one, other), 0, model), model, true)
    }

    /// Scoring is suspended, so nothing is said of any locomotive.
    fn suspended(standing: &Standing) -> Self {
        let why = |text: &Option<String>| text.clone().unwrap_or_default();
        let words = Words::new(
            format!("l’évaluation est suspendue : {}", why(&standing.reason_fr)),
            format!("scoring is suspended: {}", why(&standing.reason)),
        );
        Self { kind: "suspended".to_owned(), sensor: None, with: None, since: standing.since.clone(), words }
    }

    fn no_reading() -> Self {
        let words = Words::new(
            "aucune mesure qui permette de juger n’est encore arrivée",
            "no reading that allows a judgement has arrived yet",
        );
        Self { kind: "no_reading".to_owned(), sensor: None, with: None, since: None, words }
    }
}

fn strange((one, other): (usize, usize), since: instant::Millis, model: &ServedModel) -> doubt::Doubt {
    let id = |index: usize| model.blueprint.definition.sensors[index].id;
    let with = (one != other).then(|| id(other));
    doubt::Doubt { with, ..doubt::Doubt::about(DoubtKind::OutsideTraining, id(one), since) }
}

/// The level that is answered for a twin, and why it is unknown where it is: all that is doubted now, the gravest first. What makes an answer
/// unknown without being an event of the twin belongs here as well.
pub fn standing(state: &TwinState, model: &ServedModel) -> (Level, Vec<Doubt>) {
    if model.scoring.is_suspended() {
        return (Level::Unknown, vec![Doubt::suspended(&model.scoring.standing())]);
    }
    if state.level != Level::Unknown {
        return (state.level, Vec::new());
    }
    let blueprint = &model.blueprint;
    let mut doubts: Vec<_> = if state.definition == blueprint.definition.id {
        state.doubts(&blueprint.definition).map(|doubt| Doubt::recorded(&doubt, model)).collect()
    } else {
        Vec::new()
    };
    let row = explanation::newest_row(state, blueprint).filter(|_| state.signal_lost_at.is_none());
    if let (Some(apart), Some(newest)) = (row.and_then(|row| model.scorer.strange(&row)), state.newest) {
        let lasting = state.doubt.filter(|doubt| doubt.kind == DoubtKind::OutsideTraining);
        let since = lasting.map_or(newest, |doubt| doubt.since);
        doubts.push(Doubt::recorded(&strange(apart, since, model), model));
    }
    if doubts.is_empty() {
        // Another model or definition was in force: what was recorded then is all that is known.
        doubts.push(state.doubt.as_ref().map_or_else(Doubt::no_reading, |doubt| Doubt::recorded(doubt, model)));
    }
    (Level::Unknown, doubts)
}

fn in_words(doubt: &doubt::Doubt, since: Option<instant::Millis>, definition: &Definition) -> Words {
    let sensor = |id: Option<u32>| {
        let index = id.and_then(|id| definition.index_of(id));
        index.map_or_else(|| Words::new("un capteur", "a sensor"), |index| words::sensor(&definition.sensors[index]))
    };
    let one = sensor(doubt.sensor);
    let says = |fr: &str, en: &str| Words::new(format!("{} {fr}", one.fr), format!("{} {en}", one.en));
    let told = match doubt.kind {
        DoubtKind::SignalLost => Words::new("aucune mesure n’arrive plus", "no reading has arrived"),
        DoubtKind::Stuck => says("répète la même valeur", "has repeated one value"),
        DoubtKind::Missing => says("ne donne plus de mesure", "has given no value"),
        DoubtKind::OutOfRange => says("sort de sa plage", "has been outside its range"),
        DoubtKind::OutsideTraining if doubt.with.is_some() => {
            let other = sensor(doubt.with);
            Words::new(
                format!(
                    "la combinaison {} et {} est loin de tout ce que le modèle a appris",
                    of_french(&one.fr),
                    of_french(&other.fr)
                ),
                format!("the combination of {} and {} is far from all that the model learnt from", one.en, other.en),
            )
        }
        DoubtKind::OutsideTraining => {
            says("est loin de tout ce que le modèle a appris", "is far from all that the model learnt from")
        }
    };
    let Some(since) = since.map(moment) else { return told };
    Words::new(format!("{} depuis le {since}", told.fr), format!("{}, since {since}", told.en))
}
