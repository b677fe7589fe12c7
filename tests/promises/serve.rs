//! What the API promises to a producer, a reader and the depot: readings in, twins and their history out, and a restart that nobody notices.

use serde_json::{Value, json};

use crate::home::Home;
use crate::readings::{STEP, failing, ndjson, now, series, sound};

fn receipt(accepted: u64, duplicates: u64) -> Value {
    json!({"accepted": accepted, "duplicates": duplicates, "rejected": []})
}

/// The recorded times of all readings in a list of events.
fn recorded(events: &[Value]) -> Vec<&str> {
    let readings = events.iter().filter_map(|event| event["data"]["readings"].as_array()).flatten();
    readings.map(|reading| reading["recorded_at"].as_str().expect("a time")).collect()
}

#[test]
fn readings_come_in_by_every_way_and_make_one_history() {
    let home = Home::new();
    let server = home.serve();
    let client = server.client();
    let start = now() - 3_600_000;
    let all = series(sound, "CC-2201", start, 30);

    let array = client.post("/readings", &Value::from(all[..10].to_vec()));
    assert_eq!(array.expect(202), receipt(10, 0));
    let again = client.post("/readings", &Value::from(all[..10].to_vec()));
    assert_eq!(again.expect(202), receipt(0, 10), "the same again is known already");
    let lines = client.post_bytes("/readings", "application/x-ndjson", &ndjson(&all[10..20]));
    assert_eq!(lines.expect(202), receipt(10, 0));
    let mut addressed = all[20..].to_vec();
    for reading in &mut addressed {
        reading.as_object_mut().expect("an object").remove("locomotive_id");
    }
    assert_eq!(client.post("/twins/CC-2201/readings", &Value::from(addressed)).expect(202), receipt(10, 0));

    let answer = client.get("/twins/CC-2201");
    let twin = answer.expect(200);
    assert_eq!((twin["id"].as_str(), twin["level"].as_str()), (Some("CC-2201"), Some("nominal")), "{twin:#}");
    let last = &all[29];
    for sensor in ["flow", "pressure", "vibration", "temperature"] {
        assert_eq!(twin["sensors"][sensor]["value"], last[sensor], "{sensor}");
        assert_eq!(twin["sensors"][sensor]["quality"], "fresh", "{sensor}");
    }
    assert_eq!(twin["position"], json!({"latitude": 4.05, "longitude": 9.77, "speed": 64.5}));
    let version = twin["version"].as_u64().expect("a version");
    assert_eq!(answer.header("etag"), format!("\"{version}\""));

    let page = client.get("/twins/CC-2201/events?limit=1000").expect(200);
    let events = page["items"].as_array().expect("a list").clone();
    let versions: Vec<_> = events.iter().map(|event| event["version"].as_u64().expect("a version")).collect();
    assert_eq!(versions, (1..=version).collect::<Vec<_>>());
    assert_eq!(events[0]["type"], "LocomotiveCommissioned");
    let times = recorded(&events);
    assert_eq!(times.len(), 30, "each reading stands in the history once");
    assert!(times.is_sorted());

    let stream = client.get_with("/twins/CC-2201/events", &[("accept", "application/x-ndjson")]);
    assert_eq!((stream.status, stream.media_type()), (200, "application/x-ndjson"));
    let lines: Vec<Value> =
        stream.text().lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    assert_eq!(lines, events);
    let some = client.get("/twins/CC-2201/events?type=TelemetryRecorded&limit=1").expect(200);
    assert_eq!(
        (some["items"].as_array().map(Vec::len), some["items"][0]["type"].as_str()),
        (Some(1), Some("TelemetryRecorded"))
    );
    let next = some["next"].as_str().expect("there is more");
    let rest = client.get(&format!("/twins/CC-2201/events?type=TelemetryRecorded&after={next}")).expect(200);
    assert!(rest["items"].as_array().is_some_and(|items| {
        items.iter().all(|event| event["version"].as_u64() > some["items"][0]["version"].as_u64())
    }));
}

