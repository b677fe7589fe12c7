//! Bad input at the command line: a clear message, the right exit code, and nothing half done by a program that does not start.

use serde_json::{Value, json};

use crate::home::{Home, KEY, Outcome, REPOSITORY, model};
use crate::readings::{now, sound};

#[test]
fn a_wrong_configuration_names_the_key_and_does_nothing() {
    let mut home = Home::new();
    let config = home.file("wrong.toml", "[http]\nlistn = \"127.0.0.1:0\"\n");
    home.run(&["serve", "--config", &config]).failed(2, &["wrong.toml", "http.listn", "did you mean http.listen"]);
    let broken = home.file("broken.toml", "[http\n");
    home.run(&["serve", "--config", &broken]).failed(2, &["broken.toml", "not valid TOML", "line 1"]);
    home.run(&["serve", "--config", "nowhere.toml"]).failed(2, &["nowhere.toml", "--config"]);
    let wrong = [
        ("CIDP_LOG__SHARD", "4", "CIDP_LOG__SHARDS (log.shards)"),
        ("CIDP_LOG__SHARDS", "many", "log.shards: expected a whole number, 1 to 1024, got \"many\""),
        ("CIDP_HTTP__LISTEN", "here", "http.listen: expected an address"),
        ("CIDP_TWIN__LATE_WINDOW", "7 moons", "twin.late_window: expected a time span such as 7d"),
        ("CIDP_LOG__KIND", "paper", "log.kind: expected embedded"),
        ("CIDP_API_KEY", "short", "at least 16 characters"),
        ("CIDP_HTTP__LISTEN", "0.0.0.0:0", "set CIDP_API_KEY"),
    ];
    for (name, value, said) in wrong {
        let mut wrong = Home::new();
        wrong.set(name, value);
        if value == "0.0.0.0:0" {
            wrong.set("CIDP_API_KEY", "");
        }
        wrong.run(&["serve"]).failed(2, &[said]);
        assert!(!wrong.path().join("log").exists(), "{name}: nothing was begun");
    }
    home.set("CIDP_LOG__URL", "postgres://somebody:secret@host/db");
    let shown = home.run(&["config", "show"]);
    assert!(shown.succeeded().contains("[http]") && !shown.stdout.contains("secret") && !shown.stdout.contains(KEY));
    for arguments in
        [&["frobnicate"][..], &[], &["replay"], &["replay", "--at", "soon"], &["serve", "--fast"], &["produce"]]
    {
        let outcome = home.run(arguments);
        assert_eq!(outcome.code, Some(2), "{arguments:?}: {}", outcome.stderr);
        assert!(
            outcome.stderr.contains("Usage") || outcome.stderr.contains("--help"),
            "{arguments:?}: {}",
            outcome.stderr
        );
    }
}

#[test]
fn a_log_that_lost_its_head_goes_on_only_when_told_to() {
    let home = Home::new();
    home.run(&["log", "repair"]).failed(1, &["there is no log here"]);
    let server = home.serve();
    server.client().post("/readings", &Value::from(vec![sound("CC-2201", now())])).expect(202);
    server.stop("INT");
    assert!(home.run(&["log", "repair"]).succeeded().contains("the chain is whole"));
    std::fs::write(home.path().join("log/HEAD"), "").expect("emptied");
    home.run(&["serve"]).failed(1, &["HEAD", "cidp log repair --accept-loss"]);
    home.run(&["log", "repair"]).failed(1, &["--accept-loss"]);
    home.run(&["log", "repair", "--accept-loss"]).succeeded();
    let server = home.serve();
    assert_eq!(server.client().get("/twins/CC-2201").expect(200)["id"], "CC-2201");
    server.stop("INT");
}

