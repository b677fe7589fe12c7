//! What the live stream promises: a snapshot first, then what moves, danger with its reasons, and no loss over a restart of the server.

use std::time::Duration;

use serde_json::{Value, json};

use crate::home::{Home, Server, until};
use crate::readings::{STEP, failing, now, series, sound};
use crate::stream::{Stream, is, twins};

const SOON: Duration = Duration::from_secs(20);

fn send(server: &Server, readings: Vec<Value>) {
    server.client().post("/readings", &Value::from(readings)).expect(202);
}

/// Everything up to the first heartbeat, by which the stream has caught up with what moved just before it was opened.
fn settle(stream: &mut Stream) -> Vec<Value> {
    stream.until(Duration::from_secs(8), "a heartbeat", |frame| is(frame, "heartbeat"))
}

/// The risk and alert frames, as (locomotive, what, position in the log).
fn facts(frames: &[Value]) -> Vec<(String, String, u64)> {
    let facts = frames.iter().filter(|frame| is(frame, "risk") || is(frame, "alert"));
    let what = |frame: &Value| frame["to"].as_str().or(frame["state"].as_str()).unwrap_or_default().to_owned();
    facts
        .map(|frame| {
            let id = frame["locomotive_id"].as_str().expect("an id").to_owned();
            (id, what(frame), frame["sequence"].as_u64().expect("a position"))
        })
        .collect()
}

/// The same facts out of a locomotive's history.
fn history(server: &Server, id: &str) -> Vec<(String, String, u64)> {
    let path = format!("/twins/{id}/events?type=RiskChanged,AlertRaised,AlertCleared,AlertAcknowledged&limit=1000");
    let page = server.client().get(&path).expect(200);
    let what = |event: &Value| match event["type"].as_str() {
        Some("RiskChanged") => event["data"]["to"].as_str().expect("a level").to_owned(),
        Some("AlertRaised") => "raised".to_owned(),
        Some("AlertCleared") => "cleared".to_owned(),
        other => panic!("{other:?} was not asked for"),
    };
    let events = page["items"].as_array().expect("a list").iter();
    events.map(|event| (id.to_owned(), what(event), event["sequence"].as_u64().expect("a position"))).collect()
}

#[test]
fn a_snapshot_comes_first_and_danger_with_its_reasons() {
    let home = Home::new();
    let server = home.serve();
    let start = now() - 3_600_000;
    send(&server, series(sound, "CC-1", start, 12));
    send(&server, series(sound, "CC-2", start, 12));
    let mut stream = Stream::open(&server, "/ws/fleet");
    let snapshot = stream.next(SOON).expect("a frame");
    assert_eq!((snapshot["type"].as_str(), snapshot["seq"].as_u64()), (Some("snapshot"), Some(1)));
    assert_eq!(snapshot["complete"], true);
    let ids: Vec<_> = twins(std::slice::from_ref(&snapshot)).into_iter().map(|twin| twin["id"].clone()).collect();
    assert_eq!(ids, ["CC-1", "CC-2"]);
    assert_eq!(
        snapshot["items"][0],
        server.client().get("/twins/CC-1").expect(200),
        "a frame and the API show one twin"
    );
    let settled = settle(&mut stream);

    send(&server, series(failing, "CC-1", start + 12 * STEP, 12));
    let mut seen = (false, false, false);
    let frames = stream.until(SOON, "risk, alert and state of CC-1", |frame| {
        let of_it = frame["locomotive_id"] == "CC-1";
        seen.0 |= is(frame, "risk") && of_it && frame["to"] == "danger";
        seen.1 |= is(frame, "alert") && of_it && frame["state"] == "raised";
        seen.2 |= is(frame, "twins")
            && frame["items"].as_array().is_some_and(|items| items.iter().any(|twin| twin["level"] == "danger"));
        seen == (true, true, true)
    });
    let risk = frames.iter().find(|frame| is(frame, "risk") && frame["to"] == "danger").expect("seen above");
    assert!(risk["contributions"].as_array().is_some_and(|parts| !parts.is_empty()) && risk["reason"].is_string());
    assert_eq!(
        facts(&frames),
        history(&server, "CC-1")[1..],
        "each change once, in order; the first level came before"
    );
    assert!(twins(&frames).iter().all(|twin| twin["id"] == "CC-1"), "who did not move is not told");

    let numbers: Vec<_> =
        [snapshot].iter().chain(&settled).chain(&frames).filter_map(|frame| frame["seq"].as_u64()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "frames are numbered without a gap");

    server.stop("TERM");
    let (code, reason) = loop {
        if let Err(end) = stream.next(SOON) {
            break end;
        }
    };
    assert_eq!(code, 1001, "{reason}");
    assert!(reason.contains("resume"), "{reason}");
}

