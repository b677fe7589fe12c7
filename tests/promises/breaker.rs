//! Scores that cannot be believed are not given out: an alert or an operator opens the breaker, everybody is told why, readings are recorded
//! all the while, a restart forgets nothing, and the end of the cause closes it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::answers::Client;
use crate::home::{Home, until};
use crate::readings::{STEP, now, series, sound};
use crate::schema::Document;
use crate::stream::{Stream, is, twins};

const SOON: Duration = Duration::from_secs(20);
/// From the end of the last cause to the closed breaker.
const CLOSED_WITHIN: Duration = Duration::from_secs(10);

fn webhook(status: &str, fingerprint: &str) -> Value {
    json!({
        "version": "4", "groupKey": "{}:{alertname=\"ModelDiverges\"}", "truncatedAlerts": 0, "status": status, "receiver": "cidp",
        "groupLabels": {"alertname": "ModelDiverges"}, "commonLabels": {}, "commonAnnotations": {},
        "externalURL": "http://alertmanager:9093",
        "alerts": [{
            "status": status, "labels": {"alertname": "ModelDiverges", "severity": "critical"}, "annotations": {},
            "startsAt": "2026-02-01T08:00:00Z", "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "",
            "fingerprint": fingerprint
        }]
    })
}

fn predict(client: &Client) -> crate::answers::Answer {
    client.post("/predict", &json!({"flow": 120.0, "pressure": 7.0, "vibration": 2.0, "temperature": 60.0}))
}

fn closes(client: &Client) {
    until(CLOSED_WITHIN, "the breaker is closed", || {
        (client.get("/breaker").expect(200)["state"] == "closed").then_some(())
    });
    predict(client).expect(200);
}

#[test]
fn an_alert_holds_scores_back_until_it_is_resolved() {
    let home = Home::new();
    let server = home.serve();
    let client = server.client();
    let document = Document(client.get("/openapi.json").expect(200));
    let start = now() - 3_600_000;
    client.post("/readings", &Value::from(series(sound, "CC-1", start, 12))).expect(202);
    let before = client.get("/twins/CC-1").expect(200);
    assert_eq!(before["level"], "nominal");
    assert_eq!(client.get("/breaker").expect(200)["state"], "closed");
    let mut stream = Stream::open(&server, "/ws/fleet");
    stream.until(SOON, "the snapshot", |frame| is(frame, "snapshot"));

    let opened = client.post("/alertmanager", &webhook("firing", "f00d"));
    document.check("POST", "/alertmanager", &opened);
    assert_eq!(opened.expect(200)["state"], "open");
    let refused = predict(&client);
    document.check("POST", "/predict", &refused);
    assert!(refused.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0), "{}", refused.text());
    let problem = refused.problem(503, "scoring-suspended");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("ModelDiverges")), "{problem}");

    let frames = stream.until(SOON, "the turn and the twin", |frame| {
        twins(std::slice::from_ref(frame)).iter().any(|twin| twin["level"] == "unknown")
    });
    let turn = frames.iter().find(|frame| is(frame, "scoring")).expect("the turn comes first");
    document.check_component("ScoringFrame", turn);
    assert_eq!(turn["state"], "open");
    assert!(turn["seq"].is_u64() && turn["reason"].as_str().is_some_and(|reason| reason.contains("ModelDiverges")));

    let later = client.post("/readings", &Value::from(series(sound, "CC-1", start + 12 * STEP, 3))).expect(202);
    assert_eq!(later["accepted"], 3, "readings are recorded all the while");
    let answer = client.get("/twins/CC-1");
    document.check("GET", "/twins/{id}", &answer);
    let twin = answer.expect(200);
    assert_eq!((&twin["level"], &twin["risk"]), (&json!("unknown"), &Value::Null));
    assert!(twin["reason"].as_str().is_some_and(|reason| reason.contains("ModelDiverges")), "{twin:#}");
    let doubt = &twin["doubts"][0];
    assert!(doubt["kind"] == "suspended" && doubt["words"]["fr"].as_str().is_some_and(|fr| fr.contains("suspendue")));
    assert!(twin["explanation"]["available"] == false && twin["contributions"] == json!([]), "{twin:#}");
    assert!(twin["sensors"]["vibration"]["value"].is_number(), "what the sensors say is no score");
    assert_eq!(client.get("/twins?level=unknown").expect(200)["count"], 1);
    assert_eq!(client.get("/twins?level=nominal").expect(200)["count"], 0);
    assert_eq!(client.get("/fleet").expect(200)["levels"]["unknown"], 1);
    let past = client.get(&format!("/twins/CC-1?version={}", before["version"])).expect(200);
    assert_eq!((&past["level"], &past["risk"]), (&before["level"], &before["risk"]), "the past is what it was");
    let health = client.get("/health").expect(200);
    assert_eq!((&health["status"], &health["breaker"]["state"]), (&json!("ok"), &json!("open")));
    client.get("/health/ready").expect(200);
    let metrics = client.get("/metrics").text();
    assert!(metrics.contains("cidp_breaker_open{reason=\"alert\"} 1"), "{metrics}");

    // Another alert holds it as well: both must end.
    client.post("/alertmanager", &webhook("firing", "beef")).expect(200);
    assert_eq!(client.post("/alertmanager", &webhook("resolved", "f00d")).expect(200)["state"], "open");
    assert_eq!(client.post("/alertmanager", &webhook("resolved", "beef")).expect(200)["state"], "half_open");
    closes(&client);
    let frames = stream.until(SOON, "closed, and the twin", |frame| {
        twins(std::slice::from_ref(frame)).iter().any(|twin| twin["level"] == "nominal")
    });
    let states: Vec<_> = frames.iter().filter(|frame| is(frame, "scoring")).map(|frame| &frame["state"]).collect();
    assert_eq!(states, ["open", "open", "half_open", "closed"], "every turn is a frame");
    assert!(client.get("/metrics").text().contains("cidp_breaker_open{reason=\"alert\"} 0"));
    server.stop("TERM");

    // Opened by its start, the model in force, two alerts, their ends and the closing.
    let stands: Value = serde_json::from_str(home.run(&["log", "repair", "--json"]).succeeded()).expect("JSON");
    let fleet = stands["shards"].as_array().and_then(|shards| shards.iter().find(|shard| shard["shard"] == "fleet"));
    assert_eq!(fleet.expect("the log fleet is verified too")["records"], 7);
}

