//! Promise: the course of a sensor can be asked for, with a warehouse and without one.

use std::time::Duration;

use serde_json::{Value, json};

use crate::home::{Home, Server, until};
use crate::readings::{now, sound};

const MINUTE: i64 = 60_000;

/// Two hours of readings, one a minute, and one that comes late.
fn fill(server: &Server) -> i64 {
    let start = now() / 3_600_000 * 3_600_000 - 3 * 3_600_000;
    let mut readings: Vec<Value> = (0..120).map(|minute| sound("CC-1", start + minute * MINUTE)).collect();
    readings.push(sound("CC-1", start + MINUTE / 2));
    server.client().post("/readings", &Value::from(readings)).expect(202);
    start
}

fn count(answer: &Value, series: usize) -> i64 {
    let points = answer["series"][series]["points"].as_array().expect("points");
    points.iter().map(|point| point["count"].as_i64().expect("a number")).sum()
}

fn course(server: &Server, query: &str, wanted: i64) -> Value {
    until(Duration::from_secs(30), "the readings are in the tables", || {
        let answer = server.client().get(&format!("/twins/CC-1/series?{query}")).expect(200);
        (count(&answer, 0) == wanted).then_some(answer)
    })
}

fn promise(server: &Server) {
    let start = fill(server);
    let end = start + 120 * MINUTE;
    let hours = course(server, &format!("from={start}&to={end}&step=1h&sensor=vibration,risk"), 121);
    assert_eq!((hours["source"].as_str(), hours["step_seconds"].as_i64()), (Some("1h"), Some(3600)));
    assert_eq!(hours["series"][0]["unit"], json!("mm/s"));
    assert_eq!(hours["series"][0]["points"].as_array().map(Vec::len), Some(2));
    assert_eq!(count(&hours, 1), 120, "a late reading has no risk");
    for (step, source) in [("5m", "1m"), ("10s", "readings")] {
        let query = format!("from={start}&to={end}&step={step}&sensor=vibration&sensor=risk");
        let finer = course(server, &query, 121);
        assert_eq!(finer["source"], json!(source));
        let least = |answer: &Value| {
            let points = answer["series"][0]["points"].as_array().expect("points").clone();
            points.iter().filter_map(|point| point["min"].as_f64()).fold(f64::INFINITY, f64::min)
        };
        assert_eq!(least(&finer), least(&hours));
    }
}

#[test]
fn out_of_the_warehouse() {
    let home = Home::new();
    let server = home.serve();
    promise(&server);
    let health = server.client().get("/health").expect(200);
    assert_eq!(health["projection"]["projection"], json!("warehouse"));
    assert!(home.path().join("var/warehouse.db").exists());
}

#[test]
fn out_of_the_node_itself_where_the_warehouse_is_off() {
    let mut home = Home::new();
    home.set("CIDP_WAREHOUSE__URL", "off");
    let server = home.serve();
    promise(&server);
    assert!(!home.path().join("var/warehouse.db").exists());
}

#[test]
fn what_does_not_fit_is_refused() {
    let home = Home::new();
    let server = home.serve();
    let client = server.client();
    client.get("/twins/NOBODY/series").expect(404);
    client.post("/readings", &json!([sound("CC-1", now())])).expect(202);
    for (query, place) in [("sensor=colour", "sensor"), ("step=0", "step"), ("from=2026-02-01T00:00:00Z&to=5", "to")] {
        let problem = client.get(&format!("/twins/CC-1/series?{query}")).expect(422);
        assert_eq!(problem["errors"][0]["path"], json!(place), "{query}");
    }
}
