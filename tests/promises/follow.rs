//! What a followed history promises: all that is known, then each new event, without a hole, and an end when the server ends.

use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

use serde_json::Value;
use ureq::http::Request;

use crate::home::{Home, KEY, Server};
use crate::readings::{STEP, failing, now, series, sound};

/// A stream of server-sent events.
struct Follower(BufReader<Box<dyn Read>>);

impl Follower {
    fn open(server: &Server, path: &str, headers: &[(&str, &str)]) -> Self {
        let agent = ureq::Agent::config_builder().timeout_global(Some(Duration::from_mins(1))).build();
        let mut request = Request::get(format!("{}{path}", server.base())).header("x-api-key", KEY);
        for (name, value) in [("accept", "text/event-stream")].iter().chain(headers) {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("a well-formed request");
        let response = ureq::Agent::from(agent).run(request).expect("the server listens");
        let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        assert!(kind.starts_with("text/event-stream"), "{kind}");
        Self(BufReader::new(Box::new(response.into_body().into_reader())))
    }

    /// The next event with its id, or nothing at the end.
    fn next(&mut self) -> Option<(u64, Value)> {
        let (mut id, mut data) = (None, None);
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).expect("the stream ends, it does not break") == 0 {
                return None;
            }
            if let Some(text) = line.strip_prefix("id: ") {
                id = text.trim().parse().ok();
            } else if let Some(text) = line.strip_prefix("data: ") {
                data = Some(serde_json::from_str(text).expect("data is JSON"));
            } else if line.trim().is_empty()
                && let Some(data) = data.take()
            {
                return Some((id.expect("an event has an id"), data));
            }
        }
    }

    /// The next events, as many as these, must be these.
    #[track_caller]
    fn tells(&mut self, events: &[Value]) {
        for event in events {
            let (id, told) = self.next().expect("the stream goes on");
            assert_eq!((&told, Some(id)), (event, event["version"].as_u64()));
        }
    }
}

fn history(server: &Server, after: u64) -> Vec<Value> {
    let page = server.client().get(&format!("/twins/CC-1/events?limit=1000&after={after}")).expect(200);
    page["items"].as_array().expect("a list").clone()
}

#[test]
fn a_history_is_followed_from_any_version_until_the_server_ends() {
    let home = Home::new();
    let server = home.serve();
    let client = server.client();
    let start = now() - 3_600_000;
    client.post("/readings", &Value::from(series(sound, "CC-1", start, 12))).expect(202);
    let known = history(&server, 0);
    assert!(known.len() > 2, "{known:#?}");
    let mut whole = Follower::open(&server, "/twins/CC-1/events", &[]);
    whole.tells(&known);
    let mut changes = Follower::open(&server, "/twins/CC-1/events?type=AlertRaised", &[]);

    for step in 0..12 {
        client.post("/readings", &Value::from(series(failing, "CC-1", start + (12 + step) * STEP, 1))).expect(202);
        client.post("/readings", &Value::from(series(sound, "CC-2", start + step * STEP, 1))).expect(202);
    }
    let new = history(&server, known.len() as u64);
    whole.tells(&new);
    let raised: Vec<_> = new.iter().filter(|event| event["type"] == "AlertRaised").cloned().collect();
    assert!(!raised.is_empty(), "{new:#?}");
    changes.tells(&raised);

    let mut later = Follower::open(&server, "/twins/CC-1/events?after=1", &[]);
    later.tells(&history(&server, 1));
    let mut again = Follower::open(&server, "/twins/CC-1/events?after=1", &[("last-event-id", "2")]);
    again.tells(&history(&server, 2));
    let to = start - 24 * 3_600_000;
    let mut past = Follower::open(&server, &format!("/twins/CC-1/events?to={to}"), &[]);
    assert_eq!(past.next(), None, "nothing more can come before a moment of the past");
    let mut few = Follower::open(&server, "/twins/CC-1/events?limit=2", &[]);
    few.tells(&history(&server, 0)[..2]);
    assert_eq!(few.next(), None, "a limit ends the stream");
    let wrong = [("accept", "text/event-stream"), ("last-event-id", "x")];
    client.get_with("/twins/CC-1/events", &wrong).problem(422, "unprocessable");
    client.get_with("/twins/CC-9/events", &wrong[..1]).problem(404, "not-found");

    server.stop("TERM");
    for mut follower in [whole, changes, later, again] {
        assert_eq!(follower.next(), None, "the end of the server ends the stream");
    }
}
