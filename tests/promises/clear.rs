//! Explanation and the way back: why a locomotive is in danger, in words, and the smallest change of its sensors that ends it, proved by the
//! same model.

use serde_json::{Value, json};

use crate::home::Home;
use crate::readings::{STEP, failing, now, series, sound};

fn sum(parts: &Value) -> f64 {
    parts.as_array().expect("a list").iter().filter_map(|part| part["value"].as_f64()).sum()
}

#[test]
fn a_danger_is_explained_in_words_whose_numbers_add_up() {
    let home = Home::new();
    let server = home.serve();
    let client = server.client();
    let start = now() - 3_600_000;
    client.post("/readings", &Value::from(series(sound, "CC-1", start, 12))).expect(202);
    client.post("/readings", &Value::from(series(failing, "CC-1", start + 12 * STEP, 12))).expect(202);
    let twin = client.get("/twins/CC-1").expect(200);
    assert_eq!(twin["level"], "danger", "{twin:#}");
    let explanation = &twin["explanation"];
    assert_eq!(explanation["available"], true);
    let explained = twin["risk"].as_f64().expect("a risk") - explanation["base_rate"].as_f64().expect("a rate");
    assert!((sum(&twin["contributions"]) - explained).abs() < 1e-6, "{twin:#}");
    for (key, sensor) in twin["sensors"].as_object().expect("sensors") {
        let own = twin["contributions"].as_array().expect("a list").iter().filter(|part| part["sensor"] == *key);
        let own: f64 = own.filter_map(|part| part["value"].as_f64()).sum();
        let contribution = sensor["contribution"].as_f64().expect("a contribution");
        assert!((own - contribution).abs() < 1e-9, "{key}: {own} {contribution}");
        // What rounds to nothing has no sign.
        let sign = if contribution <= -0.005 { "−" } else { "" };
        let number = format!("{sign}{:.2}", contribution.abs());
        let (fr, en) = (sensor["words"]["fr"].as_str(), sensor["words"]["en"].as_str());
        assert!(en.is_some_and(|en| en.ends_with(&format!("accounts for {number}"))), "{sensor:#}");
        assert!(fr.is_some_and(|fr| fr.ends_with(&format!("compte pour {}", number.replace('.', ",")))), "{sensor:#}");
    }
    let vibration = twin["sensors"]["vibration"]["words"]["fr"].as_str().expect("words");
    assert!(vibration.starts_with("la vibration compte pour 0,"), "{vibration}");
    let told = client.get("/twins/CC-1?words=true").expect(200);
    let words =
        told["contributions"].as_array().expect("a list").iter().filter_map(|part| part["words"]["fr"].as_str());
    assert!(words.into_iter().any(|words| words.starts_with("la moyenne sur un jour")), "{twin:#}");

    let changes = client.get("/twins/CC-1/events?type=RiskChanged&limit=1000").expect(200);
    let changes = changes["items"].as_array().expect("a list");
    assert!(changes.len() >= 2, "{changes:#?}");
    for change in changes.iter().map(|change| &change["data"]) {
        let explained = change["risk"].as_f64().expect("a risk") - change["base_rate"].as_f64().expect("a rate");
        assert!((sum(&change["contributions"]) - explained).abs() < 1e-6, "{change:#}");
        assert!(change["words"]["fr"].as_str().is_some_and(|words| words.starts_with("Risque 0,")), "{change:#}");
    }
    // The past is explained by the model that was in force; a state whose windows have moved on since its score says that it is not.
    let first = client.get("/twins/CC-1?version=3").expect(200);
    assert_eq!(first["explanation"]["available"], true, "{first:#}");
    client.post("/twins/CC-1/maintenance", &json!({"kind": "corrective", "component": "bearing"})).expect(202);
    let serviced = client.get("/twins/CC-1").expect(200);
    assert!(serviced["explanation"]["available"] == false && serviced["contributions"] == json!([]), "{serviced:#}");
    let why = serviced["explanation"]["words"]["fr"].as_str().expect("words");
    assert!(why.contains("indisponible") && why.contains("maintenance"), "{why}");
}

#[test]
fn the_way_back_is_nominal_by_the_same_model() {
    let home = Home::new();
    let server = home.serve();
    let client = server.client();
    let start = now() - 3_600_000;
    client.post("/readings", &Value::from(series(failing, "CC-1", start, 12))).expect(202);
    client.post("/readings", &Value::from(series(sound, "CC-2", start, 12))).expect(202);
    let twin = client.get("/twins/CC-1").expect(200);
    let way = client.get("/twins/CC-1/clear").expect(200);
    assert_eq!((&way["now"]["level"], &way["now"]["risk"]), (&json!("danger"), &twin["risk"]));
    assert!(way["level"] == "nominal" && way["reason"].is_null(), "{way:#}");
    let changes = way["changes"].as_array().expect("a list");
    assert!((1..=2).contains(&changes.len()), "{way:#}");
    let mut values = json!({});
    for (key, sensor) in twin["sensors"].as_object().expect("sensors") {
        values[key] = sensor["value"].clone();
    }
    let mut size = 0.0;
    for change in changes {
        let sensor = change["sensor"].as_str().expect("a sensor");
        assert_eq!(change["from"], values[sensor], "{way:#}");
        let (from, to) = (change["from"].as_f64().expect("a number"), change["to"].as_f64().expect("a number"));
        let fr = change["words"]["fr"].as_str().expect("words");
        let sign = if to < from { '−' } else { '+' };
        assert!(fr.contains(sign) && fr.ends_with(change["unit"].as_str().expect("a unit")), "{fr}");
        size += change["distance"].as_f64().expect("a distance");
        values[sensor] = change["to"].clone();
    }
    assert!(way["distance"].as_f64().is_some_and(|whole| (whole - size).abs() < 1e-9), "{way:#}");
    // This twin knows no maintenance, so a steady machine is to the model what a reading without a history is.
    let proof = client.post("/predict", &values).expect(200);
    assert_eq!((&proof["risk"], &proof["level"]), (&way["risk"], &json!("nominal")), "{way:#}");

    let calm = client.get("/twins/CC-2/clear").expect(200);
    assert_eq!((&calm["level"], &calm["reason"], &calm["changes"]), (&json!("nominal"), &json!("nominal"), &json!([])));
    // Sound readings after the danger: nothing need be changed, time alone is missing.
    client.post("/readings", &Value::from(series(sound, "CC-1", start + 12 * STEP, 2))).expect(202);
    let settling = client.get("/twins/CC-1/clear").expect(200);
    assert_eq!((&settling["reason"], &settling["changes"]), (&json!("settling"), &json!([])), "{settling:#}");
    client.ask("PUT", "/twins/CC-3").expect(200);
    let unknown = client.get("/twins/CC-3/clear").expect(200);
    assert_eq!((&unknown["level"], &unknown["reason"]), (&json!("unknown"), &json!("unknown")), "{unknown:#}");
    client.get("/twins/CC-404/clear").problem(404, "not-found");
}
