//! Everything that reads bytes from elsewhere, as functions that must neither panic nor take more time or memory than the bytes are worth.
//! The fuzz targets call them, and so does a test of the program (`src/corpus.rs`) with every file of `corpus/`.

use std::sync::Arc;

use journal::backup::Reader;
use journal::port::{Journal, NewRecord, Snapshot, SnapshotEntry};
use models::artefact::Artefact;
use models::card::Card;
use models::forest::Forest;
use models::model::Model;
use twin::codec;
use twin::definition::Definition;
use twin::fold::{Blueprint, Blueprints};
use twin::instant::Millis;
use twin::wire;

/// 2026-02-01T08:00:00Z.
const NOW: Millis = 1_769_932_800_000;

fn blueprint() -> Arc<Blueprint> {
    static TEXT: &str = include_str!("../data/locomotive.toml");
    Arc::new(Blueprint::new(Definition::parse(TEXT).expect("the definition of the repository")))
}

/// A reading as it comes over HTTP, and a question without id and time.
pub(crate) fn readings(bytes: &[u8]) {
    let blueprint = blueprint();
    if let Ok(addressed) = wire::decode(bytes, &blueprint.definition, NOW, None) {
        assert!(addressed.reading.check(&blueprint.definition).is_ok(), "what was decoded was checked");
    }
    drop(wire::decode_values(bytes, &blueprint.definition, NOW));
    drop(Definition::parse(&String::from_utf8_lossy(bytes)));
}

/// Payloads of all kinds of record: two bytes of kind, then the payload. What is read is written the same again, or read the same from what
/// was written.
pub(crate) fn events(bytes: &[u8]) {
    let Some((kind, payload)) = bytes.split_at_checked(2) else { return };
    let kind = u16::from_be_bytes([kind[0], kind[1]]);
    let blueprint = blueprint();
    let mut blueprints = Blueprints::default();
    blueprints.add(Arc::clone(&blueprint));
    if let Ok((event, cause)) = codec::decode_event(kind, payload, &blueprints) {
        let written = codec::encode_event(&event, &cause, &blueprint.definition);
        let again = codec::decode_event(codec::kind_of(&event), &written, &blueprints);
        let again = again.expect("what was written is read");
        assert_eq!(written, codec::encode_event(&again.0, &again.1, &blueprint.definition), "kind {kind}");
        let mut state = twin::state::TwinState::new();
        drop(blueprints.fold(&mut state, &event, &cause));
    }
    if let Ok(event) = codec::decode_shard_event(kind, payload) {
        let (kind, written) = codec::encode_shard_event(&event);
        assert_eq!(codec::decode_shard_event(kind, &written), Ok(event));
    }
    if let Ok((event, cause)) = codec::decode_fleet_event(kind, payload) {
        let (kind, written) = codec::encode_fleet_event(&event, &cause);
        assert_eq!(codec::decode_fleet_event(kind, &written), Ok((event, cause)));
    }
    drop(journal::kinds::ShardOpened::from_payload(payload));
}

/// Stored blocks of records.
pub(crate) fn blocks(bytes: &[u8]) {
    journal::fuzz::block(bytes);
}

/// The state of a twin, and a snapshot whose manifest and entry are these bytes (two bytes of length, manifest, entry).
pub(crate) fn snapshots(bytes: &[u8]) {
    if let Ok(state) = codec::decode_state(bytes) {
        let written = codec::encode_state(&state);
        let again = codec::decode_state(&written).expect("what was written is read");
        assert_eq!(written, codec::encode_state(&again));
    }
    let Some((length, rest)) = bytes.split_at_checked(2) else { return };
    let length = usize::from(u16::from_be_bytes([length[0], length[1]])).min(rest.len());
    let (manifest, entry) = rest.split_at(length);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime of one thread");
    runtime.block_on(async {
        let log = Arc::new(journal::MemoryJournal::with_clock(1, Arc::new(|| NOW)));
        let claim = log.claim(0, "fuzz").await.expect("a claim");
        let folded = codec::encode_shard_event(&twin::event::ShardEvent::BatchFolded {
            topic: String::new(),
            partition: 0,
            offsets: (0, 0),
            accepted: 0,
            refused: 0,
            duplicate: 0,
        });
        let (kind, payload) = (folded.0, folded.1.into());
        let record = NewRecord { stream: None, kind, occurred: (NOW, NOW), payload };
        log.append(&claim, claim.opened_at, vec![record]).await.expect("appended");
        let entries = vec![SnapshotEntry {
            locomotive: Arc::from("CC-1"),
            version: 1,
            sequence: 2,
            state: entry.to_vec().into(),
        }];
        let manifest = manifest.to_vec().into();
        let snapshot = Snapshot { shard: 0, sequence: 2, appended_at: NOW, manifest, entries };
        log.put_snapshot(snapshot).await.expect("kept");
        let past = actors::Past::new(log, blueprint());
        drop(past.fleet_at(actors::FleetAt::Time(NOW), |_| {}).await);
    });
}

/// A backup as it is, and one whose frames are these bytes: kind, two bytes of length, what is unpacked, again and again. Those are packed
/// and sealed first, which no mutation would hit upon.
pub(crate) fn backups(bytes: &[u8]) {
    for file in [bytes.to_vec(), journal::fuzz::sealed(bytes)] {
        if let Ok(reader) = Reader::open(&file[..])
            && let Ok(summary) = reader.finish(|_| {})
        {
            assert_eq!(summary.bytes, file.len() as u64, "a whole backup is read to its end");
        }
    }
}

/// A model file alone, a card alone, and both (two bytes of length, card, file).
pub(crate) fn models(bytes: &[u8]) {
    if let Ok(trees) = models::onnx::read(bytes)
        && let Ok(forest) = Forest::compile(&trees)
    {
        drop(forest);
    }
    drop(serde_json::from_slice::<Card>(bytes));
    let Some((length, rest)) = bytes.split_at_checked(2) else { return };
    let length = usize::from(u16::from_be_bytes([length[0], length[1]])).min(rest.len());
    let (card, onnx) = rest.split_at(length);
    if let Ok(card) = serde_json::from_slice::<Card>(card) {
        drop(Model::new(&Artefact { onnx: onnx.to_vec(), card }, &blueprint()));
    }
}

/// One of them.
pub(crate) type Entry = fn(&[u8]);

/// All of them by name.
pub(crate) const ALL: [(&str, Entry); 6] = [
    ("readings", readings),
    ("events", events),
    ("blocks", blocks),
    ("snapshots", snapshots),
    ("backups", backups),
    ("models", models),
];