#[test]
fn a_restart_keeps_what_was_ordered() {
    let home = Home::new();
    let server = home.serve();
    let client = server.client();
    client.post("/alertmanager", &webhook("firing", "f00d")).expect(200);
    let opened = client.post("/breaker/open", &json!({"reason": "le capteur de vibration de la série est à revoir"}));
    assert_eq!(opened.expect(200)["causes"].as_array().map(Vec::len), Some(2));
    server.kill();

    let server = home.serve();
    let client = server.client();
    let standing = client.get("/breaker").expect(200);
    let kinds: Vec<_> =
        standing["causes"].as_array().expect("a list").iter().map(|cause| cause["kind"].clone()).collect();
    assert_eq!((&standing["state"], kinds), (&json!("open"), vec![json!("alert"), json!("operator")]));
    assert_eq!(predict(&client).status, 503);
    let mut stream = Stream::open(&server, "/ws/fleet");
    let frames = stream.until(SOON, "who comes late is told", |frame| is(frame, "scoring"));
    assert_eq!(frames.last().expect("just found")["state"], "open");
    assert_eq!(client.ask("POST", "/breaker/close").expect(200)["state"], "open", "the alert still fires");
    client.post("/alertmanager", &webhook("resolved", "f00d")).expect(200);
    closes(&client);
    server.stop("TERM");
}

#[test]
fn a_webhook_that_does_not_fit_is_refused_and_turns_nothing() {
    let home = Home::new();
    let server = home.serve();
    let client = server.client();
    let mut wrong = webhook("firing", "");
    wrong["version"] = json!("3");
    wrong["alerts"][0]["status"] = json!("pending");
    let problem = client.post("/alertmanager", &wrong).problem(422, "unprocessable");
    let paths: Vec<_> =
        problem["errors"].as_array().expect("errors").iter().map(|error| error["path"].clone()).collect();
    assert_eq!(paths, ["version", "alerts[0].status", "alerts[0].fingerprint"]);
    client.post("/alertmanager", &json!({"version": "4"})).problem(422, "unprocessable");
    client.post("/alertmanager", &json!([])).problem(422, "unprocessable");
    client.post("/breaker/open", &json!({"why": "?"})).problem(422, "unprocessable");
    assert_eq!(server.client_with(None).post("/alertmanager", &webhook("firing", "f00d")).status, 401);
    assert_eq!(client.get("/breaker").expect(200)["state"], "closed");
    assert_eq!(client.get("/model").expect(200)["drift"]["state"], "measuring");
    server.stop("TERM");
}
