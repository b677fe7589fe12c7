//! What a person sees who starts the program for the first time: within two minutes one locomotive goes from nominal through watch to
//! danger, shows why, and comes back once the depot has serviced it; then Ctrl-C, and the next start goes on.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::home::{Home, until};
use crate::stream::{Stream, is, twins};

const ID: &str = "CC-DEMO";
/// From ready to danger.
const DANGER_WITHIN: Duration = Duration::from_mins(2);
/// From ready to nominal again: the depot comes after a minute and a half.
const BACK_WITHIN: Duration = Duration::from_mins(3);

fn changes_to<'a>(frame: &'a Value, level: &str) -> Option<&'a Value> {
    (is(frame, "risk") && frame["locomotive_id"] == ID && frame["to"] == level).then_some(frame)
}

#[test]
fn the_first_start_shows_a_failure_and_its_repair() {
    let mut home = Home::new();
    home.set("CIDP_SIMULATOR__LOCOMOTIVES", 20);
    let server = home.serve();
    let ready = Instant::now();
    let client = server.client();
    until(Duration::from_secs(20), "the first reading of CC-DEMO", || {
        (client.get(&format!("/twins/{ID}")).status == 200).then_some(())
    });
    let mut stream = Stream::open(&server, &format!("/ws/twins/{ID}"));
    let left = |within: Duration| within.saturating_sub(ready.elapsed());
    let mut frames = stream.until(left(DANGER_WITHIN), "nominal", |frame| {
        twins(std::slice::from_ref(frame)).iter().any(|twin| twin["level"] == "nominal")
    });
    for level in ["watch", "danger"] {
        frames.extend(stream.until(left(DANGER_WITHIN), level, |frame| changes_to(frame, level).is_some()));
        let change = frames.last().expect("just found");
        assert!(change["reason"].is_string(), "{change:#}");
        assert!(
            change["contributions"]
                .as_array()
                .is_some_and(|parts| parts.iter().any(|part| part["value"].as_f64() > Some(0.05)))
        );
    }
    frames.extend(stream.until(left(DANGER_WITHIN), "the twin in danger", |frame| {
        twins(std::slice::from_ref(frame)).iter().any(|twin| twin["level"] == "danger" && twin["alert"].is_object())
    }));
    assert!(frames.iter().any(|frame| is(frame, "alert") && frame["state"] == "raised"));
    let back = stream.until(left(BACK_WITHIN), "nominal again", |frame| changes_to(frame, "nominal").is_some());
    let serviced = twins(&back).iter().any(|twin| twin["last_maintenance"]["kind"] == "corrective");
    assert!(serviced, "the depot came before it was well again");
    stream.until(Duration::from_secs(10), "the alert is over", |frame| {
        twins(std::slice::from_ref(frame)).iter().any(|twin| twin["level"] == "nominal" && twin["alert"].is_null())
    });
    assert!(twins(&frames).iter().chain(&twins(&back)).all(|twin| twin["id"] == ID));

    assert_eq!(client.get("/twins?limit=1000").expect(200)["count"], 21, "twenty locomotives and the demonstration");
    let version = |client: &crate::answers::Client| client.get(&format!("/twins/{ID}")).json()["version"].as_u64();
    let before = version(&client);
    server.stop("INT");

    let server = home.serve();
    let client = server.client();
    assert!(version(&client) >= before, "nothing is forgotten");
    until(Duration::from_secs(20), "growing versions", || (version(&client) > before).then_some(()));
    let after = before.expect("a version");
    let events = client.get(&format!("/twins/{ID}/events?after={after}&limit=1")).expect(200);
    assert_eq!(
        events["items"][0]["type"], "MaintenanceRecorded",
        "the simulated wear begins anew, and the log says so"
    );
    server.stop("INT");
}
