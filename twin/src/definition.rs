//! The asset definition: which sensors a machine has and by which rules its twin lives. Read from TOML, checked once, then dense arrays.

use serde::Deserialize;

use crate::ids::DefinitionId;
use crate::instant::{self, Millis};
use crate::reading::MAX_SENSORS;

/// A checked asset definition.
#[derive(Debug, Clone)]
pub struct Definition {
    /// Hash of the text it was read from.
    pub id: DefinitionId,
    /// The text it was read from.
    pub text: String,
    /// Short name, such as `locomotive`.
    pub name: String,
    /// Name for people.
    pub label: Label,
    /// Expected time between two readings of one machine.
    pub interval: Millis,
    /// After so long without a reading the short windows start anew: ten intervals.
    pub gap: Millis,
    /// Where training labels come from.
    pub labels: Labels,
    /// What a wrong alarm and a missed failure cost.
    pub costs: Costs,
    /// From risk to level.
    pub levels: LevelRules,
    /// Silence and stuck sensors.
    pub signal: SignalRules,
    /// The sensors; a reading's values stand in this order.
    pub sensors: Vec<Sensor>,
}

/// A name in both languages of the users.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Label {
    /// French.
    pub fr: String,
    /// English.
    pub en: String,
}

/// One sensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Sensor {
    /// Stable number under which history is stored.
    pub id: u32,
    /// Key in readings.
    pub key: String,
    /// Name for people.
    pub label: Label,
    /// The name as it stands in a sentence, in French with its article: `la vibration`.
    pub phrase: Option<Label>,
    /// Other keys that mean the same.
    pub aliases: Vec<String>,
    /// Unit of its values.
    pub unit: String,
    /// Part of the machine it belongs to.
    pub component: String,
    /// Least and greatest value that can be true, both included.
    pub range: (f32, f32),
    /// Steps a unit: 10 for a resolution of 0.1.
    pub steps: f64,
    /// Value taken until the sensor has spoken.
    pub nominal: f32,
    /// Time constant of the short mean, in seconds.
    pub short_seconds: f64,
    /// Time constant of the long mean, in seconds.
    pub long_seconds: f64,
}

/// Where the label of a training row comes from.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Labels {
    /// A failure in the maintenance table within so many hours after the reading.
    Horizon {
        /// The hours.
        horizon_hours: f64,
    },
    /// A column of the readings table: a failure where its number lies beyond a bound. One bound must be given.
    Column {
        /// Name of the column.
        column: String,
        /// A failure is below this.
        failure_below: Option<f64>,
        /// A failure is above this.
        failure_above: Option<f64>,
    },
}

impl Labels {
    /// Whether a number of the label's column says failure; never where labels come from failures.
    pub fn is_failure(&self, number: f64) -> bool {
        match self {
            Self::Horizon { .. } => false,
            Self::Column { failure_below, failure_above, .. } => {
                failure_below.is_some_and(|bound| number < bound) || failure_above.is_some_and(|bound| number > bound)
            }
        }
    }
}

/// Costs in one unit, whatever it is.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Costs {
    /// Of a false alarm.
    pub false_alarm: f64,
    /// Of a failure that nobody was warned of.
    pub missed_failure: f64,
}

/// Rules from risk to level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LevelRules {
    /// How far below a threshold the risk must fall to leave its level.
    pub hysteresis: f32,
    /// How long it must stay above to enter.
    pub raise: Millis,
    /// How long it must stay below to leave.
    pub clear: Millis,
}

/// Rules of silence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SignalRules {
    /// Silence after which the signal counts as lost, measured on arrival.
    pub lost: Millis,
    /// How long a sensor may repeat one value before it counts as stuck, in event time.
    pub stuck: Millis,
}