#[test]
fn a_broken_definition_is_refused_before_anything_is_done() {
    let locomotive =
        std::fs::read_to_string(format!("{REPOSITORY}/data/locomotive.toml")).expect("the repository's own");
    let wrong = [
        (
            locomotive.replace("resolution = 0.1", "resolution = 0"),
            &["\"flow\"", "resolution", "expected 0.000001"][..],
        ),
        (locomotive.replace("id = 2", "id = 1"), &["1"]),
        (locomotive.replace("range = [0.0, 300.0]", "range = [300.0, 0.0]"), &["\"flow\"", "range"]),
        (locomotive.replace("[[sensors]]", "[[sensor]]"), &["sensor"]),
        (locomotive.replace("interval_seconds = 5.0", "interval_seconds = \"often\""), &["line", "interval_seconds"]),
        (locomotive[..300].to_owned(), &["line 5"]),
        (String::new(), &["name"]),
    ];
    for (text, named) in wrong {
        let mut home = Home::new();
        let path = home.file("machine.toml", text);
        home.set("CIDP_DEFINITION__PATH", &path);
        let outcome = home.run(&["serve"]);
        outcome.failed(1, &[&["machine.toml"], named].concat());
        assert!(!home.path().join("log").exists(), "nothing was begun: {}", outcome.stderr);
        home.run(&["bootstrap", "--out", "models"]).failed(1, &["machine.toml"]);
        assert!(!home.path().join("models").exists());
    }
}

#[test]
fn a_broken_table_names_line_and_column_and_makes_no_model() {
    let home = Home::without_model();
    let header = "locomotive_id,recorded_at,flow,pressure,vibration,temperature";
    let row = "CC-1,2026-02-01T08:00:00Z,120,7,2,45";
    let maintenance = format!("{REPOSITORY}/data/maintenance.csv");
    let train = |sensors: &str, maintenance: &str| -> Outcome {
        home.run(&["bootstrap", "--sensors", sensors, "--maintenance", maintenance, "--out", "models"])
    };
    let mut latin = format!("{header}\n{row}\n").into_bytes();
    latin.extend(b"CC-\xe9,2026-02-01T08:00:05Z,120,7,2,45\n");
    let wrong: [(Vec<u8>, &[&str]); 8] = [
        (
            format!("{header}\n{row}\nCC-1,2026-02-01T08:00:05Z,120,x,2,45\n").into(),
            &["line 3, column pressure: expected a number, got \"x\""],
        ),
        (format!("{header}\n{row}\nCC-1,yesterday,120,7,2,45\n").into(), &["line 3, column recorded_at", "yesterday"]),
        (format!("{header}\n{row}\nCC 1,2026-02-01T08:00:05Z,120,7,2,45\n").into(), &["line 3, column locomotive_id"]),
        (format!("{header}\n{row}\nCC-1,2026-02-01T08:00:05Z,301,7,2,45\n").into(), &["line 3", "flow", "0 to 300"]),
        (format!("{header}\n{row}\nCC-1,2026-02-01T08:00:05Z,120\n").into(), &["line 3", "expected 6 fields"]),
        ("locomotive_id,flow\nCC-1,120\n".into(), &["line 1", "recorded_at is missing"]),
        (latin, &["line 3", "expected UTF-8"]),
        (format!("{header}\n").into(), &["table.csv"]),
    ];
    for (text, named) in wrong {
        let table = home.file("table.csv", text);
        let outcome = train(&table, &maintenance);
        outcome.failed(1, &[&["table.csv"], named].concat());
        for part in named {
            assert_eq!(outcome.stderr.matches(part).count(), 1, "said once: {}", outcome.stderr);
        }
    }
    let sound = home.file("table.csv", format!("{header}\n{row}\n"));
    let works = home
        .file("works.csv", "locomotive_id,performed_at,kind,component,note\nCC-1,2026-02-01T08:00:00Z,magic,pump,\n");
    train(&sound, &works)
        .failed(1, &["works.csv", "line 2, column kind", "preventive, corrective or failure", "magic"]);
    train(&sound, &maintenance).failed(1, &["expected rows with and without a failure"]);
    train("nowhere.csv", &maintenance).failed(1, &["nowhere.csv"]);
    let torn = home.file("table.csv.gz", b"\x1f\x8bthis is no gzip");
    train(&torn, &maintenance).failed(1, &["table.csv.gz"]);
    assert!(!home.path().join("models").exists(), "no model was made of any of them");
    let produced = home.file("table.csv", format!("{header}\nCC-1,2026-02-01T08:00:05Z,120,x,2,45\n"));
    home.run(&["produce", "--csv", &produced]).failed(1, &["line 2, column pressure: expected a number"]);
}