#[test]
fn a_twin_is_told_as_it_is_and_as_it_was() {
    let home = Home::new();
    let server = home.serve();
    let client = server.client();
    let start = now() - 3_600_000;
    client.post("/readings", &Value::from(series(sound, "BB-1", start, 5))).expect(202);
    let before = client.get("/twins/BB-1");
    let version = before.expect(200)["version"].as_u64().expect("a version");
    client.post("/readings", &Value::from(series(sound, "BB-1", start + 5 * STEP, 5))).expect(202);

    let unchanged = client.get_with("/twins/BB-1", &[("if-none-match", &format!("\"{}\"", version + 1))]);
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    let changed = client.get_with("/twins/BB-1", &[("if-none-match", before.header("etag"))]);
    assert_eq!(changed.expect(200)["version"], version + 1);

    let past = client.get(&format!("/twins/BB-1?version={version}"));
    assert_eq!(past.expect(200), before.json(), "a version of the past is the state that was live");
    assert_eq!(past.header("x-state-hash").len(), 64);
    let events = client.get("/twins/BB-1/events").expect(200);
    let of = |wanted: u64| {
        let mut events = events["items"].as_array().expect("a list").iter();
        let event = events.find(|event| event["version"] == wanted).expect("the event is there");
        event["appended_at"].as_str().expect("a time").to_owned()
    };
    let at = client.get(&format!("/twins/BB-1?at={}", of(version + 1)));
    assert_eq!(at.expect(200), client.get("/twins/BB-1").json());
    client.get("/twins/BB-1?at=2001-01-01T00:00:00Z").problem(404, "not-found");
    client.get("/twins/BB-1?at=soon").problem(422, "unprocessable");
    let fleet = client.get(&format!("/fleet?at={}", of(version + 1))).expect(200);
    assert_eq!((&fleet["count"], &fleet["worst"][0]["version"]), (&json!(1), &json!(version + 1)));
}

#[test]
fn lists_are_paged_sorted_and_filtered() {
    let home = Home::new();
    let server = home.serve();
    let client = server.client();
    let start = now() - 3_600_000;
    let mut all = Vec::new();
    for number in 0..25 {
        let make = if number == 7 { failing } else { sound };
        all.extend(series(make, &format!("CC-{number:02}"), start, 6));
    }
    client.post("/readings", &Value::from(all)).expect(202);

    let (mut cursor, mut seen) = (String::new(), Vec::new());
    loop {
        let page = client.get(&format!("/twins?limit=10&fields=level{cursor}")).expect(200);
        assert_eq!(page["count"], 25);
        for twin in page["items"].as_array().expect("a list") {
            assert_eq!(twin.as_object().map(serde_json::Map::len), Some(2), "id and level alone: {twin}");
            seen.push(twin["id"].as_str().expect("an id").to_owned());
        }
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, (0..25).map(|number| format!("CC-{number:02}")).collect::<Vec<_>>());
    let danger = client.get("/twins?level=danger").expect(200);
    assert_eq!((&danger["count"], &danger["items"][0]["id"]), (&json!(1), &json!("CC-07")));
    assert_eq!(client.get("/twins?sort=-risk&limit=1").expect(200)["items"][0]["id"], "CC-07");
    assert_eq!(client.get("/twins?q=cc-1").expect(200)["count"], 10);
    assert_eq!(client.get("/twins?bbox=9,4,10,5").expect(200)["count"], 25);
    assert_eq!(client.get("/twins?bbox=10,4,11,5").expect(200)["count"], 0);
    let fleet = client.get("/fleet").expect(200);
    assert_eq!(fleet["levels"], json!({"danger": 1, "watch": 0, "nominal": 24, "unknown": 0}));
    assert_eq!(fleet["worst"][0]["id"], "CC-07");
    assert_eq!(fleet["positions"].as_array().map(Vec::len), Some(25));
    client.get("/twins?limit=1001").problem(422, "unprocessable");
    client.get("/twins?colour=red&sort=colour").problem(422, "unprocessable");
}