#[test]
fn the_way_of_a_reading_to_the_stream_is_measured() {
    let home = Home::new();
    let server = home.serve();
    let count = || {
        let text = server.client().get("/metrics").text();
        let line = text.lines().find_map(|line| line.strip_prefix("cidp_reading_to_publish_seconds_count "));
        line.map_or(0, |count| count.trim().parse::<u64>().expect("a count"))
    };
    let mut stream = Stream::open(&server, "/ws/fleet");
    stream.until(SOON, "a snapshot", |frame| is(frame, "snapshot"));
    for (round, id) in ["CC-1", "CC-2", "CC-1"].into_iter().enumerate() {
        send(&server, series(sound, id, now() - 60_000 + i64::try_from(round).expect("small") * STEP, 1));
        stream.until(SOON, "its move", |frame| twins(std::slice::from_ref(frame)).iter().any(|twin| twin["id"] == id));
        let expected = round as u64 + 1;
        until(SOON, "the measurement", || (count() == expected).then_some(()));
    }
}

#[test]
fn a_stream_of_one_twin_tells_of_no_other() {
    let home = Home::new();
    let server = home.serve();
    let start = now() - 3_600_000;
    for id in ["CC-1", "CC-2"] {
        send(&server, series(sound, id, start, 4));
    }
    let mut stream = Stream::open(&server, "/ws/twins/CC-2");
    let snapshot = stream.next(SOON).expect("a frame");
    assert_eq!((snapshot["items"].as_array().map(Vec::len), &snapshot["items"][0]["id"]), (Some(1), &json!("CC-2")));
    send(&server, series(failing, "CC-1", start + 4 * STEP, 8));
    send(&server, series(sound, "CC-2", start + 4 * STEP, 1));
    let frames = stream.until(SOON, "the move of CC-2", |frame| is(frame, "twins"));
    // Its own first level may be heard after the stream began.
    assert!(facts(&frames).iter().all(|(id, ..)| id == "CC-2"), "{frames:#?}");
    assert!(twins(&frames).iter().all(|twin| twin["id"] == "CC-2"));
    let refused =
        Stream::knock(&server, "/ws/twins/CC-404", Some(crate::home::KEY)).err().expect("there is no such twin");
    assert_eq!(refused.0, 404, "{}", refused.1);
}

#[test]
fn a_filter_narrows_the_stream_and_a_wrong_one_ends_it() {
    let home = Home::new();
    let server = home.serve();
    let start = now() - 3_600_000;
    for id in ["CC-1", "CC-2", "CC-3"] {
        send(&server, series(sound, id, start, 4));
    }
    let mut stream = Stream::open(&server, "/ws/fleet");
    assert_eq!(stream.next(SOON).expect("a frame")["items"].as_array().map(Vec::len), Some(3));
    stream.say(&json!({"type": "filter", "ids": ["CC-2"], "fields": ["level"]}));
    let snapshot = stream.until(SOON, "the snapshot of the filter", |frame| is(frame, "snapshot"));
    assert_eq!(twins(&snapshot), [&json!({"id": "CC-2", "level": "nominal"})]);
    send(&server, series(failing, "CC-1", start + 4 * STEP, 8));
    send(&server, series(sound, "CC-2", start + 4 * STEP, 1));
    let frames = stream.until(SOON, "the move of CC-2", |frame| is(frame, "twins"));
    assert!(facts(&frames).is_empty() && twins(&frames).iter().all(|twin| twin["id"] == "CC-2"));

    stream.say(&json!({"type": "filter", "levels": ["danger"]}));
    let snapshot = stream.until(SOON, "the snapshot of the next filter", |frame| is(frame, "snapshot"));
    assert_eq!(twins(&snapshot).iter().map(|twin| twin["id"].clone()).collect::<Vec<_>>(), ["CC-1"]);
    stream.say(&json!({"type": "filter", "levels": ["purple"]}));
    let (code, reason) = loop {
        if let Err(end) = stream.next(SOON) {
            break end;
        }
    };
    assert_eq!(code, 1008);
    assert!(reason.contains("expected") && reason.contains("purple"), "{reason}");
}

