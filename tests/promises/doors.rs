//! What the API promises to whoever knocks: the verdict of four figures, metrics, who may come in, and why a request does not fit.

use serde_json::{Value, json};

use crate::home::{Home, KEY};
use crate::readings::{now, series, sound};

#[test]
fn a_prediction_gives_the_verdict_of_four_figures() {
    let home = Home::new();
    let server = home.serve();
    let client = server.client();
    let ask = |vibration: f64, temperature: f64| {
        let body = json!({"flow": 120, "pressure": 7, "vibration": vibration, "temperature": temperature});
        client.post("/predict", &body).expect(200)
    };
    let sound = ask(2.0, 45.0);
    assert_eq!((&sound["level"], &sound["verdict"]), (&json!("nominal"), &json!("OPÉRATION NOMINALE")), "{sound}");
    for (vibration, temperature) in [(7.0, 85.0), (7.0, 100.0), (8.0, 90.0), (12.0, 85.0), (12.0, 110.0), (20.0, 120.0)]
    {
        let failing = ask(vibration, temperature);
        let expected = (&json!("danger"), &json!("DANGER DÉTECTÉ"));
        assert_eq!(
            (&failing["level"], &failing["verdict"]),
            expected,
            "vibration {vibration}, temperature {temperature}"
        );
        assert!(failing["contributions"].as_array().is_some_and(|parts| !parts.is_empty()));
    }
    let aliases = client.post("/predict", &json!({"debit": 120, "pression": 7, "vibration": 2, "temperature": 45}));
    assert_eq!(aliases.expect(200)["risk"], sound["risk"]);
    let wrong = client.post("/predict", &json!({"flow": "much"})).problem(422, "unprocessable");
    assert_eq!(wrong["errors"][0]["path"], "flow");
    let far = client.post("/predict", &json!({"flow": 301})).problem(422, "unprocessable");
    assert_eq!(far["errors"][0]["path"], "flow");
    assert_eq!(client.get("/twins").expect(200)["count"], 0, "a question commissions nobody");
}

#[test]
fn metrics_have_the_names_of_the_contract() {
    let home = Home::new();
    let server = home.serve();
    let client = server.client();
    client.post("/readings", &Value::from(series(sound, "CC-SECRET", now() - 60_000, 3))).expect(202);
    client.post("/readings", &json!([{"locomotive_id": "CC-SECRET"}])).expect(202);
    let answer = server.client_with(None).get("/metrics");
    assert_eq!((answer.status, answer.media_type()), (200, "text/plain"), "open without a key");
    let text = answer.text();
    for name in [
        "readings_total{source=\"http\",outcome=\"accepted\"} 3",
        "readings_total{source=\"http\",outcome=\"refused\"} 1",
        "reading_to_durable_seconds_count",
        "fold_seconds_count",
        "score_seconds_count",
        "actor_mailbox_depth",
        "actor_restarts_total",
        "actors_alive{kind=\"locomotive\"}",
        "log_append_seconds_count",
        "log_position{shard=",
        "twins{level=\"nominal\"} 1",
        "alerts_open 0",
        "ws_clients 0",
        "http_request_duration_seconds_count{route=\"/readings\",method=\"POST\",status=\"202\"} 2",
    ] {
        assert!(text.contains(&format!("cidp_{name}")), "cidp_{name} is not in:\n{text}");
    }
    assert!(!text.contains("CC-SECRET"), "no label carries a locomotive's id");
}

#[test]
fn whoever_may_not_come_in_is_told_so() {
    let home = Home::new();
    let server = home.serve();
    for key in [None, Some("a-wrong-key-of-some-length")] {
        for (method, path) in
            [("GET", "/twins"), ("POST", "/readings"), ("GET", "/twins/X"), ("GET", "/fleet"), ("POST", "/predict")]
        {
            let answer = server.client_with(key).ask(method, path);
            answer.problem(401, "unauthorized");
            assert!(!answer.header("www-authenticate").is_empty());
        }
    }
    let bearer = server.client_with(None).get_with("/twins", &[("authorization", &format!("Bearer {KEY}"))]);
    bearer.expect(200);
    for open in ["/health", "/health/live", "/health/ready", "/metrics", "/openapi.json", "/docs"] {
        assert_eq!(server.client_with(None).get(open).status, 200, "{open}");
    }

    // A browser that came by the sign-in link may read and operate, but brings no readings.
    let (monitor, token) = server.link().split_once("/?").expect("a link with a token");
    let browser = crate::answers::Client::new(monitor, None);
    let signed_in = browser.get(&format!("/?{token}"));
    assert_eq!(signed_in.status, 303);
    let cookie = signed_in.header("set-cookie").split(';').next().expect("a cookie").to_owned();
    let cookie = [("cookie", cookie.as_str())];
    assert_eq!(browser.get_with("/twins", &cookie).status, 200);
    assert_eq!(browser.get_with("/", &cookie).status, 200);
    assert_eq!(browser.get(&format!("/?{token}")).status, 401, "the link counts once");
    let refused = browser.post_with("/readings", &cookie, &json!([])).problem(403, "forbidden");
    assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("ingest")), "{refused}");
    assert_eq!(browser.post_bytes("/session", "text/plain", KEY.as_bytes()).status, 204);
    let refused = browser.post_bytes("/session", "text/plain", &[b'k'; 2_000]);
    refused.problem(413, "too-large");
    assert_eq!(refused.header("connection"), "close", "nobody is to send the next request into a connection that ends");
    let elsewhere = browser.post_with("/twins/X/failures", &[cookie[0], ("origin", "http://evil.example")], &json!({}));
    elsewhere.problem(401, "unauthorized");
}

