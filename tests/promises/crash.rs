//! No acknowledged reading is lost, doubled or moved: the program is killed at random moments under load, and in the midst of a recovery, a
//! snapshot, a backup and of retention; its log is then held against the ledger of what was sent. A second server that never crashed and
//! was told the same must have the same twins.

use std::time::Duration;

use serde_json::{Value, json};

use crate::faults;
use crate::home::Home;
use crate::ledger::{Producer, Random, check_ledger, check_states, load_and_kill, producers, runs, seed};
use crate::readings::{ndjson, now, series, sound};

/// How often it is killed in the tests of every commit. `make torture` asks for more.
const KILLS: usize = 20;
/// Kills of one log; then another one begins, so that checking stays as quick as it is.
const KILLS_OF_ONE: usize = 20;
const PRODUCERS: usize = 3;
/// How often it is killed while payloads are dropped.
const KILLS_OF_RETENTION: usize = 4;

/// In the midst of what it is killed.
#[derive(Debug, Clone, Copy)]
enum Midst {
    Load,
    Recovery,
    Snapshot,
    Backup,
}

const MIDSTS: [Midst; 4] = [Midst::Load, Midst::Recovery, Midst::Snapshot, Midst::Backup];

/// What a twin says of its machine, without what belongs to one log alone (versions, positions) or to the clock of its arrival.
fn machine(twin: &Value) -> Value {
    let names = [
        "level",
        "risk",
        "spread",
        "since",
        "reason",
        "contributions",
        "sensors",
        "position",
        "last_reading_at",
        "alert",
        "model",
    ];
    Value::Object(names.iter().map(|name| ((*name).to_owned(), twin[name].clone())).collect())
}

#[test]
fn kills_lose_nothing_and_double_nothing() {
    let seed = seed("kills");
    let kills = runs(KILLS);
    for (round, first) in (0..kills).step_by(KILLS_OF_ONE).enumerate() {
        kills_of_one_log(seed.wrapping_add(round as u64), KILLS_OF_ONE.min(kills - first));
    }
}

fn kills_of_one_log(seed: u64, kills: usize) {
    let home = Home::new();
    let mut producers = producers(PRODUCERS, seed);
    for kill in 0..kills {
        // Each kill has random numbers of its own, so that one can be told from the printed line alone.
        let mut random = Random(seed.wrapping_mul(1_000).wrapping_add(kill as u64));
        let midst = MIDSTS[kill % MIDSTS.len()];
        let after = Duration::from_millis(20 + random.below(700));
        println!("kill {kill}, seed {seed}: {midst:?} after {after:?}");
        kill_once(&home, midst, after, &mut random, &mut producers, kill);
    }
    let acknowledged: usize = producers.iter().map(|producer| producer.acknowledged.len()).sum();
    assert!(acknowledged > 50 * kills, "only {acknowledged} readings were acknowledged: this was no load");
    compare_with_one_that_never_crashed(&home, producers);
}

fn kill_once(home: &Home, midst: Midst, after: Duration, random: &mut Random, producers: &mut [Producer], kill: usize) {
    if matches!(midst, Midst::Recovery) {
        home.start_and_kill(Duration::from_millis(random.below(250)));
    }
    let server = home.serve();
    let client = server.client();
    check_ledger(&client, producers);
    check_states(&client, producers);
    match midst {
        Midst::Load | Midst::Recovery => load_and_kill(server, producers, after),
        // The clean end writes a snapshot of every shard.
        Midst::Snapshot => std::thread::scope(|scope| {
            for producer in producers {
                let client = client.clone();
                scope.spawn(move || producer.produce(&client));
            }
            std::thread::park_timeout(after);
            server.stop_and_kill(Duration::from_millis(random.below(120)));
        }),
        Midst::Backup => {
            let file = home.path().join(format!("kill-{kill}.cidp"));
            let path = file.display().to_string();
            let outcome = std::thread::scope(|scope| {
                let backup = scope.spawn(|| home.run(&["log", "backup", &path]));
                load_and_kill(server, producers, after);
                backup.join().expect("the command ended")
            });
            // A backup is there whole, or it is not there.
            assert_eq!(outcome.code == Some(0), file.exists(), "{}{}", outcome.stdout, outcome.stderr);
            if file.exists() {
                let mut elsewhere = Home::new();
                elsewhere.set("CIDP_LOG__DIRECTORY", elsewhere.path().join("log").display());
                elsewhere.run(&["log", "restore", &path]).succeeded();
            }
        }
    }
}

