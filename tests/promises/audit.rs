//! What an auditor is promised: signed checkpoints, proofs that tell nothing of others, a log and a backup that cannot be changed unseen,
//! scores that can be computed again, texts that are gone once they are erased; and that all this can be checked without our program.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::answers::Client;
use crate::home::{Home, Outcome, REPOSITORY};
use crate::readings::{STEP, failing, series, sound};

/// 2026-02-01.
const START: i64 = 1_769_932_800_000;

/// The Python of the tools, which has the packages of `tools/audit.py`.
fn python() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("below the target directory");
    target.join("tools/python/bin/python")
}

/// Runs the verifier that is not ours.
fn independent(arguments: &[&str]) -> (bool, String) {
    let script = format!("{REPOSITORY}/tools/audit.py");
    let output = Command::new(python()).arg(script).args(arguments).output();
    let output = output.expect("tools/install test has made the Python environment");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!error.contains("Traceback") && output.status.code() != Some(2), "{error}");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[track_caller]
fn agrees(arguments: &[&str]) -> String {
    let (agrees, told) = independent(arguments);
    assert!(agrees, "{told}");
    told
}

/// Life in several shards: readings of a sound and of a failing machine, and what people did.
fn live(client: &Client, start: i64) {
    let mut readings = Vec::new();
    for id in ["CC-1", "CC-2", "CC-3", "CC-4", "CC-5"] {
        readings.extend(series(sound, id, start, 40));
    }
    readings.extend(series(failing, "CC-1", start + 40 * STEP, 20));
    client.post("/readings", &Value::from(readings)).expect(202);
    let work = json!({"kind": "corrective", "component": "bearing", "note": "vu par Marie Essomba"});
    client.post("/twins/CC-2/maintenance", &work).expect(202);
}

fn key(home: &Home) -> String {
    home.run(&["audit", "key"]).succeeded().trim().to_owned()
}