#[test]
fn danger_raises_an_alert_that_somebody_acknowledges() {
    let home = Home::new();
    let server = home.serve();
    let client = server.client();
    let start = now() - 3_600_000;
    client.post("/readings", &Value::from(series(sound, "CC-1", start, 12))).expect(202);
    assert_eq!(client.get("/alerts").expect(200), json!({"items": [], "next": null, "count": 0}));
    client.post("/readings", &Value::from(series(failing, "CC-1", start + 12 * STEP, 12))).expect(202);

    let twin = client.get("/twins/CC-1").expect(200);
    assert_eq!(twin["level"], "danger", "{twin:#}");
    assert!(twin["risk"].as_f64().is_some_and(|risk| risk > 0.5));
    assert!(twin["reason"].is_string());
    let changes = client.get("/twins/CC-1/events?type=RiskChanged").expect(200);
    let last = changes["items"].as_array().and_then(|items| items.last()).expect("the change to danger").clone();
    let (told, model) = (&last["data"], client.get("/model").expect(200));
    assert_eq!(told["to"], "danger");
    let sum: f64 =
        told["contributions"].as_array().expect("a list").iter().filter_map(|part| part["value"].as_f64()).sum();
    let expected = told["risk"].as_f64().expect("a risk") - model["base_rate"].as_f64().expect("a rate");
    assert!((sum - expected).abs() < 1e-6, "contributions sum to {sum}, risk minus base rate is {expected}");

    let alerts = client.get("/alerts?state=raised").expect(200);
    let (alert, etag) = (&alerts["items"][0]["id"], &alerts["items"][0]["etag"]);
    let path = format!("/alerts/{}/acknowledge", alert.as_str().expect("an id"));
    let etag = etag.as_str().expect("an ETag");
    client.post_with(&path, &[("if-match", "\"another\"")], &json!({})).problem(412, "precondition-failed");
    let taken = client.post_with(&path, &[("if-match", etag)], &json!({"comment": "on my way"}));
    assert_eq!(taken.expect(200)["state"], "acknowledged");
    assert_ne!(taken.header("etag"), etag);
    client.post_with(&path, &[("if-match", etag)], &json!({})).problem(412, "precondition-failed");
    assert_eq!(client.get("/twins/CC-1").expect(200)["alert"]["state"], "acknowledged");
    client.post("/alerts/nobody-1/acknowledge", &json!({})).problem(404, "not-found");
    let history = client.get("/twins/CC-1/events?type=AlertAcknowledged").expect(200);
    assert_eq!(history["items"][0]["data"]["comment"], "on my way", "what a person wrote can be read again");
    client.post(&path, &json!({"comment": "too late"})).expect(200);
    assert_eq!(client.get("/twins/CC-1/events?type=AlertAcknowledged").expect(200), history, "the first word stays");
}

#[test]
fn maintenance_and_failures_are_recorded_once_for_a_key() {
    let home = Home::new();
    let server = home.serve();
    let client = server.client();
    client.post("/readings", &Value::from(series(sound, "CC-1", now() - 3_600_000, 3))).expect(202);
    let version = || client.get("/twins/CC-1").expect(200)["version"].as_u64().expect("a version");
    let before = version();
    let work = json!({"kind": "corrective", "component": "bearing", "note": "replaced by night"});
    let keyed = [("idempotency-key", "order-1")];
    let first = client.post_with("/twins/CC-1/maintenance", &keyed, &work).expect(202);
    assert_eq!(first, json!({"locomotive_id": "CC-1", "version": before + 1}));
    let other = json!({"kind": "corrective", "component": "bearing", "note": "another word"});
    client.post_with("/twins/CC-1/maintenance", &keyed, &other).expect(202);
    assert_eq!(version(), before + 1, "the same key again changes nothing");
    assert_eq!(
        client.get("/twins/CC-1").expect(200)["last_maintenance"]["note"],
        "replaced by night",
        "another body under the same key does not change what was written"
    );
    client.post_with("/twins/CC-1/maintenance", &[("idempotency-key", "order-2")], &work).expect(202);
    client.post_with("/twins/CC-1/failures", &keyed, &json!({"component": "pump"})).expect(202);
    assert_eq!(version(), before + 3, "another key, and another route, are another request");

    let kinds = client.get("/twins/CC-1/events?type=MaintenanceRecorded,FailureReported").expect(200);
    let kinds: Vec<_> = kinds["items"].as_array().expect("a list").iter().map(|event| event["type"].clone()).collect();
    assert_eq!(kinds, ["MaintenanceRecorded", "MaintenanceRecorded", "FailureReported"]);
    assert_eq!(client.get("/twins/CC-1").expect(200)["last_maintenance"]["component"], "bearing");
    let notes = client.get("/twins/CC-1/events?type=MaintenanceRecorded,FailureReported").expect(200);
    let notes: Vec<_> = notes["items"].as_array().expect("a list").iter().map(|event| &event["data"]["note"]).collect();
    assert_eq!(notes, ["replaced by night", "replaced by night", ""], "what was written can be read again");
    let wrong = client.post("/twins/CC-1/maintenance", &json!({"kind": "magic"})).problem(422, "unprocessable");
    assert!(wrong["errors"][0]["message"].as_str().is_some_and(|message| message.contains("preventive")), "{wrong}");
    client.post("/twins/CC-9/maintenance", &work).problem(404, "not-found");

    server.stop("TERM");
    let server = home.serve();
    let client = server.client();
    client.post_with("/twins/CC-1/maintenance", &keyed, &work).expect(202);
    assert_eq!(client.get("/twins/CC-1").expect(200)["version"], before + 3, "a key is known after a restart as well");
}

