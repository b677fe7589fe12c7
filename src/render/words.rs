//! What people read of a score, in French and English: which sensor and which feature weigh how much, and from where the count begins. The
//! numbers come from elsewhere. Both languages are always given: an answer can be kept and shared, and a stream has no header to ask by.

use serde::Serialize;
use twin::definition::{Definition, Label, Sensor};
use twin::features::{FeatureId, FeatureKind};
use twin::instant::{self, Millis};
use utoipa::ToSchema;

use super::{Contribution, by_sensor};

/// A sentence in both languages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Words {
    /// French.
    #[schema(example = "la vibration compte pour 0,31")]
    pub fr: String,
    /// English.
    #[schema(example = "the vibration accounts for 0.31")]
    pub en: String,
}

impl Words {
    /// Words out of both languages.
    pub fn new(fr: impl Into<String>, en: impl Into<String>) -> Self {
        Self { fr: fr.into(), en: en.into() }
    }
}

/// Weights below this are not worth a word in a summary.
const WORTH_A_WORD: f64 = 0.005;
/// Sensors named in a summary.
const NAMED: usize = 3;

/// A number with two decimals and a true minus sign.
pub fn share(value: f64) -> Words {
    decimals(value, 2)
}

/// A number with so many decimals; French has a comma.
pub fn decimals(value: f64, digits: usize) -> Words {
    let plain = format!("{value:.digits$}");
    let is_zero = plain.bytes().all(|byte| matches!(byte, b'-' | b'0' | b'.'));
    let en = plain.replace('-', if is_zero { "" } else { "−" });
    Words::new(en.replace('.', ","), en)
}

/// A moment for people: UTC, to the second.
pub fn moment(at: Millis) -> String {
    let text = instant::format(at);
    let to_second = text.split('.').next().unwrap_or(&text);
    format!("{} UTC", to_second.replace('T', " "))
}

/// A sensor as it stands in a sentence: by the definition's phrase, or its label in quotes, which needs no article.
pub fn sensor(sensor: &Sensor) -> Words {
    match &sensor.phrase {
        Some(Label { fr, en }) => Words::new(fr, en),
        None => Words::new(format!("« {} »", sensor.label.fr), format!("“{}”", sensor.label.en)),
    }
}

/// `la vibration` to `de la vibration`, `le débit` to `du débit`.
pub fn of_french(phrase: &str) -> String {
    match phrase.split_once(' ') {
        Some(("le", rest)) => format!("du {rest}"),
        Some(("les", rest)) => format!("des {rest}"),
        Some(_) | None => format!("de {phrase}"),
    }
}

/// Upper case for the first letter, as a sentence begins.
pub fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// A feature in words: `la moyenne sur un jour de la vibration`.
pub fn feature(kind: FeatureKind, of: Option<&Sensor>) -> Words {
    let (short, long) = of.map_or((0.0, 0.0), |sensor| (sensor.short_seconds, sensor.long_seconds));
    let (short, long) = (duration(short), duration(long));
    let whole = match kind {
        FeatureKind::Value => Words::new("la valeur", "the value"),
        FeatureKind::MeanShort => {
            Words::new(format!("la moyenne sur {}", short.fr), format!("the mean over {}", short.en))
        }
        FeatureKind::MeanLong => {
            Words::new(format!("la moyenne sur {}", long.fr), format!("the mean over {}", long.en))
        }
        FeatureKind::Deviation => {
            Words::new(format!("l’agitation sur {}", short.fr), format!("the unrest over {}", short.en))
        }
        FeatureKind::Slope => Words::new("la tendance", "the trend"),
        FeatureKind::Missing => Words::new("l’absence de mesure", "the missing reading"),
        FeatureKind::MaintenanceHours => {
            Words::new("le temps depuis la dernière maintenance", "the time since the last maintenance")
        }
        FeatureKind::MaintenanceUnknown => {
            Words::new("l’absence de maintenance connue", "the lack of a known maintenance")
        }
    };
    let Some(sensor) = of.map(self::sensor) else { return whole };
    Words::new(format!("{} {}", whole.fr, of_french(&sensor.fr)), format!("{} of {}", whole.en, sensor.en))
}

/// The feature of a stable number under a definition; one that it does not have is named by its number.
pub fn feature_of(id: FeatureId, definition: &Definition) -> Words {
    let unknown = || Words::new(format!("le trait {}", id.0), format!("feature {}", id.0));
    let sensor = id.sensor().map(|sensor| definition.index_of(sensor));
    match (FeatureKind::of(id), sensor) {
        (Some(kind), None) => feature(kind, None),
        (Some(kind), Some(Some(index))) => feature(kind, Some(&definition.sensors[index])),
        _ => unknown(),
    }
}

/// `la vibration compte pour 0,31`.
pub fn accounts_for(subject: &Words, value: f64) -> Words {
    let number = share(value);
    Words::new(
        format!("{} compte pour {}", subject.fr, number.fr),
        format!("{} accounts for {}", subject.en, number.en),
    )
}

