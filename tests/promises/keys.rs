//! Keys: made once, kept as hashes, bounded by scope, time, rate and a set of locomotives, at every way in and out.

use std::time::Duration;

use serde_json::{Value, json};

use crate::answers::{Answer, Client};
use crate::home::{Home, KEY, Server, until};
use crate::readings::{STEP, failing, now, series, sound};
use crate::stream::{Stream, is, twins};

/// Asks the server for a key and gives it with its id.
fn made(server: &Server, request: &Value) -> (String, String) {
    let made = server.client().post("/keys", request).expect(201);
    let text = |field: &str| made[field].as_str().expect("a text").to_owned();
    (text("key"), text("id"))
}

fn request(scopes: &[&str]) -> Value {
    json!({"name": "the depot at Bassa", "scopes": scopes})
}

#[test]
fn a_key_is_made_shown_once_and_ends_when_it_is_revoked() {
    let home = Home::new();
    // Without a server the log itself is written.
    home.run(&["keys", "list"]).failed(1, &["log"]);
    home.serve().stop("TERM");
    let offline = home.run(&["keys", "create", "Ngo Biyong", "--scope", "read", "--scope", "operate"]);
    let offline = offline.succeeded().trim().to_owned();
    assert!(offline.starts_with("cidp_") && offline.len() == 69, "{offline}");

    let server = home.serve();
    server.client_with(Some(&offline)).get("/twins").expect(200);
    server.client_with(Some(&offline)).post("/readings", &json!([])).problem(403, "forbidden");
    server.client_with(Some(&offline)).get("/keys").problem(403, "forbidden");
    let answer = server.client().post("/keys", &request(&["read"]));
    assert_eq!(answer.header("cache-control"), "no-store", "nobody on the way keeps a key");
    let (key, id) = {
        let made = answer.expect(201);
        (made["key"].as_str().expect("a key").to_owned(), made["id"].as_str().expect("an id").to_owned())
    };
    let reader = server.client_with(Some(&key));
    reader.get("/twins").expect(200);
    let page = server.client().get("/keys?limit=1").expect(200);
    assert_eq!((&page["count"], &page["items"][0]["name"]), (&json!(2), &json!("Ngo Biyong")), "{page}");
    let page = server.client().get(&format!("/keys?cursor={}", page["next"].as_str().expect("a cursor"))).expect(200);
    assert_eq!(
        (&page["items"][0]["id"], &page["items"][0]["state"], &page["next"]),
        (&json!(id), &json!("active"), &Value::Null)
    );
    assert!(!page.to_string().contains(&key));

    // A stream that is open ends with its key; so does a ticket that was not used yet.
    let mut stream =
        Stream::knock(&server, "/ws/fleet", Some(&key)).map_err(|(status, _)| status).expect("it may come in");
    stream.until(Duration::from_secs(20), "a snapshot", |frame| is(frame, "snapshot"));
    let ticket = reader.ask("POST", "/ws/tickets").expect(200)["ticket"].as_str().expect("a ticket").to_owned();
    assert_eq!(server.client().ask("DELETE", &format!("/keys/{id}")).status, 204);
    assert_eq!(server.client().ask("DELETE", &format!("/keys/{id}")).status, 204, "once more changes nothing");
    reader.get("/twins").problem(401, "unauthorized");
    let knocked =
        Stream::knock(&server, &format!("/ws/fleet?ticket={ticket}"), None).map(|_| ()).map_err(|(status, _)| status);
    assert_eq!(knocked, Err(401));
    let closed = until(Duration::from_secs(30), "the end of the stream", || stream.next(Duration::from_secs(20)).err());
    assert_eq!(closed.0, 1008, "{closed:?}");
    server.client().ask("DELETE", "/keys/key-of-nobody").problem(404, "not-found");

    // Over a restart, even one that nobody announced, all of it stands; the command finds the server that holds the log.
    server.kill();
    let server = home.serve();
    server.client_with(Some(&key)).get("/twins").problem(401, "unauthorized");
    server.client_with(Some(&offline)).get("/twins").expect(200);
    let listed = home.run(&["--json", "keys", "list"]);
    let listed: Value = serde_json::from_str(listed.succeeded()).expect("JSON");
    assert_eq!((&listed[0]["state"], &listed[1]["state"]), (&json!("active"), &json!("revoked")), "{listed}");
    let first = listed[0]["id"].as_str().expect("an id");
    home.run(&["keys", "revoke", first, "--erase-name"]).succeeded();
    server.client_with(Some(&offline)).get("/twins").problem(401, "unauthorized");
    server.stop("TERM");
    let listed = home.run(&["--json", "keys", "list"]);
    let listed: Value = serde_json::from_str(listed.succeeded()).expect("JSON");
    assert_eq!((&listed[0]["state"], &listed[0]["name"]), (&json!("revoked"), &json!("")));
    home.run(&["keys", "revoke", "key-of-nobody"]).failed(1, &["there is no key"]);

    // Neither the keys nor the erased name stand anywhere in the log's directory.
    let mut directories = vec![home.path().join("log")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).expect("the log's directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).expect("a file of the log");
            for secret in [offline.as_str(), &key, &offline[5..], &key[5..], KEY, "Ngo Biyong"] {
                let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!found, "{} holds {secret}", path.display());
            }
        }
    }
}