#[test]
fn requests_that_do_not_fit_are_told_why() {
    let home = Home::new();
    let server = home.serve();
    let client = server.client();
    client.get("/nowhere").problem(404, "not-found");
    client.get("/twins/CC-404").problem(404, "not-found");
    client.get("/twins/no%20id").problem(404, "not-found");
    client.get("/twins/CC-404/events").problem(404, "not-found");
    for (method, path, allowed) in [
        ("DELETE", "/readings", "POST"),
        ("PATCH", "/twins", "GET"),
        ("PUT", "/predict", "POST"),
        ("PATCH", "/twins/X", "DELETE"),
    ] {
        let answer = client.ask(method, path);
        answer.problem(405, "method-not-allowed");
        assert!(answer.header("allow").contains(allowed), "{method} {path}: Allow is {:?}", answer.header("allow"));
    }
    client.post_bytes("/readings", "text/csv", b"a,b").problem(415, "unsupported-media-type");
    for body in ["", "7", "[{}", "{\"locomotive_id\":\"A\"} x"] {
        let answer = client.post_bytes("/readings", "application/json", body.as_bytes());
        if body.starts_with('{') {
            assert_eq!(answer.expect(202)["rejected"][0]["reason"], "not_json");
        } else {
            let problem = answer.problem(422, "unprocessable");
            assert!(
                problem["errors"][0]["message"].as_str().is_some_and(|text| text.contains("expected")),
                "{problem}"
            );
        }
    }
    let refused = server.client_with(None).post("/readings", &json!([]));
    refused.problem(401, "unauthorized");
    assert_eq!(refused.header("connection"), "close", "the body was not read");
    assert_eq!(client.post("/predict", &json!({"flow": -1})).header("connection"), "", "the body was read");
    let huge = vec![b' '; 17 * 1024 * 1024];
    let refused = client.post_bytes("/readings", "application/json", &huge);
    refused.problem(413, "too-large");
    client.get("/twins").expect(200);
    client.get("/ws/fleet").problem(400, "bad-request");
}

#[test]
fn every_answer_tells_browsers_and_caches_what_it_is_not_for() {
    let home = Home::new();
    let server = home.serve();
    let (monitor, _) = server.link().split_once("/?").expect("a link with a token");
    let browser = crate::answers::Client::new(monitor, None);
    let client = server.client();
    let answers = [
        ("a list", client.get("/twins")),
        ("a refusal", server.client_with(None).get("/twins")),
        ("nothing", client.get("/nowhere")),
        ("a wrong method", client.ask("DELETE", "/twins")),
        ("health", client.get("/health")),
        ("the document", client.get("/openapi.json")),
        ("the documentation", client.get("/docs")),
        ("the question for a key", browser.get("/")),
        ("the page's script", browser.get("/monitor.js")),
    ];
    for (name, answer) in &answers {
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{name}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{name}");
        assert_eq!(answer.header("cache-control"), "no-store", "{name}");
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{name}: {policy}");
        assert_eq!(answer.header("access-control-allow-origin"), "", "{name}");
    }
}

#[test]
fn a_page_of_another_address_may_ask_only_where_it_is_named() {
    let mut home = Home::new();
    home.set("CIDP_HTTP__CORS", "https://depot.example, http://127.0.0.1:3000");
    let server = home.serve();
    let client = server.client();
    let (named, other) = ([("origin", "https://depot.example")], [("origin", "https://evil.example")]);
    let answer = client.get_with("/twins", &named);
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, "https://depot.example"));
    assert!(answer.header("vary").contains("Origin") && answer.header("access-control-allow-credentials").is_empty());
    assert_eq!(client.get_with("/twins", &other).header("access-control-allow-origin"), "");
    let first = |origin: (&'static str, &'static str)| {
        let headers =
            [origin, ("access-control-request-method", "POST"), ("access-control-request-headers", "x-api-key")];
        server.client_with(None).send("OPTIONS", "/readings", &headers, None).expect("an answer")
    };
    let allowed = first(named[0]);
    assert_eq!((allowed.status, allowed.header("access-control-allow-origin")), (204, "https://depot.example"));
    assert!(allowed.header("access-control-allow-headers").contains("X-API-KEY"));
    let refused = first(other[0]);
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (405, ""));
    let (monitor, _) = server.link().split_once("/?").expect("a link with a token");
    let page = crate::answers::Client::new(monitor, Some(KEY)).get_with("/twins", &named);
    assert_eq!((page.status, page.header("access-control-allow-origin")), (200, ""), "a cookie counts at this door");
    server.stop("TERM");
    home.set("CIDP_HTTP__CORS", "*");
    home.run(&["serve"]).failed(2, &["http.cors", "https://depot.example"]);
}
