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
    assert_eq!(first["shards"].as_array().map(Vec::len), Some(9), "the shards and the log fleet");
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
    assert_eq!(shards.len(), 9);
    assert!(shards.iter().all(|shard| shard["records"] == shard["signed"]), "the end is signed: {shards:?}");
    let done = home.run(&["audit", "rescore", "--json"]);
    done.succeeded();
    assert_eq!(steps(&done).pop().expect("the end")["fitting"], 220);
    let one = home.run(&["audit", "rescore", "--json", "CC-1"]);
    one.succeeded();
    assert_eq!(steps(&one).pop().expect("the end")["fitting"], 60);
}

/// The engine's table of blocks in a log, to be changed behind the program's back.
struct Blocks {
    database: fjall::Database,
    table: fjall::Keyspace,
}

type Block = (Vec<u8>, Vec<u8>);
/// What is changed, how, and between which positions it must be found.
type Change<'a> = (&'a str, &'a dyn Fn(&Blocks), u64, u64);

impl Blocks {
    fn of(log: &Path) -> Self {
        let database = fjall::Database::builder(log.join("db")).open().expect("the engine opens it");
        let table = database.keyspace("blocks", fjall::KeyspaceCreateOptions::default).expect("blocks");
        Self { database, table }
    }

    /// The blocks of one shard, in order.
    fn of_shard(&self, shard: u16) -> Vec<Block> {
        let pairs = self.table.prefix(shard.to_be_bytes()).map(|guard| guard.into_inner().expect("read"));
        pairs.map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
    }

    fn put(&self, key: &[u8], value: &[u8]) {
        self.table.insert(key, value).expect("written");
    }

    fn remove(&self, key: &[u8]) {
        self.table.remove(key).expect("removed");
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        self.database.persist(fjall::PersistMode::SyncAll).expect("synced");
    }
}