#[test]
fn a_key_that_cannot_be_is_refused_with_every_reason() {
    let home = Home::new();
    let server = home.serve();
    let wrong = json!({
        "name": "", "scopes": ["write"], "expires_at": "2020-01-01T00:00:00Z", "rate": 0, "locomotives": ["CC 22"]
    });
    let problem = server.client().post("/keys", &wrong).problem(422, "unprocessable");
    let paths: Vec<_> =
        problem["errors"].as_array().expect("a list").iter().map(|error| error["path"].clone()).collect();
    assert_eq!(paths, ["name", "scopes", "expires_at", "rate", "locomotives"]);
    let admin = json!({"name": "a", "scopes": ["admin"], "locomotives": ["CC-22*"]});
    server.client().post("/keys", &admin).problem(422, "unprocessable");
    assert_eq!(server.client().get("/keys").expect(200)["count"], 0);
    server.stop("TERM");
    home.run(&["keys", "create", "a", "--scope", "read", "--rate", "0"]).failed(1, &["rate: expected 1 to"]);
    home.run(&["keys", "create", "a", "--scope", "write"]).failed(2, &["read", "ingest"]);
}

#[test]
fn a_key_ends_at_its_time_and_keeps_its_rate() {
    let home = Home::new();
    let server = home.serve();
    let mut short = request(&["read"]);
    let lifetime = 3_000;
    short["expires_at"] = json!((now() + lifetime).to_string());
    let (key, _) = made(&server, &short);
    let client = server.client_with(Some(&key));
    until(Duration::from_secs(20), "the key's end", || (client.get("/twins").status == 401).then_some(()));
    assert_eq!(server.client().get("/keys").expect(200)["items"][0]["state"], "expired");

    let mut slow = request(&["read"]);
    slow["rate"] = json!(1);
    let (key, _) = made(&server, &slow);
    let client = server.client_with(Some(&key));
    let refused =
        until(Duration::from_secs(20), "too fast", || Some(client.get("/twins")).filter(|answer| answer.status != 200));
    refused.problem(429, "too-many");
    assert_eq!(refused.header("retry-after"), "1");
    let ask = || Some(client.get("/twins")).filter(|answer| answer.status == 200);
    until(Duration::from_secs(20), "room again", ask).expect(200);
    for _ in 0..50 {
        server.client().get("/twins").expect(200);
    }
}

/// The other locomotive, whose trace a limited key must not see.
const OTHER: &str = "HIDDEN-1";

/// An answer that says nothing of the other locomotive, whatever it says.
#[track_caller]
fn silent(place: &str, answer: &Answer) {
    assert!(!answer.text().contains(OTHER), "{place}: {}", answer.text());
    let told = answer.headers.iter().any(|(_, value)| value.to_str().is_ok_and(|value| value.contains(OTHER)));
    assert!(!told, "{place}: {:?}", answer.headers);
}

