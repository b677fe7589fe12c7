//! Bad readings: each is refused with a reason that says what was expected, and kept; the rest of its batch goes on.

use serde_json::{Value, json};

use crate::home::Home;
use crate::readings::{now, sound};

/// A reading with one thing wrong: its bytes, the reason's code, and a part of the message.
struct Bad {
    bytes: Vec<u8>,
    reason: &'static str,
    said: &'static str,
}

fn bad_readings(at: i64) -> Vec<Bad> {
    let bad = |bytes: Vec<u8>, reason, said| Bad { bytes, reason, said };
    let text = |text: &str, reason, said| bad(text.as_bytes().to_vec(), reason, said);
    let with = |field: &str, value: Value, reason, said| {
        let mut reading = sound("CC-1", at);
        reading[field] = value;
        bad(reading.to_string().into_bytes(), reason, said)
    };
    let without = |field: &str, reason, said| {
        let mut reading = sound("CC-1", at);
        reading.as_object_mut().expect("an object").remove(field);
        bad(reading.to_string().into_bytes(), reason, said)
    };
    let raw = |value: &str, reason, said| {
        text(&format!(r#"{{"locomotive_id":"CC-1","recorded_at":{at},"flow":{value}}}"#), reason, said)
    };
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let ten_megabytes =
        json!({"locomotive_id": "CC-1", "recorded_at": at, "flow": 1, "x": "x".repeat(10 << 20)}).to_string();
    vec![
        bad(b"{\"locomotive_id\":\"CC-\xff\xfe\"}".to_vec(), "not_utf8", "expected UTF-8"),
        text("no JSON at all", "not_json", "expected one JSON object"),
        text("[]", "not_json", "expected one JSON object"),
        text("null", "not_json", "expected one JSON object"),
        raw("NaN", "not_json", "expected one JSON object"),
        raw("-Infinity", "not_json", "expected one JSON object"),
        raw("1e999", "not_json", "expected one JSON object"),
        with("flow", json!("120"), "wrong_type", "flow: expected a number or null, got \"120\""),
        with("pressure", json!([7]), "wrong_type", "pressure: expected a number or null, got an array"),
        with("locomotive_id", json!(7), "wrong_type", "locomotive_id: expected a text, got 7"),
        with("recorded_at", json!("yesterday"), "wrong_type", "recorded_at: expected RFC 3339"),
        with("recorded_at", json!({}), "wrong_type", "recorded_at: expected RFC 3339"),
        with("flow", json!(301), "out_of_range", "flow: expected 0 to 300 L/min, got 301"),
        with("temperature", json!(-20.5), "out_of_range", "temperature: expected -20 to 150 °C, got -20.5"),
        with("vibration", json!(1e30), "out_of_range", "vibration: expected 0 to 50 mm/s"),
        with("latitude", json!(91), "out_of_range", "latitude: expected -90 to 90"),
        without("locomotive_id", "no_id", "expected the locomotive's id"),
        with("locomotive_id", json!("CC 1/é"), "wrong_id", "locomotive_id: "),
        with("locomotive_id", json!("x".repeat(65)), "wrong_id", "locomotive_id: "),
        without("recorded_at", "no_time", "expected RFC 3339 or epoch milliseconds"),
        with("recorded_at", json!("0001-01-01T00:00:00Z"), "absurd_time", "recorded_at: expected"),
        with("recorded_at", json!(9_000_000_000_000_000_i64), "absurd_time", "between 2000 and 2200"),
        with("recorded_at", json!(at + 3_600_000), "future", "more than 5 minutes ahead"),
        text(
            &format!(r#"{{"locomotive_id":"CC-1","recorded_at":{at}}}"#),
            "no_sensor",
            "expected at least one of flow",
        ),
        text(
            &format!(r#"{{"locomotive_id":"CC-1","recorded_at":{at},"flow":1,"debit":1}}"#),
            "given_twice",
            "flow: given twice",
        ),
        text(&nested, "too_large", "expected at most 65536 bytes"),
        raw(&deep, "wrong_type", "flow: expected a number or null, got an array"),
        text(&ten_megabytes, "too_large", "expected at most 65536 bytes"),
    ]
}

#[test]
fn a_bad_reading_is_refused_and_kept_and_the_rest_goes_on() {
    let home = Home::new();
    let server = home.serve();
    let client = server.client();
    let at = now() - 60_000;
    let all = bad_readings(at);
    // A key that nobody knows is ignored whatever it holds, at no cost of stack.
    let strange = format!(
        r#"{{"locomotive_id":"CC-0","recorded_at":{at},"flow":1,"x":{}{}}}"#,
        "[".repeat(20_000),
        "]".repeat(20_000)
    );
    assert_eq!(client.post_bytes("/readings", "application/json", strange.as_bytes()).expect(202)["accepted"], 1);
    let good = |index: usize| sound(&format!("CC-{}", 100 + index), at).to_string().into_bytes();
    // Every second element is sound, so that each bad one has to be survived.
    let mut body = b"[".to_vec();
    for (index, bad) in all.iter().enumerate() {
        body.extend(good(index));
        body.push(b',');
        body.extend(&bad.bytes);
        body.push(if index + 1 == all.len() { b']' } else { b',' });
    }
    let receipt = client.post_bytes("/readings", "application/json", &body).expect(202);
    assert_eq!(receipt["accepted"], all.len(), "{receipt:#}");
    let rejected = receipt["rejected"].as_array().expect("a list");
    assert_eq!(rejected.len(), all.len(), "{receipt:#}");
    for (index, (bad, told)) in all.iter().zip(rejected).enumerate() {
        let start: String = String::from_utf8_lossy(&bad.bytes).chars().take(120).collect();
        assert_eq!((&told["index"], &told["reason"]), (&json!(2 * index + 1), &json!(bad.reason)), "{start}: {told}");
        assert!(told["message"].as_str().is_some_and(|message| message.contains(bad.said)), "{start}: {told}");
    }
    assert_eq!(
        client.get("/twins?limit=1000").expect(200)["count"],
        all.len() + 1,
        "nobody was commissioned by a bad reading"
    );
    let letters = home.dead_letters();
    let reasons: Vec<_> = letters.iter().map(|letter| letter["reason"].as_str().expect("a reason")).collect();
    assert_eq!(reasons, all.iter().map(|bad| bad.reason).collect::<Vec<_>>(), "each is kept once, in order");
    for (letter, bad) in letters.iter().zip(&all) {
        let kept = letter["value"].as_str().map_or(0, str::len);
        let whole = bad.reason != "not_utf8" && bad.bytes.len() <= 64 * 1024;
        assert!(
            if whole { kept == bad.bytes.len() } else { letter["value_base64"].is_string() || kept == 64 * 1024 },
            "{}",
            bad.reason
        );
        assert!(letter["message"].is_string() && letter["received_at"].is_string() && letter["source"] == "http");
    }

    // An array that is cut off cannot be told apart: nothing of it is taken, and the sender hears it.
    let cut = [b"[".as_slice(), &good(800), b",{\"locomotive_id\":"].concat();
    client.post_bytes("/readings", "application/json", &cut).problem(422, "unprocessable");
    client.get("/twins/CC-900").problem(404, "not-found");
    // A line that is cut off ends at its own end.
    let lines = b"{\"locomotive_id\":\"CC-1\"\n{\"locomotive_id\":\"CC-1\"}\n"
        .iter()
        .chain(&good(900))
        .copied()
        .collect::<Vec<_>>();
    let receipt = client.post_bytes("/readings", "application/x-ndjson", &lines).expect(202);
    assert_eq!((&receipt["accepted"], receipt["rejected"].as_array().map(Vec::len)), (&json!(1), Some(2)), "{receipt}");
    assert_eq!(home.dead_letters().len(), all.len() + 2);
    server.stop("TERM");
    let server = home.serve();
    assert_eq!(home.dead_letters().len(), all.len() + 2, "letters stay over a restart");
    drop(server);
}

#[test]
fn a_small_body_of_very_many_readings_is_refused_as_a_whole() {
    let home = Home::new();
    let server = home.serve();
    let client = server.client();
    let commas = format!("[{}]", ",".repeat(1 << 20));
    let told = client.post_bytes("/readings", "application/json", commas.as_bytes()).problem(413, "too-large");
    assert!(told["detail"].as_str().is_some_and(|detail| detail.contains("at most 50000 readings")), "{told}");
    let lines = "x\n".repeat(1 << 19);
    client.post_bytes("/readings", "application/x-ndjson", lines.as_bytes()).problem(413, "too-large");
    client.post_bytes("/twins/CC-1/readings", "application/json", commas.as_bytes()).problem(413, "too-large");
    assert!(home.dead_letters().is_empty(), "what is not taken leaves no letters");
    let most = format!("[{}]", vec!["0"; 50_000].join(","));
    let receipt = client.post_bytes("/readings", "application/json", most.as_bytes()).expect(202);
    assert_eq!(receipt["rejected"].as_array().map(Vec::len), Some(50_000));
    assert_eq!(home.dead_letters().len(), 50_000);
}

#[test]
fn what_only_the_twin_can_refuse_is_refused_and_kept() {
    let mut home = Home::new();
    home.set("CIDP_TWIN__MAX_LOCOMOTIVES", 1);
    let server = home.serve();
    let client = server.client();
    let at = now() - 60_000;
    client.post("/readings", &json!([sound("CC-1", at)])).expect(202);
    let mut other = sound("CC-1", at);
    other["flow"] = json!(77);
    let old = sound("CC-1", at - 8 * 24 * 3_600_000);
    let cases = [(other, "conflict"), (old, "too_late"), (sound("CC-2", at), "too_many_locomotives")];
    for (reading, reason) in &cases {
        let receipt = client.post("/readings", &json!([reading])).expect(202);
        assert_eq!((&receipt["accepted"], &receipt["rejected"][0]["reason"]), (&json!(0), &json!(reason)), "{receipt}");
    }
    let kept: Vec<_> = home.dead_letters().iter().map(|letter| letter["reason"].clone()).collect();
    assert_eq!(kept, cases.each_ref().map(|(_, reason)| *reason));
    let wrong = client.post("/twins/CC-1/readings", &sound("CC-2", at)).expect(202);
    assert_eq!(wrong["rejected"][0]["reason"], "other_id", "{wrong}");
}
