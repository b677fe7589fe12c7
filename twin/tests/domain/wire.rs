//! Every way in which a reading can be wrong on the wire, and what it is told.

use crate::support::{START, blueprints};
use proptest::prelude::*;
use twin::ids::LocomotiveId;
use twin::instant;
use twin::reading::{LATITUDE, SPEED};
use twin::refusal::Refusal;
use twin::wire::{Addressed, MAX_READING_BYTES, decode};

fn read(bytes: &[u8]) -> Result<Addressed, Refusal> {
    decode(bytes, &blueprints().0.definition, START + 1_000, None)
}

fn with(fields: &str) -> Result<Addressed, Refusal> {
    read(format!(r#"{{"locomotive_id":"CC-2201","recorded_at":"{}",{fields}}}"#, instant::format(START)).as_bytes())
}

#[test]
fn the_reading_of_the_contract() {
    let read = with(
        r#""flow":120.4,"pressure":7.1,"vibration":2.0,"temperature":45.0,"latitude":4.0511,"longitude":9.7679,"speed":64.2"#,
    );
    let read = read.expect("valid");
    assert_eq!(read.id.as_str(), "CC-2201");
    assert_eq!(read.reading.recorded_at, START);
    assert_eq!((read.reading.get(0), read.reading.get(3)), (Some(120.4), Some(45.0)));
    assert_eq!((read.reading.get(LATITUDE), read.reading.get(SPEED)), (Some(4.0511), Some(64.2)));
}

#[test]
fn aliases_nulls_unknown_keys_and_epoch_milliseconds() {
    let text = format!(r#"{{"locomotive_id":"A","recorded_at":{START},"débit":1,"pression":null,"x":[1,{{"y":2}}]}}"#);
    let read = read(text.as_bytes()).expect("valid");
    assert_eq!((read.reading.get(0), read.reading.get(1), read.unknown_keys), (Some(1.0), None, 1));
}

#[test]
fn every_refusal_says_what_was_expected() {
    let year = 365 * instant::DAY;
    let cases: Vec<(Result<Addressed, Refusal>, &str, &str)> = vec![
        (read(b"\xff\xfe"), "not_utf8", "offset 0"),
        (read(b"{\"flow\":"), "not_json", "EOF"),
        (read(b"[]"), "not_json", "invalid type: sequence"),
        (read(b"{} {}"), "not_json", "trailing"),
        (with(r#""flow":NaN"#), "not_json", "expected"),
        (with(r#""flow":"120""#), "wrong_type", "flow: expected a number or null, got \"120\""),
        (with(r#""flow":{"a":1}"#), "wrong_type", "got an object"),
        (with(r#""flow":1,"debit":2"#), "given_twice", "flow: given twice"),
        (with(r#""flow":1e300"#), "out_of_range", "flow: expected 0 to 300 L/min"),
        (with(r#""vibration":-0.1"#), "out_of_range", "vibration: expected 0 to 50 mm/s"),
        (with(r#""flow":1,"latitude":91"#), "out_of_range", "latitude"),
        (with(r#""x":1"#), "no_sensor", "flow, pressure, vibration, temperature"),
        (read(br#"{"recorded_at":"2026-02-01T08:00:00Z","flow":1}"#), "no_id", "locomotive_id"),
        (read(br#"{"locomotive_id":"a/b","recorded_at":"2026-02-01T08:00:00Z","flow":1}"#), "wrong_id", "a/b"),
        (read(br#"{"locomotive_id":"A","flow":1}"#), "no_time", "recorded_at"),
        (read(br#"{"locomotive_id":"A","recorded_at":"soon","flow":1}"#), "wrong_type", "RFC 3339"),
        (read(br#"{"locomotive_id":"A","recorded_at":12,"flow":1}"#), "absurd_time", "between 2000 and 2200"),
        (
            read(format!(r#"{{"locomotive_id":"A","recorded_at":{},"flow":1}}"#, START + year).as_bytes()),
            "future",
            "ahead",
        ),
        (read("[".repeat(MAX_READING_BYTES).as_bytes()), "not_json", "object"),
        (read(format!(r#"{{"x":{}}}"#, "[".repeat(9_000)).as_bytes()), "not_json", "line 1 column 9006"),
        (read(&vec![b' '; 10 << 20]), "too_large", "at most 65536 bytes"),
    ];
    for (read, code, words) in cases {
        let refusal = read.expect_err(code);
        assert_eq!(refusal.code(), code, "{refusal}");
        assert!(refusal.to_string().contains(words), "{refusal} lacks {words:?}");
    }
}

#[test]
fn the_id_of_the_path_must_agree() {
    let id = LocomotiveId::parse("CC-2202").expect("valid");
    let text = format!(r#"{{"locomotive_id":"CC-2201","recorded_at":{START},"flow":1}}"#);
    let refused = decode(text.as_bytes(), &blueprints().0.definition, START, Some(&id)).expect_err("other id");
    assert_eq!(refused.code(), "other_id");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes);
    }

    #[test]
    fn no_text_of_its_shape_makes_it_panic(text in r#"\{("(flow|recorded_at|locomotive_id|x)":(-?[0-9]{1,30}(\.[0-9]+)?(e[0-9]{1,3})?|null|true|"[^"]{0,5}"|\[\]),?){0,5}\}"#) {
        let _ = read(text.as_bytes());
    }
}