#[test]
fn a_key_of_one_locomotive_sees_no_trace_of_the_others() {
    let home = Home::new();
    let server = home.serve();
    let admin = server.client();
    let start = now() - 3_600_000;
    for id in ["SEEN-1", OTHER] {
        let mut readings = series(sound, id, start, 12);
        readings.extend(series(failing, id, start + 12 * STEP, 12));
        assert_eq!(admin.post("/readings", &Value::from(readings)).expect(202)["accepted"], 24);
    }
    let alerts = admin.get("/alerts").expect(200);
    let alert_of = |id: &str| {
        let mut alerts = alerts["items"].as_array().expect("a list").iter();
        let alert = alerts.find(|alert| alert["locomotive_id"] == id).expect("an alert of it is open");
        alert["id"].as_str().expect("an id").to_owned()
    };
    let (seen_alert, hidden_alert) = (alert_of("SEEN-1"), alert_of(OTHER));
    let mut limited = request(&["read", "ingest", "operate"]);
    limited["locomotives"] = json!(["SEEN-*"]);
    let (key, _) = made(&server, &limited);
    let client = server.client_with(Some(&key));

    // Lists and counts are those of a fleet of one.
    for path in ["/twins", "/twins?q=-1", "/twins?level=danger", "/twins?sort=-risk", "/alerts"] {
        let list = client.get(path).expect(200);
        assert_eq!((&list["count"], list["items"].as_array().map(Vec::len)), (&json!(1), Some(1)), "{path}: {list}");
        assert_eq!(admin.get(path).expect(200)["count"], 2, "{path}");
    }
    for path in ["/fleet".to_owned(), format!("/fleet?at={}", now())] {
        let fleet = client.get(&path).expect(200);
        assert_eq!((&fleet["count"], &fleet["levels"]["danger"]), (&json!(1), &json!(1)), "{path}: {fleet}");
    }

    // Every route of the document, with the other's id wherever an id can stand. Exactly the same is said of one that is nowhere.
    let document = admin.get("/openapi.json").expect(200);
    let mut walked = 0;
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for method in methods.as_object().expect("methods").keys() {
            let method = method.to_uppercase();
            let ask = |id: &str, alert: &str| {
                let target =
                    if path.starts_with("/alerts/") { path.replace("{id}", alert) } else { path.replace("{id}", id) };
                let target = target.replace("{version}", "1");
                let query = match path.as_str() {
                    "/audit/proof" => format!("?locomotive={id}&version=1"),
                    "/audit/consistency" => "?from=1".to_owned(),
                    "/twins" | "/alerts" | "/fleet" => "?limit=1000".to_owned(),
                    "/twins/{id}/diff" => "?from_version=1".to_owned(),
                    _ => String::new(),
                };
                let body: &[u8] = if path.ends_with("/maintenance") { br#"{"kind":"preventive"}"# } else { b"{}" };
                let body = matches!(method.as_str(), "POST" | "PUT").then_some(body);
                let headers = [("content-type", "application/json")];
                client
                    .send(&method, &format!("{target}{query}"), &headers, body)
                    .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
            };
            let (hidden, nowhere) =
                (ask(OTHER, &hidden_alert), ask("NOWHERE-1", &hidden_alert.replace(OTHER, "NOWHERE-1")));
            walked += 1;
            if path.contains("{id}") && !path.starts_with("/keys") || path == "/audit/proof" {
                let admin_only = path.ends_with("/note");
                assert_eq!(hidden.status, if admin_only { 403 } else { 404 }, "{method} {path}: {}", hidden.text());
                let same = hidden.text().replace(OTHER, "NOWHERE-1");
                assert_eq!((hidden.status, same), (nowhere.status, nowhere.text()), "{method} {path} tells them apart");
            } else {
                assert!(hidden.status < 500, "{method} {path}: {} {}", hidden.status, hidden.text());
                silent(&format!("{method} {path}"), &hidden);
            }
        }
    }
    assert!(walked > 35, "{walked} operations were walked");

    // What concerns the whole fleet is not for a part of it.
    client.post("/breaker/open", &json!({"reason": "x"})).problem(403, "forbidden");
    client.ask("POST", "/breaker/close").problem(403, "forbidden");
    client.post("/alertmanager", &json!({"version": "4", "alerts": []})).problem(403, "forbidden");

    // In: its own readings are taken, the other's refused and kept.
    let letters = home.dead_letters().len();
    let at = start + 30 * STEP;
    let batch = json!([sound("SEEN-1", at), sound(OTHER, at), sound("NOWHERE-1", at)]);
    let receipt = client.post("/readings", &batch).expect(202);
    let reasons: Vec<_> =
        receipt["rejected"].as_array().expect("a list").iter().filter_map(|told| told["reason"].as_str()).collect();
    assert_eq!((&receipt["accepted"], reasons), (&json!(1), vec!["not_allowed", "not_allowed"]), "{receipt}");
    assert_eq!(home.dead_letters().len(), letters + 2);
    admin.get("/twins/NOWHERE-1").problem(404, "not-found");
    let path = format!("/alerts/{seen_alert}/acknowledge");
    client.post(&path, &json!({})).expect(200);
    client.get("/audit/proof?locomotive=SEEN-1&version=1").expect(200);

    streams(&server, &client, &key, start);
}

