//! The past over HTTP and from the log itself: any moment, what changed between two of them, and a cut through the fleet that leads back.

use serde_json::{Value, json};

use crate::home::Home;
use crate::readings::{STEP, failing, now, series, sound};

#[test]
fn what_changed_between_two_moments_is_told_with_the_events_between() {
    let home = Home::new();
    let server = home.serve();
    let client = server.client();
    let start = now() - 3_600_000;
    client.post("/readings", &Value::from(series(sound, "CC-1", start, 12))).expect(202);
    let calm = client.get("/twins/CC-1").expect(200);
    let cut = client.get("/fleet").expect(200);
    assert_eq!((calm["level"].as_str(), calm["alert"].is_null()), (Some("nominal"), true));
    client.post("/readings", &Value::from(series(failing, "CC-1", start + 12 * STEP, 60))).expect(202);
    let work = json!({"kind": "corrective", "component": "bearing", "note": "roulement"});
    client.post("/twins/CC-1/maintenance", &work).expect(202);
    let ill = client.get("/twins/CC-1").expect(200);
    assert_eq!(ill["level"], "danger", "{ill:#}");

    let from = calm["version"].as_u64().expect("a version");
    let to = ill["version"].as_u64().expect("a version");
    let diff = client.get(&format!("/twins/CC-1/diff?from_version={from}&to_version={to}")).expect(200);
    assert_eq!((&diff["id"], &diff["from"]["version"], &diff["to"]["version"]), (&ill["id"], &json!(from), &json!(to)));
    for field in ["level", "risk", "alert", "last_maintenance", "last_reading_at"] {
        assert_eq!(diff["changes"][field], json!({"from": calm[field], "to": ill[field]}), "{field}");
    }
    for field in ["id", "version", "commissioned_at", "position"] {
        assert!(diff["changes"][field].is_null(), "{field} did not change: {diff:#}");
    }
    for sensor in ["vibration", "temperature"] {
        let change = json!({"from": calm["sensors"][sensor], "to": ill["sensors"][sensor]});
        assert_eq!(diff["sensors"][sensor], change);
    }
    let history = client.get(&format!("/twins/CC-1/events?after={from}&limit=1000")).expect(200);
    let (named, all) =
        (diff["events"]["items"].as_array().expect("a list"), history["items"].as_array().expect("a list"));
    assert_eq!((diff["events"]["count"].as_u64(), diff["events"]["next"].is_null()), (Some(to - from), true));
    assert_eq!(named.len(), all.len());
    for (step, event) in named.iter().zip(all) {
        for field in ["version", "type", "appended_at"] {
            assert_eq!(step[field], event[field]);
        }
    }
    assert!(named.iter().any(|step| step["type"] == "AlertRaised") && named.iter().any(|step| step["readings"] == 60));

    // By time, and up to the present; fewer events than there are lead to the rest.
    let at = calm_moment(&client.get(&format!("/twins/CC-1/events?limit={from}")).expect(200));
    let by_time = client.get(&format!("/twins/CC-1/diff?from={at}&limit=1")).expect(200);
    assert_eq!((&by_time["changes"], &by_time["from"]), (&diff["changes"], &diff["from"]));
    let next = by_time["events"]["next"].as_str().expect("more to come");
    let rest = client.get(&format!("/twins/CC-1/events?after={next}&limit=1000")).expect(200);
    assert_eq!(rest["items"].as_array().map(|items| items.len() as u64), Some(to - from - 1));
    let nothing = client.get(&format!("/twins/CC-1/diff?from_version={to}&to_version={to}")).expect(200);
    assert_eq!(
        (&nothing["changes"], &nothing["sensors"], &nothing["events"]["count"]),
        (&json!({}), &json!({}), &json!(0))
    );

    let ask = |query: &str| client.get(&format!("/twins/CC-1/diff?{query}"));
    ask("").problem(422, "unprocessable");
    ask("from=yesterday").problem(422, "unprocessable");
    ask(&format!("from={at}&from_version=2")).problem(422, "unprocessable");
    ask(&format!("from_version={to}&to_version={from}")).problem(422, "unprocessable");
    ask("from=2020-01-01T00:00:00Z").problem(404, "not-found");
    ask(&format!("from_version=1&to_version={}", to + 1)).problem(404, "not-found");
    client.get("/twins/CC-9/diff?from_version=1").problem(404, "not-found");

    // The cut that came with an answer leads back to the same fleet.
    let given = cut["cut"].to_string().replace(['{', '}', '"'], "");
    let back = client.get(&format!("/fleet?cut={given}")).expect(200);
    for field in ["count", "levels", "worst", "positions"] {
        assert_eq!(back[field], cut[field], "{field}");
    }
    assert_eq!(client.get(&format!("/fleet?at={at}")).expect(200)["levels"], cut["levels"]);
    client.get(&format!("/fleet?at={at}&cut={given}")).problem(422, "unprocessable");
    client.get("/fleet?cut=0:99999999").problem(422, "unprocessable");
    client.get("/fleet?cut=some").problem(422, "unprocessable");

    // The same from the server that holds the log, and from the log itself once nobody holds it.
    let replayed = |url: &str| {
        let outcome = home.run(&["replay", "--at", &at, "CC-1", "--json"]);
        serde_json::from_str::<Value>(outcome.succeeded()).unwrap_or_else(|error| panic!("{url}: {error}"))
    };
    let held = replayed("held");
    server.stop("TERM");
    let free = replayed("free");
    for field in ["version", "level", "risk", "sensors", "state_hash"] {
        assert!(!held[field].is_null());
        assert_eq!(held[field], free[field], "{field}");
    }
    assert_eq!(held["version"], from);
    let fleet = home.run(&["replay", "--at", &at, "--json"]);
    let fleet: Value = serde_json::from_str(fleet.succeeded()).expect("JSON");
    assert_eq!(fleet["items"][0]["state_hash"], held["state_hash"]);
}

/// When the last event of a history was recorded.
fn calm_moment(history: &Value) -> String {
    let last = history["items"].as_array().and_then(|items| items.last()).expect("some events");
    last["appended_at"].as_str().expect("a time").to_owned()
}