/// Every line of JSON that a command told.
fn steps(outcome: &Outcome) -> Vec<Value> {
    outcome.stdout.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

#[test]
fn a_checkpoint_is_signed_and_the_next_goes_on_from_it() {
    let mut home = Home::new();
    let copies = home.path().join("copies.jsonl");
    home.set("CIDP_AUDIT__CHECKPOINTS", copies.display());
    let server = home.serve();
    let client = server.client();
    live(&client, START);
    let first = client.get("/audit/checkpoint?fresh=true").expect(200);
    assert_eq!(client.get("/audit/checkpoint").expect(200), first, "nothing was appended since");
    assert_eq!(first["shards"].as_array().map(Vec::len), Some(8));
    live(&client, START + 1_000 * STEP);
    let second = client.get("/audit/checkpoint?fresh=true").expect(200);
    assert_eq!(second["number"].as_u64(), first["number"].as_u64().map(|number| number + 1));
    assert_eq!(client.get(&format!("/audit/checkpoint?number={}", first["number"])).expect(200), first);
    client.get("/audit/checkpoint?number=999").problem(404, "not-found");

    let key = key(&home);
    let file = home.file("first.json", first.to_string());
    agrees(&["checkpoint", &file, &copies.display().to_string(), "--key", &key]);
    let path = format!("/audit/consistency?from={}&to={}", first["number"], second["number"]);
    let consistency = client.get(&path).expect(200);
    let file = home.file("consistency.json", consistency.to_string());
    assert!(agrees(&["consistency", &file, "--key", &key]).contains("nothing that was signed has changed"));
    let mut forged = consistency;
    let grown =
        forged["shards"].as_array_mut().expect("shards").iter_mut().find(|shard| shard["first"] != shard["second"]);
    grown.expect("a shard has grown")["proof"][0] = "00".repeat(32).into();
    let file = home.file("forged.json", forged.to_string());
    assert!(!independent(&["consistency", &file, "--key", &key]).0, "a forged proof");

    let other = "11".repeat(32);
    assert!(
        !independent(&["checkpoint", &home.file("first.json", first.to_string()), "--key", &other]).0,
        "another key"
    );
    server.stop("TERM");
    let last = std::fs::read_to_string(&copies).expect("copies").lines().count();
    assert!(last > 2, "the end of the server is signed as well");
}

#[test]
fn one_event_is_proven_and_nothing_is_told_of_others() {
    let home = Home::new();
    let server = home.serve();
    let client = server.client();
    live(&client, START);
    let key = key(&home);
    let versions = client.get("/twins/CC-1").expect(200)["version"].as_u64().expect("a version");
    for version in [1, versions / 2 + 1, versions] {
        let proof = client.get(&format!("/audit/proof?locomotive=CC-1&version={version}"));
        for other in ["CC-2", "CC-3", "CC-4", "CC-5"] {
            assert!(!proof.text().contains(other) && !proof.text().contains(&hex(other)), "{}", proof.text());
        }
        let file = home.file("proof.json", proof.expect(200).to_string());
        assert!(agrees(&["proof", &file, "--key", &key]).contains(&format!("CC-1 version {version}")));
        let tampered = [("payload_hash", "payload"), ("header", "other event"), ("salt", "path")];
        for (field, named) in tampered {
            let mut forged = proof.json();
            let text = forged[field].as_str().expect("hexadecimal").to_owned();
            let last = if text.ends_with('0') { "1" } else { "0" };
            forged[field] = format!("{}{last}", &text[..text.len() - 1]).into();
            let (agrees, told) = independent(&["proof", &home.file("forged.json", forged.to_string()), "--key", &key]);
            assert!(!agrees, "{field} was changed ({named}): {told}");
        }
    }
    // What was appended after the newest checkpoint is covered by one made for the question.
    client.post("/readings", &Value::from(series(sound, "CC-1", START + 100 * STEP, 1))).expect(202);
    let newest = client.get(&format!("/audit/proof?locomotive=CC-1&version={}", versions + 1)).expect(200);
    agrees(&["proof", &home.file("proof.json", newest.to_string()), "--key", &key]);
    client.get("/audit/proof?locomotive=CC-1&version=9999").problem(404, "not-found");
    client.get("/audit/proof?locomotive=CC-404&version=1").problem(404, "not-found");
}

fn hex(text: &str) -> String {
    text.bytes().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

#[test]
fn a_whole_log_is_verified_with_and_without_a_server() {
    let home = Home::new();
    let server = home.serve();
    live(&server.client(), START);
    server.client().get("/audit/checkpoint?fresh=true").expect(200);
    let asked = home.run(&["audit", "verify", "--json"]);
    asked.succeeded();
    let done = steps(&asked).pop().expect("the end");
    assert_eq!((done["type"].as_str(), done["findings"].as_u64()), (Some("done"), Some(0)), "{done}");
    assert!(done["fitting"].as_u64().is_some_and(|roots| roots > 0), "{done}");
    let again = home.run(&["audit", "rescore", "--json"]);
    again.succeeded();
    let done = steps(&again).pop().expect("the end");
    assert_eq!((done["findings"].as_u64(), done["fitting"].as_u64()), (Some(0), Some(220)), "every score: {done}");
    server.stop("TERM");

    let verified = home.run(&["audit", "verify", "--json"]);
    verified.succeeded();
    let told = steps(&verified);
    let shards: Vec<_> = told.iter().filter(|step| step["type"] == "shard").collect();
    assert_eq!(shards.len(), 8);
    assert!(shards.iter().all(|shard| shard["records"] == shard["signed"]), "the end is signed: {shards:?}");
    let done = home.run(&["audit", "rescore", "--json"]);
    done.succeeded();
    assert_eq!(steps(&done).pop().expect("the end")["fitting"], 220);
    let one = home.run(&["audit", "rescore", "--json", "CC-1"]);
    one.succeeded();
    assert_eq!(steps(&one).pop().expect("the end")["fitting"], 60);
}