/// The position at which a block begins.
fn first_of(block: &Block) -> u64 {
    u64::from_be_bytes(block.0[2..10].try_into().expect("shard and position"))
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("created");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

/// Shard and position of the one finding of `cidp audit verify`.
#[track_caller]
fn finding(outcome: &Outcome) -> (u64, u64, String) {
    outcome.failed(1, &[]);
    let found: Vec<_> = steps(outcome).into_iter().filter(|step| step["type"] == "finding").collect();
    assert_eq!(found.len(), 1, "{found:?}{}", outcome.stderr);
    let number = |name: &str| found[0][name].as_u64().unwrap_or_else(|| panic!("{found:?}"));
    (number("shard"), number("sequence"), found[0]["message"].as_str().expect("a message").to_owned())
}

#[test]
fn whatever_was_changed_in_the_log_is_found_with_its_place() {
    let mut home = Home::new();
    let server = home.serve();
    let client = server.client();
    for round in 0..6 {
        live(&client, START + round * 1_000 * STEP);
    }
    let shard = client.get("/twins/CC-1").expect(200)["shard"].as_u64().expect("a shard") as u16;
    let checkpoint = client.get("/audit/checkpoint?fresh=true").expect(200);
    let trusted = home.file("trusted.json", checkpoint.to_string());
    let (key, backup) = (key(&home), home.path().join("yard.cidp").display().to_string());
    server.stop("TERM");
    home.run(&["log", "backup", &backup]).succeeded();
    let sound = home.path().join("log");
    let blocks = Blocks::of(&sound).of_shard(shard);
    assert!(blocks.len() > 5, "several appends");
    let (early, late) = (blocks[2].clone(), blocks[4].clone());
    let end = client_end(&checkpoint, shard);

    let changed: [Change<'_>; 4] = [
        (
            "a changed byte",
            &|log| {
                let mut bytes = early.1.clone();
                let of_payload = bytes.len() - 40;
                bytes[of_payload] ^= 1;
                log.put(&early.0, &bytes);
            },
            first_of(&early),
            first_of(&blocks[3]) - 1,
        ),
        ("removed records", &|log| log.remove(&early.0), first_of(&early), first_of(&blocks[3])),
        (
            "a swapped pair",
            &|log| {
                log.put(&early.0, &late.1);
                log.put(&late.0, &early.1);
            },
            first_of(&early),
            first_of(&early),
        ),
        ("another record in its place", &|log| log.put(&early.0, &blocks[3].1), first_of(&early), first_of(&early)),
    ];
    for (nth, (name, change, from, to)) in changed.into_iter().enumerate() {
        let copy = home.path().join(format!("changed-{nth}"));
        copy_tree(&sound, &copy);
        change(&Blocks::of(&copy));
        home.set("CIDP_LOG__DIRECTORY", copy.display());
        let (found, position, message) = finding(&home.run(&["audit", "verify", "--json"]));
        assert!(found == u64::from(shard) && (from..=to).contains(&position), "{name}: {found}/{position}: {message}");
    }

    // A cut tail: refused because of HEAD; and once somebody has accepted the loss, found by the checkpoint.
    let copy = home.path().join("cut");
    copy_tree(&sound, &copy);
    let last = blocks.last().expect("blocks");
    Blocks::of(&copy).remove(&last.0);
    home.set("CIDP_LOG__DIRECTORY", copy.display());
    home.run(&["audit", "verify"]).failed(1, &[&format!("shard {shard} ends at {}", first_of(last) - 1)]);
    home.run(&["log", "repair", "--accept-loss"]).succeeded();
    let (found, position, message) = finding(&home.run(&["audit", "verify", "--json"]));
    assert_eq!((found, position), (u64::from(shard), first_of(last)), "{message}");
    assert!(message.contains("tail is cut"), "{message}");

    // The backup tells the same without a log, to our program and to the other one, and a changed byte in it is found.
    home.set("CIDP_LOG__DIRECTORY", home.path().join("nowhere").display());
    let arguments = ["audit", "verify", &backup, "--trusted", &trusted, "--key", &key, "--json"];
    let outcome = home.run(&arguments);
    outcome.succeeded();
    let done = steps(&outcome).pop().expect("the end");
    assert!(done["fitting"].as_u64().is_some_and(|roots| roots > 0), "{done}");
    let told = agrees(&["backup", &backup, "--trusted", &trusted, "--key", &key]);
    assert!(told.contains(&format!("shard {shard}: {end} records, the chain is whole, 1 signed roots fit")), "{told}");
    let mut bytes = std::fs::read(&backup).expect("the backup");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let damaged = home.file("damaged.cidp", &bytes);
    home.run(&["audit", "verify", &damaged]).failed(1, &["damaged"]);
    assert!(!independent(&["backup", &damaged]).0);
}

/// Records of a shard in a checkpoint.
fn client_end(checkpoint: &Value, shard: u16) -> u64 {
    let shards = checkpoint["shards"].as_array().expect("shards");
    let found = shards.iter().find(|root| root["shard"] == shard).expect("the shard");
    found["size"].as_u64().expect("a size")
}

/// Whoever holds the directory and the key writes another history and signs it: only what was kept elsewhere tells.
#[test]
fn a_log_that_was_rewritten_and_signed_anew_is_found_by_what_was_kept_elsewhere() {
    let mut home = Home::new();
    let server = home.serve();
    live(&server.client(), START);
    let trusted =
        home.file("trusted.json", server.client().get("/audit/checkpoint?fresh=true").expect(200).to_string());
    let key = key(&home);
    server.stop("TERM");
    let (sound, forged) = (home.path().join("log"), home.path().join("forged"));
    // Key and secret are the old ones, everything else is new.
    for part in ["audit/key", "texts"] {
        let (from, to) = (sound.join(part), forged.join(part));
        if from.is_dir() {
            copy_tree(&from, &to);
        } else {
            std::fs::create_dir_all(to.parent().expect("below the log")).expect("created");
            std::fs::copy(from, to).expect("copied");
        }
    }
    home.set("CIDP_LOG__DIRECTORY", forged.display());
    let server = home.serve();
    live(&server.client(), START + 7 * STEP);
    live(&server.client(), START + 7_000 * STEP);
    server.stop("TERM");

    home.run(&["audit", "verify"]).succeeded();
    home.run(&["audit", "verify", "--key", &key]).succeeded();
    let arguments = ["audit", "verify", "--trusted", &trusted, "--key", &key, "--json"];
    let outcome = home.run(&arguments);
    outcome.failed(1, &[]);
    let found: Vec<_> = steps(&outcome).into_iter().filter(|step| step["type"] == "finding").collect();
    assert!(
        !found.is_empty()
            && found
                .iter()
                .all(|step| step["message"].as_str().is_some_and(|text| text.contains("signed other records"))),
        "{found:?}"
    );
    let backup = home.path().join("forged.cidp").display().to_string();
    home.run(&["log", "backup", &backup]).succeeded();
    home.run(&["audit", "verify", &backup, "--trusted", &trusted, "--key", &key]).failed(1, &["does not fit"]);
    let (agrees, told) = independent(&["backup", &backup, "--trusted", &trusted, "--key", &key]);
    assert!(!agrees && told.contains("signed other records"), "{told}");

    // Signed with another key, it is found by the key alone.
    let stranger = home.file("stranger", "22".repeat(32));
    home.set("CIDP_AUDIT__KEY_FILE", &stranger);
    let server = home.serve();
    live(&server.client(), START + 9_000 * STEP);
    server.stop("TERM");
    let outcome = home.run(&["audit", "verify", "--key", &key]);
    outcome.failed(1, &[]);
    assert!(outcome.stdout.contains("is signed with the key"), "{}", outcome.stdout);
}

/// A server over a log that lost what was signed goes on recording, and signs nothing.
#[test]
fn an_altered_log_is_no_longer_signed() {
    let home = Home::new();
    let server = home.serve();
    live(&server.client(), START);
    server.stop("TERM");
    std::fs::remove_dir_all(home.path().join("log/db")).expect("removed");
    for file in ["META", "HEAD"] {
        std::fs::remove_file(home.path().join("log").join(file)).expect("removed");
    }
    let server = home.serve();
    let client = server.client();
    client.post("/readings", &Value::from(series(sound, "CC-9", START, 3))).expect(202);
    let refused = client.get("/audit/checkpoint?fresh=true").problem(503, "unavailable");
    assert!(refused["detail"].as_str().is_some_and(|text| text.contains("cidp audit verify")), "{refused}");
    server.kill();
}

#[test]
fn an_erased_text_is_nowhere_in_the_log_and_the_log_is_still_proven() {
    let home = Home::new();
    let server = home.serve();
    let client = server.client();
    live(&client, START);
    let comment = json!({"comment": "appelé Jean-Pierre Mbarga"});
    let alerts = client.get("/alerts").expect(200);
    let alert = alerts["items"][0]["id"].as_str().expect("CC-1 is in danger").to_owned();
    client.post(&format!("/alerts/{alert}/acknowledge"), &comment).expect(200);
    client.post("/twins/CC-3/failures", &json!({"component": "pump", "note": "signalé par Awa Ngono"})).expect(202);
    let names = ["Marie Essomba", "Mbarga", "Awa Ngono"];
    let log = home.path().join("log");
    assert!(names.iter().all(|name| holds(&log, name.as_bytes())), "while they are kept they are there");
    let version = |id: &str, kind: &str| {
        let events = client.get(&format!("/twins/{id}/events?type={kind}&limit=1000")).expect(200);
        events["items"][0]["version"].as_u64().expect("the event")
    };
    // No record names a person: neither the author nor what was written.
    let places = [("CC-2", "MaintenanceRecorded"), ("CC-1", "AlertAcknowledged"), ("CC-3", "FailureReported")];
    for (id, kind) in places {
        let proof = client.get(&format!("/audit/proof?locomotive={id}&version={}", version(id, kind))).expect(200);
        let payload = proof["payload"].as_str().expect("kept").to_owned();
        assert!(payload.contains(&hex("key:environment")) && payload.contains(&hex("note-")), "{kind}: opaque ids");
        assert!(names.iter().all(|name| !payload.contains(&hex(name))), "{kind}");
    }
    let path = format!("/twins/CC-2/events/{}/note", version("CC-2", "MaintenanceRecorded"));
    assert_eq!(client.ask("DELETE", &path).status, 204);
    assert_eq!(client.ask("DELETE", &path).status, 204, "what is gone stays gone");
    client.ask("DELETE", "/twins/CC-2/events/1/note").problem(404, "not-found");
    home.run(&["audit", "erase", "CC-1", &version("CC-1", "AlertAcknowledged").to_string()]).succeeded();
    let failure = version("CC-3", "FailureReported").to_string();
    server.stop("TERM");
    home.run(&["audit", "erase", "CC-3", &failure]).succeeded();
    home.run(&["audit", "erase", "CC-3", "1"]).failed(1, &["no event of version 1 with a text"]);
    for name in names {
        assert!(!holds(&log, name.as_bytes()), "{name} is left somewhere");
    }

    home.run(&["audit", "verify"]).succeeded();
    let server = home.serve();
    let told = server.client().get("/twins/CC-2/events?type=MaintenanceRecorded").expect(200);
    assert_eq!(told["items"][0]["data"]["note"], Value::Null);
    assert_eq!(told["items"][0]["data"]["component"], "bearing");
}

/// Whether some file below a directory holds these bytes.
fn holds(directory: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(directory).expect("a directory").any(|entry| {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            return holds(&path, bytes);
        }
        let content = std::fs::read(&path).expect("a file");
        content.windows(bytes.len()).any(|window| window == bytes)
    })
}

#[test]
fn scores_need_the_very_model_that_made_them() {
    let home = Home::new();
    let server = home.serve();
    live(&server.client(), START);
    let id = server.client().get("/model").expect(200)["id"].as_str().expect("an id").to_owned();
    server.stop("TERM");
    let kept = home.path().join(format!("log/models/{id}.onnx"));
    let sound = std::fs::read(&kept).expect("the model is kept by its id");
    let mut changed = sound.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    std::fs::write(&kept, &changed).expect("written");
    let outcome = home.run(&["audit", "rescore"]);
    outcome.failed(1, &[]);
    assert!(outcome.stdout.contains(&id) && outcome.stdout.contains("put its two files back"), "{}", outcome.stdout);
    std::fs::remove_file(&kept).expect("removed");
    let outcome = home.run(&["audit", "rescore", "CC-1"]);
    outcome.failed(1, &[]);
    assert!(outcome.stdout.contains(&id), "{}", outcome.stdout);
    std::fs::write(&kept, &sound).expect("put back");
    home.run(&["audit", "rescore"]).succeeded();
}