#[test]
fn a_broken_stream_goes_on_over_a_restart_of_the_server() {
    let home = Home::new();
    let server = home.serve();
    let start = now() - 3_600_000;
    for id in ["CC-1", "CC-2", "CC-3"] {
        send(&server, series(sound, id, start, 12));
    }
    let mut stream = Stream::open(&server, "/ws/fleet");
    let settled = settle(&mut stream);
    let token = settled.last().expect("the heartbeat")["token"].as_str().expect("a token").to_owned();
    drop(stream);
    let known = history(&server, "CC-1").len();
    send(&server, series(failing, "CC-1", start + 12 * STEP, 12));
    send(&server, series(sound, "CC-2", start + 12 * STEP, 1));
    server.kill();

    let server = home.serve();
    let mut stream = Stream::open(&server, &format!("/ws/fleet?resume={token}"));
    let frames = stream.until(SOON, "resumed", |frame| is(frame, "resumed"));
    assert!(frames.iter().all(|frame| !is(frame, "snapshot") && !is(frame, "gap")), "{frames:#?}");
    let missed = facts(&frames);
    assert_eq!(missed, history(&server, "CC-1")[known..], "every change that was missed, once, in order");
    assert!(missed.iter().any(|(_, what, _)| what == "danger") && missed.iter().any(|(_, what, _)| what == "raised"));
    let mut moved: Vec<_> =
        twins(&frames).into_iter().map(|twin| twin["id"].as_str().expect("an id").to_owned()).collect();
    moved.sort();
    assert_eq!(moved, ["CC-1", "CC-2"], "the latest state of each that moved, once");
    assert_eq!(twins(&frames)[0], &server.client().get("/twins/CC-1").expect(200));

    // The stream is live from here on, and its new token leads past what was told.
    send(&server, series(sound, "CC-3", start + 12 * STEP, 1));
    stream.until(SOON, "the move of CC-3", |frame| {
        twins(std::slice::from_ref(frame)).iter().any(|twin| twin["id"] == "CC-3")
    });
    let token = frames.last().expect("resumed")["token"].as_str().expect("a token").to_owned();
    let mut again = Stream::open(&server, &format!("/ws/fleet?resume={token}"));
    let frames = again.until(SOON, "resumed", |frame| is(frame, "resumed"));
    assert!(facts(&frames).is_empty());
    assert_eq!(twins(&frames).into_iter().map(|twin| twin["id"].clone()).collect::<Vec<_>>(), ["CC-3"]);
}

#[test]
fn danger_in_the_very_moment_of_coming_back_is_told_once() {
    let home = Home::new();
    let server = home.serve();
    let start = now() - 3_600_000;
    for round in 0..20 {
        let id = format!("CC-{round}");
        send(&server, series(sound, &id, start, 12));
        let mut stream = Stream::open(&server, "/ws/fleet");
        let token = stream.next(SOON).expect("a snapshot")["token"].as_str().expect("a token").to_owned();
        drop(stream);
        send(&server, series(failing, &id, start + 12 * STEP, 12));
        let mut stream = Stream::open(&server, &format!("/ws/fleet?resume={token}"));
        let mut seen = (false, false, false);
        let frames = stream.until(SOON, "resumed, danger and its alert", |frame| {
            seen.0 |= is(frame, "resumed");
            seen.1 |= is(frame, "risk") && frame["locomotive_id"] == *id && frame["to"] == "danger";
            seen.2 |= is(frame, "alert") && frame["locomotive_id"] == *id && frame["state"] == "raised";
            seen == (true, true, true)
        });
        assert!(frames.iter().all(|frame| !is(frame, "gap")), "{frames:#?}");
        let mut told: Vec<_> = facts(&frames).into_iter().filter(|(of, ..)| *of == id).collect();
        // Whether the first level came before the token depends on when the stream was opened.
        told.retain(|(_, what, _)| what != "nominal");
        let mut known = history(&server, &id);
        known.retain(|(_, what, _)| what != "nominal");
        assert_eq!(told, known, "round {round}: each change once, in order");
    }
}

#[test]
fn a_token_that_is_none_is_refused_and_a_foreign_one_gets_a_gap_and_a_snapshot() {
    let home = Home::new();
    let server = home.serve();
    send(&server, series(sound, "CC-1", now() - 60_000, 2));
    let refused = Stream::knock(&server, "/ws/fleet?resume=yesterday", Some(crate::home::KEY)).err().expect("no token");
    assert_eq!(refused.0, 422, "{}", refused.1);
    let mut stream = Stream::open(&server, "/ws/fleet?resume=c1_0-999999");
    let frames = stream.until(SOON, "a snapshot", |frame| is(frame, "snapshot"));
    assert!(is(&frames[0], "gap"), "{frames:#?}");
    assert_eq!(twins(&frames).len(), 1);
}

#[test]
fn a_ticket_opens_one_stream_and_a_wrong_key_none() {
    let home = Home::new();
    let server = home.serve();
    let ticket = server.client().ask("POST", "/ws/tickets").expect(200);
    assert_eq!(ticket["expires_in"], 30);
    let path = format!("/ws/fleet?ticket={}", ticket["ticket"].as_str().expect("a ticket"));
    let mut stream = Stream::knock(&server, &path, None).unwrap_or_else(|(status, body)| panic!("{status} {body}"));
    assert!(is(&stream.next(SOON).expect("a frame"), "snapshot"));
    for (path, key) in
        [(path.as_str(), None), ("/ws/fleet", None), ("/ws/fleet", Some("wrong")), ("/ws/fleet?ticket=0", None)]
    {
        let (status, body) = Stream::knock(&server, path, key).err().expect("nobody may come in");
        assert_eq!(status, 401, "{path} {body}");
        assert!(body.contains("/problems/unauthorized"), "{body}");
    }
}
