//! No acknowledged reading is lost, doubled or moved: the program is killed ten times at random moments under load, and its log is then
//! held against the ledger of what was sent. A second server that never crashed and was told the same must have the same twins.

use std::time::Duration;

use serde_json::{Value, json};

use crate::answers::Client;
use crate::home::{Home, Server};
use crate::readings::{STEP, failing, ndjson, now, sound};

/// How often it is killed.
const KILLS: usize = 10;
/// The first reading's time, 2026-02-01: far enough back that no load comes to the present.
const START: i64 = 1_769_932_800_000;
const PRODUCERS: usize = 3;
/// Locomotives of one producer; a batch has readings of all of them, so that it goes to several shards.
const LOCOMOTIVES: usize = 4;

/// Random numbers that a seed repeats (`SplitMix64`, Steele et al. 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// One producer and its ledger.
struct Producer {
    ids: Vec<String>,
    random: Random,
    next_at: i64,
    /// What was acknowledged, in the order in which it was sent.
    acknowledged: Vec<Value>,
    /// What was sent and not answered: it is sent again until it is, as every producer does.
    pending: Vec<Value>,
    /// Batches that the log had wholly or partly, though their answer was never heard.
    known_already: usize,
}

impl Producer {
    fn new(number: usize, seed: u64) -> Self {
        let ids = (0..LOCOMOTIVES).map(|index| format!("CC-{number}{index}")).collect();
        let random = Random(seed.wrapping_add(number as u64 + 1));
        Self { ids, random, next_at: START, acknowledged: Vec::new(), pending: Vec::new(), known_already: 0 }
    }

    fn batch(&mut self) -> Vec<Value> {
        let mut readings = Vec::new();
        for _ in 0..=self.random.below(8) {
            for id in &self.ids {
                let make = if self.next_at / (STEP * 40) % 3 == 2 { failing } else { sound };
                readings.push(make(id, self.next_at));
            }
            self.next_at += STEP;
        }
        readings
    }

    /// Sends until the connection breaks.
    fn produce(&mut self, client: &Client) {
        loop {
            if self.pending.is_empty() {
                self.pending = self.batch();
            }
            let (kind, body) = if self.random.below(2) == 0 {
                ("application/x-ndjson", ndjson(&self.pending))
            } else {
                ("application/json", Value::from(self.pending.clone()).to_string().into_bytes())
            };
            match client.send("POST", "/readings", &[("content-type", kind)], Some(&body)) {
                Ok(answer) if answer.status == 202 => {
                    let receipt = answer.json();
                    let count = |name: &str| receipt[name].as_u64().expect("a number");
                    assert_eq!(receipt["rejected"], json!([]), "nothing was wrong with them");
                    assert_eq!(count("accepted") + count("duplicates"), self.pending.len() as u64, "{receipt}");
                    self.known_already += usize::from(count("duplicates") > 0);
                    self.acknowledged.append(&mut self.pending);
                }
                Ok(answer) => assert!([429, 503].contains(&answer.status), "{}", answer.text()),
                Err(_) => return,
            }
        }
    }
}

fn seed() -> u64 {
    let given = std::env::var("CIDP_TEST_SEED").ok();
    let seed = given.map_or_else(|| now() as u64, |text| text.parse().expect("CIDP_TEST_SEED is a whole number"));
    println!("CIDP_TEST_SEED={seed} repeats the moments of this run");
    seed
}

/// Kills the server after a while, during which all producers send.
fn load_and_kill(server: Server, producers: &mut [Producer], after: Duration) {
    let client = server.client();
    std::thread::scope(|scope| {
        for producer in producers {
            let client = client.clone();
            scope.spawn(move || producer.produce(&client));
        }
        // The moment itself is what is random here; nothing is waited for.
        std::thread::park_timeout(after);
        server.kill();
    });
}

/// The recorded readings of a locomotive as they were sent, from its whole history, whose versions must have no gap.
fn recorded(client: &Client, id: &str) -> Vec<Value> {
    let stream = client.get_with(&format!("/twins/{id}/events"), &[("accept", "application/x-ndjson")]);
    assert_eq!(stream.status, 200, "{id}: {}", stream.text());
    let mut readings = Vec::new();
    for (index, line) in stream.text().lines().enumerate() {
        let event: Value = serde_json::from_str(line).expect("a line is JSON");
        assert_eq!(event["version"], index as u64 + 1, "{id}: versions have no gap");
        readings.extend(event["data"]["readings"].as_array().into_iter().flatten().cloned());
    }
    readings
}

/// Of a reading what was sent: the values, and the time as text.
fn values(reading: &Value) -> Vec<Value> {
    let names = ["flow", "pressure", "vibration", "temperature", "latitude", "longitude", "speed"];
    names.iter().map(|name| reading[name].clone()).collect()
}

fn check_ledger(client: &Client, producers: &[Producer]) {
    for producer in producers {
        for id in &producer.ids {
            let sent = producer
                .acknowledged
                .iter()
                .chain(&producer.pending)
                .filter(|reading| reading["locomotive_id"] == **id);
            let sent: Vec<_> = sent.collect();
            let least = producer.acknowledged.iter().filter(|reading| reading["locomotive_id"] == **id).count();
            let found = if least == 0 && client.get(&format!("/twins/{id}")).status == 404 {
                Vec::new()
            } else {
                recorded(client, id)
            };
            assert!(found.len() >= least, "{id}: {least} readings were acknowledged, {} are there", found.len());
            assert!(found.len() <= sent.len(), "{id}: {} readings were sent, {} are there", sent.len(), found.len());
            for (index, (sent, found)) in sent.iter().zip(&found).enumerate() {
                assert_eq!(values(sent), values(found), "{id}: reading {index} is another one");
                assert_eq!(found["late"], false, "{id}: reading {index} is out of order");
            }
        }
    }
}

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
fn ten_kills_lose_nothing_and_double_nothing() {
    let seed = seed();
    let mut random = Random(seed);
    let home = Home::new();
    let mut producers: Vec<_> = (0..PRODUCERS).map(|number| Producer::new(number, seed)).collect();
    for kill in 0..KILLS {
        if kill % 3 == 2 {
            // A recovery may be cut off as well.
            home.start_and_kill(Duration::from_millis(random.below(250)));
        }
        let server = home.serve();
        check_ledger(&server.client(), &producers);
        let after = Duration::from_millis(20 + random.below(1_200));
        load_and_kill(server, &mut producers, after);
    }
    let acknowledged: usize = producers.iter().map(|producer| producer.acknowledged.len()).sum();
    assert!(acknowledged > 1_000, "only {acknowledged} readings were acknowledged: this was no load");

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
        "{acknowledged} readings over {KILLS} kills; {} batches were durable before their answer was lost",
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
