//! Honest doubt: where the inputs cannot be believed the answer is that nothing can be said, and why, since when, in both languages. Doubt
//! neither raises nor clears a danger.

use std::time::Duration;

use serde_json::{Value, json};

use crate::home::{Home, until};
use crate::readings::{STEP, failing, now, series, sound};

/// A reading with one value set to another.
fn with(mut reading: Value, sensor: &str, value: impl Into<Value>) -> Value {
    reading[sensor] = value.into();
    reading
}

/// Checks the one doubt of an answer: its kind, its sensor and what it says.
#[track_caller]
fn doubted<'a>(answer: &'a Value, kind: &str, sensor: &Value, words: [&str; 2]) -> &'a Value {
    assert_eq!(answer["level"], "unknown", "{answer:#}");
    assert!(answer["risk"].is_null() && answer["spread"].is_null(), "no number: {answer:#}");
    assert_eq!(answer["contributions"], json!([]), "{answer:#}");
    let doubt = &answer["doubts"][0];
    assert_eq!((&doubt["kind"], &doubt["sensor"]), (&json!(kind), sensor), "{answer:#}");
    for (language, word) in ["fr", "en"].into_iter().zip(words) {
        assert!(doubt["words"][language].as_str().is_some_and(|text| text.contains(word)), "{word}: {doubt:#}");
    }
    doubt
}

#[test]
fn a_prediction_far_outside_the_training_is_unknown_and_the_demonstration_is_not() {
    let home = Home::new();
    let server = home.serve();
    let client = server.client();
    let predict = |flow: f64, pressure: f64, vibration: f64, temperature: f64| {
        let body = json!({"flow": flow, "pressure": pressure, "vibration": vibration, "temperature": temperature});
        client.post("/predict", &body).expect(200)
    };
    let absurd = predict(0.0, 7.0, 40.0, 65.0);
    doubted(&absurd, "outside_training", &json!("vibration"), ["loin de tout ce que le modèle", "far from all"]);
    assert_eq!(absurd["verdict"], "INDÉTERMINÉ");
    for flow in [60.0, 120.0, 180.0] {
        for pressure in [4.0, 7.0, 10.0] {
            for vibration in [7.0, 8.5, 10.0] {
                for temperature in [85.0, 95.0, 105.0] {
                    let answer = predict(flow, pressure, vibration, temperature);
                    let asked = (flow, pressure, vibration, temperature);
                    assert!(answer["level"] == "danger" && answer["doubts"] == json!([]), "{asked:?}: {answer:#}");
                }
            }
        }
    }
}

#[test]
fn a_twin_far_outside_the_training_is_unknown_and_its_danger_stands() {
    let home = Home::new();
    let server = home.serve();
    let client = server.client();
    let start = now() - 3_600_000;
    let send = |readings: Vec<Value>| client.post("/readings", &Value::from(readings)).expect(202);
    let twin = || client.get("/twins/CC-1").expect(200);
    send(series(failing, "CC-1", start, 12));
    let alert = twin()["alert"]["id"].clone();
    assert!(twin()["level"] == "danger" && alert.is_string(), "{:#}", twin());
    let strange = start + 12 * STEP;
    send(vec![with(with(failing("CC-1", strange), "vibration", 40), "flow", 0)]);
    let unknown = twin();
    let doubt = doubted(&unknown, "outside_training", &json!("vibration"), ["vibration", "vibration"]);
    let since = unknown["last_reading_at"].as_str().expect("a reading");
    assert_eq!(doubt["since"], since);
    let day = since.split('T').next().expect("a day");
    assert!(doubt["words"]["fr"].as_str().is_some_and(|text| text.contains(&format!("depuis le {day}"))), "{doubt:#}");
    assert_eq!((&unknown["reason"], &unknown["assessed"]), (&json!("vibration"), &json!("danger")));
    assert_eq!(unknown["alert"]["id"], alert, "what is unknown clears nothing");
    assert_eq!(unknown["explanation"]["available"], false);
    let change = client.get("/twins/CC-1/events?type=RiskChanged&limit=1000").expect(200);
    let last = change["items"].as_array().and_then(|items| items.last()).expect("the doubt is an event").clone();
    assert_eq!((&last["data"]["to"], &last["data"]["doubt"]["kind"]), (&json!("unknown"), &json!("outside_training")));

    send(vec![sound("CC-1", start + 13 * STEP)]);
    let back = twin();
    assert!(back["level"] == "danger" && back["doubts"] == json!([]) && back["alert"]["id"] == alert, "{back:#}");
}

