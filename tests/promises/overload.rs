//! Far more readings than can be recorded: the server takes what it can, says 429 to the rest, its memory stays flat, readers are still
//! answered, and of what it acknowledged nothing is lost.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::answers::Client;
use crate::home::Home;
use crate::readings::now;

/// Readings of one request; two dozen such fill the queue of a shard.
const A_REQUEST: i64 = 4_000;
/// Clients that send without a pause. With one shard that is five times what may wait.
const CLIENTS: usize = 125;
const LASTING: Duration = Duration::from_secs(6);
/// What the queue, the bodies under way and the engine's buffers may take in KiB. Five times the queue would not fit.
const ROOM: u64 = 400 * 1_024;

/// What the clients heard.
#[derive(Default)]
struct Heard {
    recorded: AtomicU64,
    refused: AtomicU64,
}

/// Sends readings of one locomotive, each at a time of its own, without a pause and without waiting when it is told to.
fn press(client: &Client, number: usize, heard: &Heard, over: &AtomicBool) {
    let mut at = now() - 6 * 86_400_000;
    while !over.load(Ordering::Relaxed) {
        let mut lines = String::new();
        for step in 0..A_REQUEST {
            let (at, shade) = (at + step * 1_000, step % 97);
            writeln!(
                lines,
                r#"{{"locomotive_id":"CC-{number}","recorded_at":{at},"flow":120.{shade:02},"vibration":2.{shade:02}}}"#
            )
            .expect("a String takes every text");
        }
        let answer = client.post_bytes("/readings", "application/x-ndjson", lines.as_bytes());
        match answer.status {
            202 => {
                let receipt = answer.json();
                assert_eq!(receipt["accepted"], A_REQUEST);
                heard.recorded.fetch_add(A_REQUEST as u64, Ordering::Relaxed);
                at += A_REQUEST * 1_000;
            }
            429 => {
                answer.problem(429, "too-many");
                let seconds: u64 = answer.header("retry-after").parse().expect("it says when to come again");
                assert!((1..=60).contains(&seconds));
                heard.refused.fetch_add(A_REQUEST as u64, Ordering::Relaxed);
            }
            other => panic!("expected 202 or 429, got {other}: {}", answer.text()),
        }
    }
}

#[test]
fn overload_is_refused_and_memory_stays_flat() {
    let mut home = Home::new();
    home.set("CIDP_LOG__SHARDS", 1);
    let server = home.serve();
    let before = server.resident();
    let (heard, over) = (Heard::default(), AtomicBool::new(false));
    let mut most = before;
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (client, heard, over) = (server.client(), &heard, &over);
            scope.spawn(move || press(&client, number, heard, over));
        }
        let (reader, end) = (server.client(), Instant::now() + LASTING);
        while Instant::now() < end {
            reader.get("/fleet").expect(200);
            most = most.max(server.resident());
        }
        over.store(true, Ordering::Relaxed);
    });
    let (recorded, refused) = (heard.recorded.into_inner(), heard.refused.into_inner());
    assert!(recorded > 0 && refused > 0, "{recorded} recorded, {refused} refused: this is no overload");
    assert!(most - before < ROOM, "from {before} KiB to {most} KiB, {recorded} readings recorded, {refused} refused");

    let metrics = server.client().get("/metrics").text();
    let count = |outcome: &str| {
        let name = format!(r#"cidp_readings_total{{source="http",outcome="{outcome}"}} "#);
        metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse::<f64>().ok()).unwrap_or_default()
    };
    assert_eq!(count("accepted"), recorded as f64, "what was recorded is what was acknowledged");
    let mut told = 0;
    let wanted = [("accept", "application/x-ndjson")];
    let one = server.client().get_with("/twins/CC-0/events?type=TelemetryRecorded", &wanted);
    let mut times = Vec::new();
    for line in one.text().lines() {
        let event: Value = serde_json::from_str(line).expect("JSON");
        let readings = event["data"]["readings"].as_array().cloned().unwrap_or_default();
        told += readings.len() as i64;
        times.extend(readings.iter().filter_map(|reading| reading["recorded_at"].as_str().map(str::to_owned)));
    }
    assert_eq!(told % A_REQUEST, 0, "requests are recorded whole");
    assert!(times.is_sorted_by(|a, b| a < b), "each reading once, in order");
    server.stop("TERM");
}
