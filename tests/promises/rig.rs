//! Another machine without a change of code: a hydraulic test rig with public measurements, its own definition and its own model.

use serde_json::Value;

use crate::home::{Home, REPOSITORY};

#[test]
fn a_definition_and_a_table_make_a_twin_of_another_machine() {
    let mut home = Home::without_model();
    let definition = format!("{REPOSITORY}/data/hydraulic/definition.toml");
    let table = format!("{REPOSITORY}/data/hydraulic/readings.csv.gz");
    let out = home.path().join("models");
    let out_text = out.display().to_string();
    let trained = home.run(&["bootstrap", "--definition", &definition, "--sensors", &table, "--out", &out_text]);
    assert!(trained.succeeded().contains("22050 readings of 1 machines"), "{}", trained.stdout);
    home.set("CIDP_DEFINITION__PATH", &definition);
    home.set("CIDP_MODEL__PATH", out.join("latest.onnx").display());
    // The simulated locomotives would be the wrong machine: that they stay away is part of the promise.
    home.set("CIDP_SIMULATOR__LOCOMOTIVES", 5);
    let server = home.serve();
    let client = server.client();

    let produced = home.run(&["produce", "--csv", &table, "--to", "http", "--url", server.base(), "--json"]);
    let counts: Value = serde_json::from_str(produced.succeeded()).expect("JSON");
    assert_eq!(counts, serde_json::json!({"accepted": 22_050, "duplicates": 0, "rejected": 0}));

    assert_eq!(client.get("/twins").expect(200)["count"], 1);
    let twin = client.get("/twins/RIG-1").expect(200);
    let units = [("flow", "L/min"), ("pressure", "bar"), ("vibration", "mm/s"), ("temperature", "°C")];
    for (sensor, unit) in units {
        assert_eq!(twin["sensors"][sensor]["unit"], unit, "{twin:#}");
        assert!(twin["sensors"][sensor]["value"].is_number(), "{twin:#}");
    }
    assert_eq!(twin["sensors"].as_object().map(serde_json::Map::len), Some(units.len()));
    assert!(twin["risk"].is_number() && twin["position"].is_null(), "{twin:#}");
    assert_eq!(twin["model"], client.get("/model").expect(200)["id"]);

    // The cooler fails in the first block of cycles and is sound in the last one; the twin has seen both.
    assert_eq!(twin["level"], "nominal", "{twin:#}");
    let changes = client.get("/twins/RIG-1/events?type=RiskChanged&limit=1000").expect(200);
    let levels: Vec<_> =
        changes["items"].as_array().expect("a list").iter().map(|event| event["data"]["to"].clone()).collect();
    assert!(levels.contains(&Value::from("danger")) && levels.contains(&Value::from("nominal")), "{levels:?}");
    let stream = client.get_with("/twins/RIG-1/events?type=TelemetryRecorded", &[("accept", "application/x-ndjson")]);
    let events =
        stream.text().lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")).collect::<Vec<_>>();
    let readings: usize = events.iter().map(|event| event["data"]["readings"].as_array().map_or(0, Vec::len)).sum();
    assert_eq!(readings, 22_050);
    server.stop("TERM");

    // The locomotive's model is none for the rig, and says so.
    home.set("CIDP_MODEL__PATH", crate::home::model().display());
    home.run(&["serve"]).failed(1, &["latest.onnx"]);
}