#[test]
fn a_locomotive_is_commissioned_and_retired() {
    let mut home = Home::new();
    home.set("CIDP_TWIN__COMMISSION", "registered");
    let server = home.serve();
    let client = server.client();
    let at = now() - 60_000;
    let refused = client.post("/readings", &json!([sound("CC-1", at)])).expect(202);
    assert_eq!(refused["rejected"][0]["reason"], "not_commissioned");
    assert_eq!(client.ask("PUT", "/twins/CC-1").expect(200)["version"], 1);
    assert_eq!(client.post("/readings", &json!([sound("CC-1", at)])).expect(202), receipt(1, 0));
    assert_eq!(client.ask("DELETE", "/twins/CC-1").expect(200)["locomotive_id"], "CC-1");
    let retired = client.post("/readings", &json!([sound("CC-1", at + STEP)])).expect(202);
    assert_eq!(retired["rejected"][0]["reason"], "retired");
    assert!(client.get("/twins/CC-1").expect(200)["retired_at"].is_string(), "its history stays");
    assert_eq!(home.dead_letters().len(), 2, "what was refused is kept");
}

#[test]
fn a_restart_goes_on_where_the_server_stopped() {
    let home = Home::new();
    let start = now() - 3_600_000;
    let ids = ["CC-1", "CC-2", "CC-3", "CC-4", "CC-5", "CC-6"];
    let server = home.serve();
    let client = server.client();
    for (index, id) in ids.iter().enumerate() {
        let make = if index % 2 == 0 { sound } else { failing };
        client.post("/readings", &Value::from(series(make, id, start, 20))).expect(202);
    }
    let before: Vec<Value> = ids.iter().map(|id| client.get(&format!("/twins/{id}")).expect(200)).collect();
    server.stop("INT");

    let server = home.serve();
    let client = server.client();
    for (id, before) in ids.iter().zip(&before) {
        assert_eq!(client.get(&format!("/twins/{id}")).expect(200), *before, "the same state");
        let version = before["version"].as_u64().expect("a version");
        client.post("/readings", &Value::from(series(sound, id, start + 20 * STEP, 1))).expect(202);
        let after = client.get(&format!("/twins/{id}")).expect(200);
        assert!(after["version"].as_u64() > Some(version), "versions go on");
        assert!(after["sequence"].as_u64() > before["sequence"].as_u64(), "and positions");
        assert_eq!(client.get(&format!("/twins/{id}?version={version}")).expect(200), *before, "the past stays");
        let known = client.post("/readings", &Value::from(series(sound, id, start + 20 * STEP, 1)));
        assert_eq!(known.expect(202), receipt(0, 1), "identities are known after a restart");
    }
    server.stop("TERM");
}
