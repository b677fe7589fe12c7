//! The server's own description: every route of the contract stands in it, every answer and frame fits it, and the page that shows it needs
//! nothing from elsewhere.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::answers::Answer;
use crate::home::Home;
use crate::readings::{STEP, failing, now, series, sound};
use crate::schema::Document;
use crate::stream::{Stream, is};

/// The routes of the contract that this version has.
const ROUTES: &[(&str, &str)] = &[
    ("GET", "/keys"),
    ("POST", "/keys"),
    ("DELETE", "/keys/{id}"),
    ("GET", "/health"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("POST", "/predict"),
    ("GET", "/twins"),
    ("GET", "/twins/{id}"),
    ("PUT", "/twins/{id}"),
    ("DELETE", "/twins/{id}"),
    ("GET", "/twins/{id}/clear"),
    ("GET", "/twins/{id}/events"),
    ("GET", "/twins/{id}/diff"),
    ("GET", "/twins/{id}/series"),
    ("POST", "/twins/{id}/readings"),
    ("POST", "/readings"),
    ("POST", "/twins/{id}/maintenance"),
    ("POST", "/twins/{id}/failures"),
    ("GET", "/alerts"),
    ("POST", "/alerts/{id}/acknowledge"),
    ("GET", "/fleet"),
    ("GET", "/model"),
    ("POST", "/alertmanager"),
    ("GET", "/breaker"),
    ("POST", "/breaker/open"),
    ("POST", "/breaker/close"),
    ("GET", "/log/stats"),
    ("POST", "/log/backups"),
    ("GET", "/audit/checkpoint"),
    ("GET", "/audit/proof"),
    ("GET", "/audit/consistency"),
    ("POST", "/audit/verify"),
    ("POST", "/audit/rescore"),
    ("DELETE", "/twins/{id}/events/{version}/note"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("GET", "/docs/docs.js"),
    ("POST", "/ws/tickets"),
    ("GET", "/ws/fleet"),
    ("GET", "/ws/twins/{id}"),
];

#[test]
fn every_route_of_the_contract_is_in_the_document_and_there() {
    let home = Home::new();
    let server = home.serve();
    let client = server.client();
    let document = Document(client.get("/openapi.json").expect(200));
    assert!(document.0["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
    let paths = document.0["paths"].as_object().expect("paths");
    let operations: BTreeSet<_> = paths
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().expect("methods").keys().map(move |method| (method.to_uppercase(), path.clone()))
        })
        .collect();
    let expected: BTreeSet<_> =
        ROUTES.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(operations, expected);
    let schemes = &document.0["components"]["securitySchemes"];
    assert_eq!(schemes["key"]["name"], "X-API-KEY");
    let open = ["/health", "/health/live", "/health/ready", "/metrics", "/openapi.json", "/docs", "/docs/docs.js"];
    for &(method, path) in ROUTES {
        let operation = document.operation(method, path).expect("just compared");
        assert!(
            operation["summary"].is_string() || operation["description"].is_string(),
            "{method} {path} says nothing"
        );
        assert_eq!(operation.get("security").is_none(), open.contains(&path), "{method} {path}: who may call it");
        let answer = server.client_with(None).ask(method, &path.replace("{id}", "CC-1").replace("{version}", "1"));
        assert_eq!(answer.status, if open.contains(&path) { 200 } else { 401 }, "{method} {path}");
    }
}

#[test]
fn every_answer_fits_its_description() {
    let home = Home::new();
    let server = home.serve();
    let client = server.client();
    let document = Document(client.get("/openapi.json").expect(200));
    let start = now() - 3_600_000;
    let check = |method: &str, path: &str, status: u16, answer: Answer| {
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        document.check(method, path, &answer);
        answer
    };
    let mut readings = series(sound, "CC-1", start, 12);
    readings.extend(series(failing, "CC-1", start + 12 * STEP, 12));
    readings.push(json!({"locomotive_id": "CC-1"}));
    check("POST", "/readings", 202, client.post("/readings", &Value::from(readings)));
    check("POST", "/twins/{id}/readings", 202, client.post("/twins/CC-2/readings", &sound("CC-2", start)));
    check("PUT", "/twins/{id}", 200, client.ask("PUT", "/twins/CC-3"));
    let work = json!({"kind": "preventive", "component": "pump", "note": "oil"});
    check("POST", "/twins/{id}/maintenance", 202, client.post("/twins/CC-2/maintenance", &work));
    check("POST", "/twins/{id}/failures", 202, client.post("/twins/CC-2/failures", &json!({})));
    for path in [
        "/health",
        "/health/live",
        "/health/ready",
        "/alerts",
        "/fleet",
        "/model",
        "/metrics",
        "/openapi.json",
        "/docs",
        "/docs/docs.js",
    ] {
        check("GET", path, 200, client.get(path));
    }
    for query in [
        "",
        "?limit=1",
        "?fields=id,version,level,risk,probability,spread,since,reason,assessed,doubts,explanation,commissioned_at,sensors,contributions,position,last_reading_at,last_maintenance,alert,model,shard,sequence,stale",
    ] {
        check("GET", "/twins", 200, client.get(&format!("/twins{query}")));
    }
    for id in ["CC-1", "CC-2", "CC-3", "CC-1?version=1", "CC-1?version=2"] {
        check("GET", "/twins/{id}", 200, client.get(&format!("/twins/{id}")));
    }
    let tag = client.get("/twins/CC-1").header("etag").to_owned();
    check("GET", "/twins/{id}", 304, client.get_with("/twins/CC-1", &[("if-none-match", &tag)]));
    check("GET", "/twins/{id}/series", 200, client.get("/twins/CC-1/series"));
    check("GET", "/twins/{id}/events", 200, client.get("/twins/CC-1/events"));
    check("GET", "/twins/{id}/diff", 200, client.get("/twins/CC-1/diff?from_version=2"));
    check(
        "GET",
        "/twins/{id}/events",
        200,
        client.get_with("/twins/CC-1/events", &[("accept", "application/x-ndjson")]),
    );
    let figures = json!({"flow": 120, "pressure": 7, "vibration": 9, "temperature": 90});
    check("POST", "/predict", 200, client.post("/predict", &figures));
    let absurd = json!({"flow": 0, "pressure": 7, "vibration": 40, "temperature": 90});
    check("POST", "/predict", 200, client.post("/predict", &absurd));
    for id in ["CC-1", "CC-2", "CC-3"] {
        check("GET", "/twins/{id}/clear", 200, client.get(&format!("/twins/{id}/clear")));
    }
    let alerts = check("GET", "/alerts", 200, client.get("/alerts?limit=1")).json();
    let alert = alerts["items"][0]["id"].as_str().expect("an alert is open").to_owned();
    let path = format!("/alerts/{alert}/acknowledge");
    check("POST", "/alerts/{id}/acknowledge", 200, client.post(&path, &json!({"comment": "seen"})));
    check("GET", "/twins/{id}", 200, client.get("/twins/CC-1"));
    check("POST", "/ws/tickets", 200, client.ask("POST", "/ws/tickets"));
    let wanted = json!({"name": "depot", "scopes": ["read"], "rate": 5, "locomotives": ["CC-*"]});
    let made = check("POST", "/keys", 201, client.post("/keys", &wanted)).json();
    check("POST", "/keys", 422, client.post("/keys", &json!({"name": "", "scopes": []})));
    check("GET", "/keys", 200, client.get("/keys"));
    let key = format!("/keys/{}", made["id"].as_str().expect("an id"));
    check("DELETE", "/keys/{id}", 204, client.ask("DELETE", &key));
    check("DELETE", "/keys/{id}", 404, client.ask("DELETE", "/keys/key-of-nobody"));
    check("GET", "/audit/checkpoint", 200, client.get("/audit/checkpoint?fresh=true"));
    check("GET", "/audit/proof", 200, client.get("/audit/proof?locomotive=CC-1&version=1"));
    check("GET", "/audit/consistency", 200, client.get("/audit/consistency?from=1"));
    check("GET", "/audit/checkpoint", 422, client.get("/audit/checkpoint?number=a"));
    check("GET", "/audit/consistency", 404, client.get("/audit/consistency?from=99"));
    check("POST", "/audit/verify", 422, client.post("/audit/verify", &json!({"key": "no"})));
    check("POST", "/audit/rescore", 422, client.ask("POST", "/audit/rescore?from=soon"));
    let note = "/twins/{id}/events/{version}/note";
    check("DELETE", note, 404, client.ask("DELETE", "/twins/CC-2/events/1/note"));
    check("DELETE", "/twins/{id}", 200, client.ask("DELETE", "/twins/CC-2"));
    check("GET", "/twins/{id}", 200, client.get("/twins/CC-2"));

    check("GET", "/twins", 401, server.client_with(None).get("/twins"));
    check("GET", "/twins", 422, client.get("/twins?limit=0"));
    check("GET", "/twins/{id}", 404, client.get("/twins/CC-404"));
    check("GET", "/twins/{id}/clear", 404, client.get("/twins/CC-404/clear"));
    check("POST", "/readings", 415, client.post_bytes("/readings", "text/csv", b"a"));
    check("POST", "/readings", 422, client.post("/readings", &json!(7)));
    check("POST", "/predict", 422, client.post("/predict", &json!({"flow": -1})));
    check("POST", "/alerts/{id}/acknowledge", 412, client.post_with(&path, &[("if-match", "\"no\"")], &json!({})));
    check("POST", "/twins/{id}/maintenance", 404, client.post("/twins/CC-404/maintenance", &work));
    check("GET", "/ws/fleet", 400, client.get("/ws/fleet"));
}

#[test]
fn every_frame_fits_its_description() {
    let home = Home::new();
    let server = home.serve();
    let client = server.client();
    let document = Document(client.get("/openapi.json").expect(200));
    let start = now() - 3_600_000;
    client.post("/readings", &Value::from(series(sound, "CC-1", start, 12))).expect(202);
    let mut stream = Stream::open(&server, "/ws/fleet");
    let soon = Duration::from_secs(20);
    let mut frames = stream.until(soon, "a heartbeat", |frame| is(frame, "heartbeat"));
    let token = frames.last().expect("the heartbeat")["token"].as_str().expect("a token").to_owned();
    client.post("/readings", &Value::from(series(failing, "CC-1", start + 12 * STEP, 12))).expect(202);
    frames.extend(stream.until(soon, "danger", |frame| is(frame, "risk") && frame["to"] == "danger"));
    frames.extend(stream.until(soon, "the twin", |frame| is(frame, "twins")));
    let mut resumed = Stream::open(&server, &format!("/ws/fleet?resume={token}"));
    frames.extend(resumed.until(soon, "resumed", |frame| is(frame, "resumed")));
    let mut foreign = Stream::open(&server, "/ws/fleet?resume=c1_0-999999");
    frames.extend(foreign.until(soon, "a snapshot", |frame| is(frame, "snapshot")));
    let mut kinds = BTreeSet::new();
    for frame in &frames {
        let kind = frame["type"].as_str().expect("every frame has a type");
        let (first, rest) = kind.split_at(1);
        document.check_component(&format!("{}{rest}Frame", first.to_uppercase()), frame);
        kinds.insert(kind);
    }
    assert_eq!(kinds, ["alert", "gap", "heartbeat", "resumed", "risk", "snapshot", "twins"].into_iter().collect());
}

#[test]
fn the_pages_need_nothing_from_elsewhere() {
    let home = Home::new();
    let server = home.serve();
    let (monitor, token) = server.link().split_once("/?").expect("a link with a token");
    let browser = crate::answers::Client::new(monitor, None);
    let signed_in = browser.get(&format!("/?{token}"));
    let cookie = signed_in.header("set-cookie").split(';').next().expect("a cookie").to_owned();
    let client = server.client_with(None);
    let pages = [
        ("the documentation", client.get("/docs")),
        ("its script", client.get("/docs/docs.js")),
        ("the question for a key", browser.get("/")),
        ("the live page", browser.get_with("/", &[("cookie", &cookie)])),
        ("its script", browser.get("/monitor.js")),
        ("its style", browser.get("/monitor.css")),
    ];
    for (name, page) in &pages {
        let text = page.text();
        assert!(!text.is_empty() && [200, 401].contains(&page.status), "{name}: {}", page.status);
        for mark in ["http://", "https://", "src=\"//", "href=\"//", "url(//", "@import"] {
            // Names of XML vocabularies look like addresses, but nobody follows them.
            let found = text
                .replace("http://www.w3.org/", "")
                .find(mark)
                .map(|at| text[at..].chars().take(60).collect::<String>());
            assert_eq!(found, None, "{name} names something outside");
        }
        if page.media_type() == "text/html" {
            let policy = page.header("content-security-policy");
            assert!(policy.contains("default-src 'none'") && !policy.contains("http"), "{name}: {policy:?}");
        }
    }
}
