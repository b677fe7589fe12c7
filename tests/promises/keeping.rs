//! The log is kept: backed up while it is written, restored elsewhere as the same log, told in figures; and a log of an earlier version is
//! opened, backed up and gone on with by this one.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::home::{Home, REPOSITORY};
use crate::ledger::{check_ledger, check_states, producers, seed};
use crate::readings::now;

/// All twins as the log itself tells them, with their state hashes.
fn twins(home: &Home, at: i64) -> Value {
    let replayed = home.run(&["replay", "--at", &at.to_string(), "--json"]);
    let fleet: Value = serde_json::from_str(replayed.succeeded()).expect("JSON");
    fleet["items"].clone()
}

fn json(home: &Home, arguments: &[&str]) -> Value {
    let outcome = home.run(&[arguments, &["--json"]].concat());
    serde_json::from_str(outcome.succeeded()).unwrap_or_else(|error| panic!("{error}: {}", outcome.stdout))
}

#[test]
fn a_running_log_is_backed_up_and_restored_as_the_same_log() {
    let home = Home::new();
    let mut producers = producers(2, seed("backup"));
    let server = home.serve();
    let client = server.client();
    let place = |name: &str| home.path().join(name).display().to_string();
    let (first, second, third) = (place("first.cidp"), place("second.cidp"), place("third.cidp"));
    producers[0].catch_up(&client);
    let note = serde_json::json!({"kind": "corrective", "component": "bearing", "note": "vu par Marie"});
    client.post("/twins/CC-00/maintenance", &note).expect(202);
    let send = |producers: &mut [crate::ledger::Producer]| {
        for producer in producers {
            for _ in 0..10 {
                producer.catch_up(&client);
            }
        }
    };
    // Each backup is made while the server takes readings; the command asks the server, which holds the log.
    let backup = |producers: &mut [crate::ledger::Producer], arguments: &[&str]| {
        std::thread::scope(|scope| {
            let command = scope.spawn(|| json(&home, &[&["log", "backup"], arguments].concat()));
            send(producers);
            command.join().expect("the command ended")
        })
    };
    let one = backup(&mut producers, &[&first]);
    let two = backup(&mut producers, &[&second, "--since", &first]);
    assert_eq!((&two["since"], &one["since"]), (&one["id"], &Value::Null));
    // The note, and the secret that salts the proofs of this log.
    assert!(one["texts"] == 2 && one["records"].as_u64() > Some(0), "{one:#}");
    let running = client.get("/log/stats").text();
    let running: Value = serde_json::from_str(running.lines().last().unwrap_or_default()).expect("JSON");
    server.stop("TERM");
    let three = json(&home, &["log", "backup", &third, "--since", &second, "--without-texts"]);
    assert_eq!(three["texts"], 0);

    let stats = json(&home, &["log", "stats"]);
    let acknowledged: usize = producers.iter().map(|producer| producer.acknowledged.len()).sum();
    assert_eq!(stats["readings"], acknowledged, "{stats:#}");
    assert_eq!(stats["readings"], running["readings"], "the server counts the same");
    assert_eq!((&stats["disk"]["target"], &stats["horizon"], &stats["texts"]), (&16.0.into(), &Value::Null, &2.into()));
    assert!(home.run(&["log", "stats", "--compact"]).succeeded().contains("bytes at rest (target: 16 at most)"));
    let rested = json(&home, &["log", "stats", "--compact"]);
    assert!(rested["disk"]["per_reading_at_rest"].as_f64() > Some(0.0), "{rested:#}");

    let mut elsewhere = Home::new();
    elsewhere.set("CIDP_LOG__DIRECTORY", elsewhere.path().join("restored").display());
    let restored = json(&elsewhere, &["log", "restore", &first, &second, &third]);
    let hash = |shard: &Value| shard["hash"].clone();
    let hashes = |shards: &Value| shards.as_array().expect("shards").iter().map(hash).collect::<Vec<_>>();
    assert_eq!(hashes(&restored["shards"]), hashes(&three["shards"]), "equal chain hashes");
    let at = now() + 1_000;
    assert_eq!(twins(&elsewhere, at), twins(&home, at), "equal states and state hashes");
    let server = elsewhere.serve();
    check_ledger(&server.client(), &producers);
    server.stop("TERM");

    home.run(&["log", "backup", &first]).failed(1, &["first.cidp", "never overwritten"]);
    elsewhere.run(&["log", "restore", &first]).failed(1, &["restored", "expected an empty directory"]);
    elsewhere.set("CIDP_LOG__DIRECTORY", elsewhere.path().join("gap").display());
    elsewhere.run(&["log", "restore", &first, &third]).failed(1, &["third.cidp", "a backup between them is missing"]);
    elsewhere.run(&["log", "stats"]).failed(1, &["a restore was interrupted"]);
    let mut bytes = std::fs::read(&first).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let damaged = home.file("damaged.cidp", bytes);
    elsewhere.set("CIDP_LOG__DIRECTORY", elsewhere.path().join("damaged").display());
    elsewhere.run(&["log", "restore", &damaged]).failed(1, &["damaged.cidp", "damaged at byte"]);
    home.run(&["log", "backup", &place("fourth.cidp"), "--since", &damaged]).failed(1, &["damaged at byte"]);
    assert!(!Path::new(&place("fourth.cidp")).exists() && !Path::new(&place("fourth.cidp.part")).exists());
}