/// The whole of an explanation in one sentence: the risk, what weighs most in it by sensor, and where the count begins.
pub fn summary(risk: f32, base_rate: f64, contributions: &[Contribution], definition: &Definition) -> Words {
    let sums = by_sensor(contributions);
    let of_sensors: f64 = sums.values().sum();
    let machine = contributions.iter().map(|part| part.value).sum::<f64>() - of_sensors;
    let service = Words::new("l’historique de maintenance", "the maintenance history");
    let named = sums.iter().filter_map(|(key, value)| {
        let index = definition.index_of_key(key)?;
        Some((sensor(&definition.sensors[index]), *value))
    });
    let mut named: Vec<_> =
        named.chain([(service, machine)]).filter(|(_, value)| value.abs() >= WORTH_A_WORD).collect();
    named.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    named.truncate(NAMED);
    let (risk, base) = (share(f64::from(risk)), share(base_rate));
    let mut parts = Words::new("", "");
    for (index, (subject, value)) in named.iter().enumerate() {
        let number = share(*value);
        let part = if index == 0 {
            accounts_for(subject, *value)
        } else {
            Words::new(format!(", {} pour {}", subject.fr, number.fr), format!(", {} for {}", subject.en, number.en))
        };
        parts.fr.push_str(&part.fr);
        parts.en.push_str(&part.en);
    }
    if named.is_empty() {
        parts = Words::new("rien ne s’écarte de l’ordinaire", "nothing is out of the ordinary");
    }
    Words::new(
        format!("Risque {} : {} ; la moyenne du modèle est {}.", risk.fr, parts.fr, base.fr),
        format!("Risk {}: {}; the model’s average is {}.", risk.en, parts.en, base.en),
    )
}

/// A duration in words: `un jour`, `2 heures`, `90 secondes`.
fn duration(seconds: f64) -> Words {
    const UNITS: [(f64, [&str; 3], [&str; 2]); 4] = [
        (86_400.0, ["un jour", "jour", "jours"], ["day", "days"]),
        (3_600.0, ["une heure", "heure", "heures"], ["hour", "hours"]),
        (60.0, ["une minute", "minute", "minutes"], ["minute", "minutes"]),
        (1.0, ["une seconde", "seconde", "secondes"], ["second", "seconds"]),
    ];
    let whole = UNITS.into_iter().find(|(unit, ..)| seconds >= *unit && seconds % unit == 0.0);
    let (unit, french, english) = whole.unwrap_or(UNITS[3]);
    let count = seconds / unit;
    if count == 1.0 {
        return Words::new(french[0], format!("one {}", english[0]));
    }
    // French has the plural from two on.
    let french = if count < 2.0 { french[1] } else { french[2] };
    let text = count.to_string();
    Words::new(format!("{} {french}", text.replace('.', ",")), format!("{text} {}", english[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition() -> Definition {
        Definition::parse(include_str!("../../data/locomotive.toml")).expect("valid")
    }

    fn part(feature: &str, sensor: Option<&str>, value: f64) -> Contribution {
        Contribution { feature: feature.to_owned(), sensor: sensor.map(str::to_owned), value, words: None }
    }

    #[test]
    fn a_sensor_accounts_for_its_share() {
        let definition = definition();
        let words = accounts_for(&sensor(&definition.sensors[2]), 0.314);
        assert_eq!(words, Words::new("la vibration compte pour 0,31", "the vibration accounts for 0.31"));
        let less = accounts_for(&sensor(&definition.sensors[0]), -0.04);
        assert_eq!(less, Words::new("le débit compte pour −0,04", "the flow accounts for −0.04"));
        assert_eq!(share(-0.001), Words::new("0,00", "0.00"), "a zero has no sign");
    }

    #[test]
    fn features_are_named_in_words() {
        let definition = definition();
        let of = |kind: u32, sensor: u32| feature_of(FeatureId(sensor * 16 + kind), &definition);
        assert_eq!(of(3, 3).fr, "la moyenne sur un jour de la vibration");
        assert_eq!(of(2, 1), Words::new("la moyenne sur une minute du débit", "the mean over one minute of the flow"));
        assert_eq!(of(7, 0).fr, "le temps depuis la dernière maintenance");
        assert_eq!(of(3, 99).fr, "le trait 1587");
    }

    #[test]
    fn a_sensor_without_a_phrase_is_named_by_its_label() {
        let mut plain = definition().sensors[1].clone();
        plain.phrase = None;
        assert_eq!(accounts_for(&sensor(&plain), 0.2).fr, "« Pression » compte pour 0,20");
        assert_eq!(feature(FeatureKind::Slope, Some(&plain)).fr, "la tendance de « Pression »");
    }

    #[test]
    fn durations_are_counted_in_their_largest_unit() {
        let fr = |seconds| duration(seconds).fr;
        assert_eq!(
            [fr(86_400.0), fr(172_800.0), fr(3_600.0), fr(90.0)],
            ["un jour", "2 jours", "une heure", "90 secondes"]
        );
        assert_eq!([fr(1.5), fr(0.5)], ["1,5 seconde", "0,5 seconde"]);
    }

    #[test]
    fn a_summary_names_what_weighs_most() {
        let parts = [
            part("vibration_value", Some("vibration"), 0.2),
            part("vibration_mean_long", Some("vibration"), 0.11),
            part("flow_value", Some("flow"), 0.001),
            part("maintenance_hours", None, -0.05),
        ];
        let words = summary(0.37, 0.11, &parts, &definition());
        assert_eq!(
            words.fr,
            "Risque 0,37 : la vibration compte pour 0,31, l’historique de maintenance pour −0,05 ; la moyenne du modèle est 0,11."
        );
        assert!(summary(0.1, 0.1, &[], &definition()).en.contains("nothing is out of the ordinary"));
    }
}
