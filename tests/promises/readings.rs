//! Readings to send: those of a sound machine, which never repeat a value so that no sensor counts as stuck, and those of a failing one.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// Milliseconds between two readings of one locomotive.
pub(crate) const STEP: i64 = 5_000;

/// Now, in epoch milliseconds.
pub(crate) fn now() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock stands after 1970");
    i64::try_from(elapsed.as_millis()).expect("the year is not 292 million")
}

/// A number that differs from one moment to the next, 0 to 1.
fn shade(at: i64) -> f64 {
    ((at / 1_000 * 37) % 101) as f64 / 101.0
}

/// A sound machine.
pub(crate) fn sound(id: &str, at: i64) -> Value {
    reading(id, at, [120.0, 7.0, 2.0, 45.0])
}

/// A machine whose bearing and cooler are at their end.
pub(crate) fn failing(id: &str, at: i64) -> Value {
    reading(id, at, [112.0, 6.2, 9.0, 95.0])
}

fn reading(id: &str, at: i64, [flow, pressure, vibration, temperature]: [f64; 4]) -> Value {
    let shade = shade(at);
    let round = |value: f64| (value * 100.0).round() / 100.0;
    json!({
        "locomotive_id": id, "recorded_at": at,
        "flow": round(flow + shade), "pressure": round(pressure + shade / 10.0),
        "vibration": round(vibration + shade / 10.0), "temperature": round(temperature + shade),
        "latitude": 4.05, "longitude": 9.77, "speed": 64.5,
    })
}

/// `count` readings, one a step, from `start`.
pub(crate) fn series(make: fn(&str, i64) -> Value, id: &str, start: i64, count: i64) -> Vec<Value> {
    (0..count).map(|index| make(id, start + index * STEP)).collect()
}

/// The same as lines.
pub(crate) fn ndjson(readings: &[Value]) -> Vec<u8> {
    readings.iter().flat_map(|reading| format!("{reading}\n").into_bytes()).collect()
}