#[test]
fn a_broken_model_is_refused_and_makes_no_log() {
    let card = std::fs::read_to_string(model().with_extension("json")).expect("the card");
    let onnx = std::fs::read(model()).expect("the model");
    let wrong: [(&[u8], &str, &[&str]); 4] = [
        (&onnx[..1_000], &card, &["model.onnx", "cidp bootstrap"]),
        (&onnx, "{", &["model.json", "expected a model card"]),
        (b"", &card, &["model.onnx"]),
        (&onnx, "{\"format\": 99}", &["model.json", "expected a model card"]),
    ];
    for (onnx, card, named) in wrong {
        let mut home = Home::new();
        let path = home.file("model.onnx", onnx);
        home.file("model.json", card);
        home.set("CIDP_MODEL__PATH", path);
        home.run(&["serve"]).failed(1, named);
        assert!(!home.path().join("log").exists(), "nothing was begun");
    }
    // Without a model and without tables there is nothing to serve with, and the way out is named.
    let home = Home::without_model();
    home.run(&["serve"]).failed(1, &["cidp bootstrap", "data/sensors.csv"]);
    assert!(!home.path().join("log").exists(), "nothing was begun");
}

#[test]
fn a_port_or_a_log_in_use_is_named() {
    let home = Home::new();
    let server = home.serve();
    let address = server.base().strip_prefix("http://").expect("a plain address");
    let mut other = Home::new();
    other.set("CIDP_HTTP__LISTEN", address);
    other.run(&["serve"]).failed(1, &[address, "http.listen"]);
    assert!(!other.path().join("log").exists(), "nothing was begun");
    other.set("CIDP_HTTP__LISTEN", "127.0.0.1:0");
    other.set("CIDP_MONITOR__LISTEN", address);
    other.run(&["serve"]).failed(1, &[address, "monitor.listen"]);

    // A second server on the same log is told who holds it; a question is passed on to the holder.
    home.run(&["serve"]).failed(1, &["in use by process", server.base(), "log.directory"]);
    server.client().post("/readings", &json!([sound("CC-1", now())])).expect(202);
    let asked = home.run(&["replay", "--at", &(now() + 1_000).to_string(), "CC-1", "--json"]);
    let twin: Value = serde_json::from_str(asked.succeeded()).expect("JSON");
    assert_eq!(twin["id"], "CC-1");
    assert_eq!(home.run(&["health", "--url", server.base()]).code, Some(0));
    server.stop("TERM");

    let mut home = home;
    home.set("CIDP_LOG__SHARDS", 3);
    home.run(&["serve"]).failed(1, &["created with 8 shards", "log.shards"]);
    let nothing = Home::new();
    nothing.run(&["replay", "--at", "2026-02-01T08:00:00Z"]).failed(1, &["there is no log yet"]);
    assert!(!nothing.path().join("log").exists(), "a question makes no log");
}

#[test]
fn every_command_shows_an_example() {
    let home = Home::without_model();
    let help = home.run(&["--help"]);
    let listed =
        help.succeeded().lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<_> =
        listed.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect();
    assert!(["bootstrap", "serve", "produce", "replay"].iter().all(|name| commands.contains(name)), "{commands:?}");
    for command in commands {
        let help = home.run(&[command, "--help"]);
        assert!(help.succeeded().contains("Example") && help.stdout.contains("cidp "), "{command}: {}", help.stdout);
    }
    assert!(home.run(&["config", "show", "--help"]).succeeded().contains("Example"));
}