/// Why a text is no asset definition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// It is not TOML of this shape; the message names line and column.
    #[error("the asset definition cannot be read: {0}")]
    Shape(String),
    /// A value makes no sense.
    #[error("the asset definition has a wrong {what}: {message}")]
    Value {
        /// Which one.
        what: String,
        /// What was expected and what came.
        message: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DefinitionText {
    name: String,
    label: Label,
    interval_seconds: f64,
    labels: Labels,
    costs: Costs,
    levels: LevelsText,
    signal: SignalText,
    sensors: Vec<SensorText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LevelsText {
    hysteresis: f32,
    raise_seconds: f64,
    clear_seconds: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignalText {
    lost_seconds: f64,
    stuck_seconds: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SensorText {
    id: u32,
    key: String,
    label: Label,
    phrase: Option<Label>,
    #[serde(default)]
    aliases: Vec<String>,
    unit: String,
    component: String,
    range: [f32; 2],
    resolution: f64,
    nominal: f32,
    windows: WindowsText,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WindowsText {
    short_seconds: f64,
    long_seconds: f64,
}

/// Seconds of any rule: what an instant tells apart, to ten years.
const TIMES: (f64, f64) = (0.001, 315_360_000.0);
/// Costs; their ratio and its root must be numbers.
const COSTS: (f64, f64) = (1e-9, 1e9);
/// Steps of a sensor; finer ones than a millionth are beyond what a reading's 32 bits hold.
const RESOLUTIONS: (f64, f64) = (1e-6, 1e6);

/// Keys of a reading that are never sensors.
pub const RESERVED_KEYS: [&str; 22] = [
    "locomotive_id",
    "recorded_at",
    "latitude",
    "longitude",
    "speed",
    // What stands beside the sensors in answers and in the columns of the warehouse.
    "received_at",
    "risk",
    "late",
    "version",
    "level",
    "spread",
    "since",
    "reason",
    "model",
    "last_reading_at",
    "last_received_at",
    "signal_lost_at",
    "last_maintenance_at",
    "last_failure_at",
    "alert_id",
    "shard",
    "sequence",
];

impl Definition {
    /// Reads and checks a definition.
    pub fn parse(text: &str) -> Result<Self, DefinitionError> {
        let raw: DefinitionText = toml::from_str(text).map_err(|error| DefinitionError::Shape(error.to_string()))?;
        let seconds = |what: &str, value: f64| within(what, value, TIMES).map(instant::from_seconds);
        let cost = |what: &str, value: f64| within(what, value, COSTS);
        if raw.sensors.is_empty() || raw.sensors.len() > MAX_SENSORS {
            return Err(wrong("number of sensors", format!("expected 1 to {MAX_SENSORS}, got {}", raw.sensors.len())));
        }
        if !(0.0..1.0).contains(&raw.levels.hysteresis) {
            return Err(wrong("levels.hysteresis", format!("expected 0 to 1, got {}", raw.levels.hysteresis)));
        }
        if let Labels::Horizon { horizon_hours } = raw.labels {
            within("labels.horizon_hours", horizon_hours, (TIMES.0 / 3_600.0, TIMES.1 / 3_600.0))?;
        }
        if let Labels::Column { failure_below: None, failure_above: None, .. } = raw.labels {
            let message = "expected failure_below or failure_above, got neither".to_owned();
            return Err(DefinitionError::Value { what: "labels".to_owned(), message });
        }
        let interval = within("interval_seconds", raw.interval_seconds, (TIMES.0, 86_400.0))?;
        let check = |sensor| Sensor::check(sensor, interval);
        let sensors = raw.sensors.into_iter().map(check).collect::<Result<Vec<_>, _>>()?;
        let interval = instant::from_seconds(interval);
        check_distinct(&sensors)?;
        Ok(Self {
            id: DefinitionId::of(text.as_bytes()),
            text: text.to_owned(),
            name: raw.name,
            label: raw.label,
            interval,
            gap: interval * 10,
            labels: raw.labels,
            costs: Costs {
                false_alarm: cost("costs.false_alarm", raw.costs.false_alarm)?,
                missed_failure: cost("costs.missed_failure", raw.costs.missed_failure)?,
            },
            levels: LevelRules {
                hysteresis: raw.levels.hysteresis,
                raise: seconds("levels.raise_seconds", raw.levels.raise_seconds)?,
                clear: seconds("levels.clear_seconds", raw.levels.clear_seconds)?,
            },
            signal: SignalRules {
                lost: seconds("signal.lost_seconds", raw.signal.lost_seconds)?,
                stuck: seconds("signal.stuck_seconds", raw.signal.stuck_seconds)?,
            },
            sensors,
        })
    }

    /// Dense index of the sensor with this stable id.
    pub fn index_of(&self, id: u32) -> Option<usize> {
        self.sensors.iter().position(|sensor| sensor.id == id)
    }

    /// Dense index of the sensor with this key or alias.
    pub fn index_of_key(&self, key: &str) -> Option<usize> {
        self.sensors.iter().position(|sensor| sensor.key == key || sensor.aliases.iter().any(|alias| alias == key))
    }
}

impl Sensor {
    fn check(raw: SensorText, interval_seconds: f64) -> Result<Self, DefinitionError> {
        let what = |field: &str| format!("sensor {:?}, {field}", raw.key);
        let [least, greatest] = raw.range;
        if !(least.is_finite() && greatest.is_finite() && least < greatest) {
            return Err(wrong(&what("range"), format!("expected [least, greatest], got [{least}, {greatest}]")));
        }
        if !(least..=greatest).contains(&raw.nominal) {
            return Err(wrong(
                &what("nominal"),
                format!("expected a value in [{least}, {greatest}], got {}", raw.nominal),
            ));
        }
        within(&what("resolution"), raw.resolution, RESOLUTIONS)?;
        let WindowsText { short_seconds, long_seconds } = raw.windows;
        let shortest = interval_seconds / 10.0;
        if !(shortest <= short_seconds && short_seconds < long_seconds && long_seconds <= TIMES.1) {
            let message = format!(
                "expected {shortest} (a tenth of the interval) ≤ short_seconds < long_seconds ≤ {}, got {short_seconds} and {long_seconds}",
                TIMES.1
            );
            return Err(wrong(&what("windows"), message));
        }
        if raw.id == 0 || raw.id > 0xffff {
            return Err(wrong(&what("id"), format!("expected 1 to 65535, got {}", raw.id)));
        }
        Ok(Self {
            id: raw.id,
            steps: libm::round(1.0 / raw.resolution).max(1.0),
            key: raw.key,
            label: raw.label,
            phrase: raw.phrase,
            aliases: raw.aliases,
            unit: raw.unit,
            component: raw.component,
            range: (least, greatest),
            nominal: raw.nominal,
            short_seconds,
            long_seconds,
        })
    }
}

fn check_distinct(sensors: &[Sensor]) -> Result<(), DefinitionError> {
    let mut keys: Vec<&str> = RESERVED_KEYS.to_vec();
    let mut ids = Vec::new();
    for sensor in sensors {
        for key in std::iter::once(&sensor.key).chain(&sensor.aliases) {
            if key.is_empty() || keys.contains(&key.as_str()) {
                return Err(wrong("sensor key", format!("expected a name used once and not reserved, got {key:?}")));
            }
            keys.push(key);
        }
        if ids.contains(&sensor.id) {
            return Err(wrong("sensor id", format!("expected each id once, got {} twice", sensor.id)));
        }
        ids.push(sensor.id);
    }
    Ok(())
}

/// A number within bounds, which are included.
fn within(what: &str, value: f64, (least, greatest): (f64, f64)) -> Result<f64, DefinitionError> {
    if (least..=greatest).contains(&value) {
        Ok(value)
    } else {
        Err(wrong(what, format!("expected {least} to {greatest}, got {value}")))
    }
}

fn wrong(what: &str, message: String) -> DefinitionError {
    DefinitionError::Value { what: what.to_owned(), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCOMOTIVE: &str = include_str!("../../data/locomotive.toml");

    #[test]
    fn the_locomotive_of_the_seed() {
        let definition = Definition::parse(LOCOMOTIVE).expect("the repository's definition is valid");
        let keys: Vec<_> = definition.sensors.iter().map(|sensor| sensor.key.as_str()).collect();
        assert_eq!(keys, ["flow", "pressure", "vibration", "temperature"]);
        assert_eq!(definition.index_of_key("débit"), Some(0));
        assert_eq!(definition.gap, 50_000);
        assert_eq!(definition.sensors[2].steps, 100.0);
    }

    #[test]
    fn errors_name_the_place() {
        let shape = Definition::parse(&LOCOMOTIVE.replace("interval_seconds", "interval")).expect_err("unknown key");
        assert!(shape.to_string().contains("interval"), "{shape}");
        let twice = Definition::parse(&LOCOMOTIVE.replace("id = 2", "id = 1")).expect_err("same id twice");
        assert!(twice.to_string().contains("got 1 twice"), "{twice}");
        let range = Definition::parse(&LOCOMOTIVE.replace("[0.0, 20.0]", "[20.0, 0.0]")).expect_err("empty range");
        assert!(range.to_string().contains("\"pressure\", range"), "{range}");
    }

    #[test]
    fn numbers_that_would_break_the_fold_are_refused() {
        for (from, to) in [
            ("interval_seconds = 5.0", "interval_seconds = 0.0004"),
            ("interval_seconds = 5.0", "interval_seconds = 1e300"),
            ("interval_seconds = 5.0", "interval_seconds = nan"),
            ("long_seconds = 86400.0", "long_seconds = 1e20"),
            ("short_seconds = 60.0", "short_seconds = 0.4"),
            ("resolution = 0.1", "resolution = 1e-10"),
            ("lost_seconds = 60.0", "lost_seconds = -1.0"),
            ("missed_failure = 3.0", "missed_failure = inf"),
            ("horizon_hours = 48.0", "horizon_hours = 1e18"),
        ] {
            assert!(LOCOMOTIVE.contains(from), "{from}");
            let error = Definition::parse(&LOCOMOTIVE.replacen(from, to, 1)).expect_err(to).to_string();
            let name = to.split(' ').next().unwrap_or_default();
            assert!(error.contains("expected") && error.contains("got"), "{error}");
            assert!(
                error.contains(name.trim_start_matches("long_").trim_start_matches("short_"))
                    || error.contains("windows"),
                "{error}"
            );
        }
    }
}