#[test]
fn a_silent_locomotive_is_unknown_by_arrival_and_a_replayed_table_is_not() {
    let mut home = Home::new();
    let definition = std::fs::read_to_string(format!("{}/data/locomotive.toml", crate::home::REPOSITORY));
    let quick = definition.expect("the repository's own").replace("lost_seconds = 60.0", "lost_seconds = 3.0");
    home.set("CIDP_DEFINITION__PATH", home.file("definition.toml", quick));
    let server = home.serve();
    let client = server.client();
    // Readings of yesterday, as a table brings them: old by the machine's clock, fresh by their arrival.
    let yesterday = now() - 86_400_000;
    let send = |readings: Vec<Value>| client.post("/readings", &Value::from(readings)).expect(202);
    send(series(failing, "CC-1", yesterday, 12));
    let twin = || client.get("/twins/CC-1").expect(200);
    assert_eq!(twin()["level"], "danger", "{:#}", twin());
    let unknown = until(Duration::from_secs(20), "silence", || Some(twin()).filter(|twin| twin["level"] == "unknown"));
    let doubt = doubted(&unknown, "signal_lost", &Value::Null, ["aucune mesure", "no reading"]);
    assert!(doubt["since"].as_str() < unknown["signal_lost_at"].as_str(), "since the last arrival: {unknown:#}");
    let qualities = unknown["sensors"].as_object().expect("sensors");
    assert!(qualities.values().all(|sensor| sensor["quality"] == "missing"), "nothing is fresh: {unknown:#}");
    assert!(unknown["alert"].is_object() && unknown["assessed"] == "danger", "{unknown:#}");

    // It is heard again: the danger stands until the readings have proved otherwise for the dwell.
    let later = yesterday + 3_600_000;
    send(vec![sound("CC-1", later)]);
    assert!(twin()["level"] == "danger" && twin()["alert"].is_object(), "{:#}", twin());
    send(series(sound, "CC-1", later + STEP, 12));
    assert_ne!(twin()["level"], "danger", "{:#}", twin());
}

#[test]
fn every_sensor_says_how_far_it_can_be_believed() {
    let home = Home::new();
    let server = home.serve();
    let client = server.client();
    let start = now() - 3_600_000;
    let send = |readings: Vec<Value>| client.post("/readings", &Value::from(readings)).expect(202);
    let quality = |sensor: &str| client.get("/twins/CC-1").expect(200)["sensors"][sensor]["quality"].clone();
    let without = |at: i64, sensor: &str| with(sound("CC-1", at), sensor, Value::Null);
    send((0..200).map(|step| with(without(start + step * STEP, "pressure"), "vibration", 2.5)).collect());
    let twin = client.get("/twins/CC-1").expect(200);
    let doubt = doubted(&twin, "stuck", &json!("vibration"), ["répète la même valeur", "repeated one value"]);
    // Since its first reading, which had the same value already.
    let events = client.get("/twins/CC-1/events?type=TelemetryRecorded&limit=1").expect(200);
    assert_eq!(doubt["since"], events["items"][0]["data"]["readings"][0]["recorded_at"]);
    let qualities = ["flow", "pressure", "vibration"].map(quality);
    assert_eq!(qualities, ["fresh", "missing", "stuck"].map(Value::from));
    send(vec![without(start + 200 * STEP, "flow")]);
    assert_eq!(["flow", "pressure"].map(quality), ["late", "fresh"].map(Value::from));
    send((201..220).map(|step| without(start + step * STEP, "flow")).collect());
    let silent = client.get("/twins/CC-1").expect(200);
    doubted(&silent, "missing", &json!("flow"), ["le débit ne donne plus de mesure", "the flow has given no value"]);
}