/// Only an admin's key gets the log.
#[test]
fn a_backup_wants_the_admin() {
    let home = Home::new();
    let server = home.serve();
    let ask = |body: &str| server.client().post_bytes("/log/backups", "application/json", body.as_bytes());
    assert_eq!(ask("{}").status, 200);
    assert_eq!(ask("{\"texts\":1}").status, 422);
    assert_eq!(
        ask("{\"since\":{\"id\":\"x\",\"shards\":[]}}").problem(422, "unprocessable")["errors"][0]["path"],
        "since"
    );
    let other = format!("{{\"since\":{{\"id\":\"{}\",\"shards\":[]}}}}", "0".repeat(64));
    ask(&other).problem(409, "conflict");
    assert_eq!(server.client_with(None).get("/log/stats").status, 401);
    server.stop("TERM");
}

/// The log of an earlier version, as its program left it on the disk: opened, read, backed up and gone on with.
#[test]
fn a_log_of_version_one_is_gone_on_with() {
    let mut home = Home::new();
    home.set("CIDP_LOG__SHARDS", 2);
    let archive = format!("{REPOSITORY}/data/golden/v1/log.tar.gz");
    let unpacked = Command::new("tar").args(["-xzf", &archive, "-C"]).arg(home.path()).status();
    assert!(unpacked.expect("tar is there").success());

    let verified = json(&home, &["log", "repair"]);
    let records: Vec<_> = verified["shards"].as_array().expect("shards").iter().map(|s| s["records"].clone()).collect();
    assert_eq!(records, [46, 71, 0], "two shards and the log fleet");
    let stats = json(&home, &["log", "stats"]);
    assert_eq!((&stats["readings"], &stats["texts"]), (&601.into(), &1.into()), "{stats:#}");
    let first = home.path().join("v1.cidp").display().to_string();
    let made = json(&home, &["log", "backup", &first]);
    // The backup of that log as it is kept for ever gives the same log.
    let mut restored = Home::new();
    restored.set("CIDP_LOG__SHARDS", 2);
    restored.set("CIDP_LOG__DIRECTORY", restored.path().join("restored").display());
    let golden = format!("{REPOSITORY}/data/golden/v1/log.cidp");
    let golden = json(&restored, &["log", "restore", &golden]);
    let ends = |shards: &Value| -> Vec<Value> {
        shards.as_array().expect("shards").iter().map(|shard| shard["hash"].clone()).collect()
    };
    assert_eq!(ends(&golden["shards"]), ends(&made["shards"]));
    assert_eq!(twins(&restored, now()), twins(&home, now()));

    let server = home.serve();
    let client = server.client();
    for (id, version, level) in [("CC-2201", 23, "nominal"), ("CC-2202", 27, "watch"), ("BB-1001", 22, "nominal")] {
        let then = client.get(&format!("/twins/{id}?version={version}")).expect(200);
        assert_eq!((&then["level"], &then["version"]), (&level.into(), &version.into()), "{id}");
        let events = client.get(&format!("/twins/{id}/events?limit=1000")).expect(200);
        assert!(events["items"].as_array().is_some_and(|events| events.len() >= version), "{id}: all of its events");
    }
    let notes = client.get("/twins/CC-2202/events?type=MaintenanceRecorded").expect(200);
    assert_eq!(notes["items"][0]["data"]["note"], "palier remplacé", "{notes:#}");
    let mut producers = producers(1, 1);
    producers[0].catch_up(&client);
    check_ledger(&client, &producers);
    check_states(&client, &producers);
    server.stop("TERM");
    assert!(home.run(&["log", "repair"]).succeeded().contains("the chain is whole"));
}
