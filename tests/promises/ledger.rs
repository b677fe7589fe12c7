//! Producers that keep a ledger of what they sent and what was acknowledged, and the log held against it: nothing acknowledged is lost,
//! nothing is there twice, nothing is out of order.

use std::time::Duration;

use serde_json::{Value, json};

use crate::answers::{Answer, Client};
use crate::home::Server;
use crate::readings::{STEP, failing, ndjson, now, sound};

/// The first reading's time, 2026-02-01: far enough back that no load comes to the present.
const START: i64 = 1_769_932_800_000;
/// Locomotives of one producer; a batch has readings of all of them, so that it goes to several shards.
const LOCOMOTIVES: usize = 4;

/// Random numbers that a seed repeats (`SplitMix64`, Steele et al. 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// One producer and its ledger.
pub(crate) struct Producer {
    pub(crate) ids: Vec<String>,
    random: Random,
    next_at: i64,
    /// What was acknowledged, in the order in which it was sent.
    pub(crate) acknowledged: Vec<Value>,
    /// What was sent and not answered: it is sent again until it is, as every producer does.
    pub(crate) pending: Vec<Value>,
    /// Batches that the log had wholly or partly, though their answer was never heard.
    pub(crate) known_already: usize,
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
    pub(crate) fn produce(&mut self, client: &Client) {
        while let Ok(refused) = self.attempt(client) {
            if let Some(refused) = refused {
                assert!([429, 503].contains(&refused.status), "{}", refused.text());
            }
        }
    }

    /// Sends until something is refused, and gives the refusal. The connection must not break.
    pub(crate) fn produce_until_refused(&mut self, client: &Client) -> Answer {
        loop {
            match self.attempt(client).expect("the server lives") {
                Some(refused) if refused.status != 429 => return refused,
                _ => {}
            }
        }
    }

    /// Sends what is pending, or one batch; it must be taken.
    pub(crate) fn catch_up(&mut self, client: &Client) {
        loop {
            match self.attempt(client).expect("the server lives") {
                None => return,
                Some(refused) => assert_eq!(refused.status, 429, "{}", refused.text()),
            }
        }
    }

    /// Sends what is pending, or a new batch; gives the refusal where it was not taken.
    fn attempt(&mut self, client: &Client) -> Result<Option<Answer>, ureq::Error> {
        if self.pending.is_empty() {
            self.pending = self.batch();
        }
        let (kind, body) = if self.random.below(2) == 0 {
            ("application/x-ndjson", ndjson(&self.pending))
        } else {
            ("application/json", Value::from(self.pending.clone()).to_string().into_bytes())
        };
        let answer = client.send("POST", "/readings", &[("content-type", kind)], Some(&body))?;
        if answer.status != 202 {
            return Ok(Some(answer));
        }
        let receipt = answer.json();
        let count = |name: &str| receipt[name].as_u64().expect("a number");
        assert_eq!(receipt["rejected"], json!([]), "nothing was wrong with them");
        assert_eq!(count("accepted") + count("duplicates"), self.pending.len() as u64, "{receipt}");
        self.known_already += usize::from(count("duplicates") > 0);
        self.acknowledged.append(&mut self.pending);
        Ok(None)
    }
}

/// `count` producers that a seed repeats.
pub(crate) fn producers(count: usize, seed: u64) -> Vec<Producer> {
    (0..count).map(|number| Producer::new(number, seed)).collect()
}

/// The seed of this run, which is printed; `CIDP_TEST_SEED` repeats one.
pub(crate) fn seed(of: &str) -> u64 {
    let given = std::env::var("CIDP_TEST_SEED").ok();
    let seed = given.map_or_else(|| now() as u64, |text| text.parse().expect("CIDP_TEST_SEED is a whole number"));
    println!("CIDP_TEST_SEED={seed} repeats the moments of this run of {of}");
    seed
}

/// How many runs are asked for: `usual` in the tests of every commit, so many times more where `CIDP_TEST_TIMES` says so (`make torture`).
pub(crate) fn runs(usual: usize) -> usize {
    let times = std::env::var("CIDP_TEST_TIMES").ok();
    usual * times.map_or(1, |text| text.parse().expect("CIDP_TEST_TIMES is a whole number"))
}

/// Kills the server after a while, during which all producers send.
pub(crate) fn load_and_kill(server: Server, producers: &mut [Producer], after: Duration) {
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
pub(crate) fn recorded(client: &Client, id: &str) -> Vec<Value> {
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

pub(crate) fn check_ledger(client: &Client, producers: &[Producer]) {
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

/// What a live twin says is what its log says when it is folded again.
pub(crate) fn check_states(client: &Client, producers: &[Producer]) {
    for id in producers.iter().flat_map(|producer| &producer.ids) {
        let live = client.get(&format!("/twins/{id}"));
        if live.status != 404 {
            let live = live.expect(200);
            let folded = client.get(&format!("/twins/{id}?version={}", live["version"]));
            assert_eq!(folded.expect(200), live, "{id}: the live state is the log folded again");
        }
    }
}