/// The same key at the streams: snapshot, frames, resume, tickets, a filter that asks for more, server-sent events.
fn streams(server: &Server, client: &Client, key: &str, start: i64) {
    let admin = server.client();
    let soon = Duration::from_secs(30);
    let knock = |path: &str, key: Option<&str>| Stream::knock(server, path, key).map_err(|(status, _)| status);
    assert_eq!(knock(&format!("/ws/twins/{OTHER}"), Some(key)).map(|_| ()), Err(404));
    let ticket = client.ask("POST", "/ws/tickets").expect(200)["ticket"].as_str().expect("a ticket").to_owned();
    let mut stream = knock(&format!("/ws/fleet?ticket={ticket}"), None).expect("a ticket of the key");
    let mut frames = stream.until(soon, "a heartbeat", |frame| is(frame, "heartbeat"));
    let token = frames.last().expect("the heartbeat")["token"].as_str().expect("a token").to_owned();
    let others = format!("{OTHER}b");
    stream.say(&json!({"type": "filter", "ids": ["SEEN-1", "SEEN-2", OTHER, others]}));
    frames.extend(stream.until(soon, "a snapshot of the filter", |frame| is(frame, "snapshot")));
    let seen = twins(&frames);
    assert!(seen.len() >= 2 && seen.iter().all(|twin| twin["id"] == "SEEN-1"), "{seen:#?}");
    // One of the others comes into danger, then one that is seen, for which the client waits.
    for id in [others.as_str(), "SEEN-2"] {
        let mut readings = series(sound, id, start, 12);
        readings.extend(series(failing, id, start + 12 * STEP, 12));
        admin.post("/readings", &Value::from(readings)).expect(202);
    }
    let danger = |frame: &Value| is(frame, "risk") && frame["to"] == "danger";
    frames.extend(stream.until(soon, "danger", danger));
    frames.extend(stream.until(soon, "the twin", |frame| is(frame, "twins") && frame["items"][0]["id"] == "SEEN-2"));
    let mut resumed = knock(&format!("/ws/fleet?resume={token}"), Some(key)).expect("the key may come in");
    frames.extend(resumed.until(soon, "resumed", |frame| is(frame, "resumed")));
    assert!(frames.iter().filter(|frame| danger(frame)).count() >= 2, "both were told of the danger: {frames:#?}");
    for frame in &frames {
        assert!(!frame.to_string().contains(OTHER), "{frame:#}");
    }
    let events = client.get_with("/twins/SEEN-1/events", &[("accept", "application/x-ndjson")]);
    assert!(events.status == 200 && events.text().lines().count() > 3);
    silent("events", &events);
    for accept in ["application/json", "application/x-ndjson", "text/event-stream"] {
        client.get_with(&format!("/twins/{OTHER}/events"), &[("accept", accept)]).problem(404, "not-found");
    }
}