fn compare_with_one_that_never_crashed(home: &Home, mut producers: Vec<Producer>) {
    let server = home.serve();
    let client = server.client();
    check_ledger(&client, &producers);
    // The producers come back once more with what was never answered.
    for producer in &mut producers {
        if !producer.pending.is_empty() {
            let lines = ndjson(&producer.pending);
            let receipt = client.post_bytes("/readings", "application/x-ndjson", &lines).expect(202);
            assert_eq!(receipt["rejected"], json!([]));
            producer.acknowledged.append(&mut producer.pending);
        }
    }
    check_ledger(&client, &producers);
    println!(
        "{} readings; {} batches were durable before their answer was lost",
        producers.iter().map(|producer| producer.acknowledged.len()).sum::<usize>(),
        producers.iter().map(|producer| producer.known_already).sum::<usize>()
    );

    let calm = Home::new();
    let calm_server = calm.serve();
    let ids: Vec<_> = producers.iter().flat_map(|producer| &producer.ids).collect();
    for producer in &producers {
        for chunk in producer.acknowledged.chunks(997) {
            calm_server.client().post("/readings", &Value::from(chunk.to_vec())).expect(202);
        }
    }
    let mut hashes = Vec::new();
    for id in &ids {
        let live = client.get(&format!("/twins/{id}")).expect(200);
        let full = client.get(&format!("/twins/{id}?version={}", live["version"]));
        assert_eq!(full.expect(200), live, "{id}: the live state is the log folded from its beginning");
        hashes.push((full.header("x-state-hash").to_owned(), live["version"].clone()));
        let never_crashed = calm_server.client().get(&format!("/twins/{id}")).expect(200);
        assert_eq!(machine(&live), machine(&never_crashed), "{id}: a server that never crashed has the same twin");
    }
    server.stop("TERM");
    for (id, (hash, version)) in ids.iter().zip(&hashes) {
        let replayed = home.run(&["replay", "--at", &(now() + 1_000).to_string(), id, "--json"]);
        let twin: Value = serde_json::from_str(replayed.succeeded()).expect("JSON");
        if twin["version"] == *version {
            assert_eq!(twin["state_hash"], **hash, "{id}: the log read without a server gives the same state");
        } else {
            // Between the two questions the server may have noted that a locomotive fell silent, and nothing else.
            assert!(
                twin["version"].as_u64() > version.as_u64() && twin["signal_lost_at"].is_string(),
                "{id}: {twin:#}"
            );
        }
    }
}

/// Sixty days ago readings came in; today's server drops them, and is killed in the midst of it. The twins stay what they were, the chain
/// holds, and in the end nothing is left to drop.
#[test]
fn kills_while_payloads_are_dropped_change_no_state() {
    const DAYS: i64 = 60;
    let seed = seed("kills while payloads are dropped");
    let mut home = Home::new();
    faults::shift_clock(&mut home, -DAYS * 86_400);
    let then = now() - DAYS * 86_400_000;
    let server = home.serve();
    let ids: Vec<_> = (0..6).map(|number| format!("CC-{number}")).collect();
    for readings in [(20_000_000, 2_000), (9_000_000, 1_000)].map(|(ago, count)| (then - ago, count)) {
        for id in &ids {
            let readings = series(sound, id, readings.0, readings.1);
            server.client().post_bytes("/readings", "application/x-ndjson", &ndjson(&readings)).expect(202);
        }
    }
    let events = server.client().get("/twins/CC-1/events?type=TelemetryRecorded&limit=1").expect(200);
    let first = events["items"][0]["appended_at"].as_str().expect("a moment").to_owned();
    server.stop("TERM");
    let before = states(&home, &ids);

    faults::shift_clock(&mut home, 0);
    home.set("CIDP_LOG__RETENTION_DAYS", 30);
    for kill in 0..runs(KILLS_OF_RETENTION) {
        let mut random = Random(seed.wrapping_add(kill as u64));
        let after = Duration::from_millis(150 + random.below(450));
        println!("kill {kill}, seed {seed}: retention after {after:?}");
        home.start_and_kill(after);
        let repaired = home.run(&["log", "repair"]);
        assert!(repaired.succeeded().contains("the chain is whole"), "{}", repaired.stdout);
    }
    let server = home.serve();
    let client = server.client();
    let dropped = || {
        let stats = client.get("/log/stats").text();
        let stats: Value = serde_json::from_str(stats.lines().last().unwrap_or_default()).expect("JSON");
        (stats["disk"]["reclaimable"] == 0).then_some(stats)
    };
    let stats = crate::home::until(Duration::from_mins(1), "everything old is dropped", dropped);
    let telemetry = stats["kinds"].as_array().into_iter().flatten().find(|kind| kind["kind"] == "TelemetryRecorded");
    let telemetry = telemetry.expect("there is telemetry");
    assert_eq!((&telemetry["dropped"], &telemetry["bytes"]), (&telemetry["records"], &json!(0)), "{stats:#}");
    assert!(stats["disk"]["reclaimed"].as_u64() > Some(0) && stats["readings"] == 18_000, "{stats:#}");

    // What is older than the horizon is gone and says so; what the log decided then is still there.
    for path in ["/twins/CC-1", "/fleet"] {
        client.get(&format!("{path}?at={first}")).problem(410, "gone");
    }
    client.get("/twins/CC-1?version=2").problem(410, "gone");
    server.stop("TERM");
    let after = states(&home, &ids);
    for ((id, before), after) in ids.iter().zip(&before).zip(&after) {
        assert_eq!(machine(before)["sensors"], machine(after)["sensors"], "{id}");
        assert_eq!(before["last_reading_at"], after["last_reading_at"], "{id}");
    }
}

/// The newest state of each twin, read from the log itself.
fn states(home: &Home, ids: &[String]) -> Vec<Value> {
    let state = |id: &String| {
        let replayed = home.run(&["replay", "--at", &(now() + 1_000).to_string(), id, "--json"]);
        serde_json::from_str(replayed.succeeded()).expect("JSON")
    };
    ids.iter().map(state).collect()
}
