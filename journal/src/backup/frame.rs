//! The parts of a backup as bytes; the layout stands in [`super`]. Everything read is bounded: nothing is believed before it was counted.

use std::io::{Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

use super::{Extent, Preamble};
use crate::hash::{self, ChainHash, Header};
use crate::port::{
    self, FLEET, Head, Horizon, Millis, Payload, Record, Sequence, ShardId, Snapshot, SnapshotEntry, Stream,
};
use crate::varint;

pub(super) const MAGIC: &[u8; 8] = b"CIDP-LOG";
pub(super) const FORMAT: u16 = 1;
/// Bytes before the first frame.
pub(super) const OPENING: usize = 10;

pub(super) const PREAMBLE: u8 = 1;
pub(super) const RECORDS: u8 = 2;
pub(super) const SNAPSHOT: u8 = 3;
pub(super) const TEXTS: u8 = 4;
pub(super) const END: u8 = 255;

/// Most bytes of a body once unpacked. A writer closes its frames long before.
pub(super) const MOST: usize = 64 << 20;
/// Bytes of one shard in the preamble.
const EXTENT: usize = 2 * 48 + 16;

/// The bytes before the first frame.
pub(super) fn opening() -> [u8; OPENING] {
    let mut bytes = [0; OPENING];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..].copy_from_slice(&FORMAT.to_be_bytes());
    bytes
}

/// The seal of a frame.
pub(super) fn seal(before: &[u8; 32], head: [u8; 5], body: &[u8]) -> [u8; 32] {
    *blake3::Hasher::new().update(before).update(&head).update(body).finalize().as_bytes()
}

/// Kind and length of a frame.
pub(super) fn head(kind: u8, length: usize) -> [u8; 5] {
    let length = (length as u32).to_be_bytes();
    [kind, length[0], length[1], length[2], length[3]]
}

pub(super) fn put_preamble(preamble: &Preamble) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + preamble.logs.len() * EXTENT);
    out.extend_from_slice(&preamble.made_at.to_be_bytes());
    out.extend_from_slice(&preamble.base.unwrap_or_default());
    out.extend_from_slice(&preamble.shards().to_be_bytes());
    for Extent { begin, end, horizon } in &preamble.logs {
        for mark in [begin, end] {
            out.extend_from_slice(&mark.sequence.to_be_bytes());
            out.extend_from_slice(&mark.hash);
            out.extend_from_slice(&mark.appended_at.to_be_bytes());
        }
        out.extend_from_slice(&horizon.sequence.to_be_bytes());
        out.extend_from_slice(&horizon.appended_at.to_be_bytes());
    }
    out
}

pub(super) fn take_preamble(mut body: &[u8]) -> Option<Preamble> {
    let rest = &mut body;
    let made_at = i64::from_be_bytes(array(rest)?);
    let base: [u8; 32] = array(rest)?;
    let count = u16::from_be_bytes(array(rest)?);
    let logs = usize::from(count) + 1;
    if count == 0 || count == FLEET || rest.len() != logs * EXTENT {
        return None;
    }
    let mut extents = Vec::with_capacity(logs);
    for _ in 0..logs {
        let (begin, end) = (take_mark(rest)?, take_mark(rest)?);
        let horizon =
            Horizon { sequence: u64::from_be_bytes(array(rest)?), appended_at: i64::from_be_bytes(array(rest)?) };
        if begin.sequence > end.sequence {
            return None;
        }
        extents.push(Extent { begin, end, horizon });
    }
    Some(Preamble { made_at, base: (base != [0; 32]).then_some(base), logs: extents })
}

fn take_mark(rest: &mut &[u8]) -> Option<Head> {
    Some(Head {
        sequence: u64::from_be_bytes(array(rest)?),
        hash: array(rest)?,
        appended_at: i64::from_be_bytes(array(rest)?),
    })
}

pub(super) fn array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    varint::take_bytes(rest, N)?.try_into().ok()
}

/// Packs a body.
pub(super) fn pack(plain: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new((plain.len() as u32).to_be_bytes().to_vec(), Compression::new(3));
    encoder.write_all(plain)?;
    encoder.finish()
}

/// Unpacks a body, never beyond [`MOST`].
pub(super) fn unpack(body: &[u8]) -> Result<Bytes, String> {
    let mut rest = body;
    let length = array(&mut rest).map(u32::from_be_bytes).ok_or("the frame is too short")? as usize;
    if length > MOST {
        return Err(format!("expected at most {MOST} bytes in one frame, got {length}"));
    }
    let mut plain = Vec::new();
    let mut decoder = ZlibDecoder::new(rest).take(length as u64 + 1);
    decoder.read_to_end(&mut plain).map_err(|error| format!("it cannot be unpacked: {error}"))?;
    if plain.len() != length || decoder.into_inner().total_in() != rest.len() as u64 {
        return Err(format!("expected {length} bytes unpacked, got {}", plain.len()));
    }
    Ok(Bytes::from(plain))
}

/// Consecutive records of one shard; `after` is the chain hash of the last.
pub(super) fn put_records(records: &[Record]) -> Vec<u8> {
    let Some((first, last)) = records.first().zip(records.last()) else {
        return Vec::new();
    };
    let mut out = Vec::with_capacity(records.iter().map(|record| record.payload.size() + 48).sum());
    varint::put(&mut out, u64::from(first.shard));
    varint::put(&mut out, first.sequence);
    varint::put(&mut out, records.len() as u64);
    let mut before = 0;
    for record in records {
        varint::put_signed(&mut out, record.appended_at.wrapping_sub(before));
        before = record.appended_at;
        varint::put(&mut out, u64::from(record.kind));
        varint::put_signed(&mut out, record.occurred.0.wrapping_sub(record.appended_at));
        varint::put_signed(&mut out, record.occurred.1.wrapping_sub(record.occurred.0));
        let (id, version) = record.stream.as_ref().map_or(("", 0), |stream| (&*stream.locomotive, stream.version));
        put_bytes(&mut out, id.as_bytes());
        varint::put(&mut out, version);
        match &record.payload {
            Payload::Kept(payload) => {
                varint::put(&mut out, payload.len() as u64 + 1);
                out.extend_from_slice(payload);
            }
            Payload::Dropped(digest) => {
                varint::put(&mut out, 0);
                out.extend_from_slice(digest);
            }
        }
    }
    out.extend_from_slice(&last.hash);
    out
}

/// What is wrong with records, and at which shard and position, where they are known.
pub(super) type Misfit = (Option<(ShardId, Sequence)>, String);

/// Reads records; `ends` gives the end of each shard so far.
pub(super) fn take_records(plain: &Bytes, ends: &[Head]) -> Result<Vec<Record>, Misfit> {
    let mut rest: &[u8] = plain;
    let short = || (None, "the records end too early".to_owned());
    let mut number = || varint::take(&mut rest).ok_or_else(short);
    let (shard, first, count) = (number()?, number()?, number()?);
    let shards = ends.len().saturating_sub(1);
    let known = ShardId::try_from(shard).ok().and_then(|shard| Some((shard, port::place(shard, shards as ShardId)?)));
    let (shard, place) = known.ok_or_else(|| (None, format!("expected a shard below {shards}, got {shard}")))?;
    let end = &ends[place];
    let at = |sequence: Sequence, message: &str| (Some((shard, sequence)), message.to_owned());
    if Some(first) != end.sequence.checked_add(1) || count == 0 || count > plain.len() as u64 {
        return Err(at(end.sequence.saturating_add(1), &format!("expected this record, got {count} from {first} on")));
    }
    let mut records = Vec::with_capacity(count.min(4_096) as usize);
    let (mut chain, mut appended_at, mut newest) = (end.hash, 0, end.appended_at);
    for sequence in first..first.saturating_add(count) {
        let record = take_record(plain, &mut rest, (shard, sequence), &mut appended_at, &mut chain);
        let record = record.ok_or_else(|| at(sequence, "the record cannot be decoded"))?;
        if record.appended_at < newest {
            return Err(at(sequence, "the append time runs backwards"));
        }
        newest = record.appended_at;
        records.push(record);
    }
    let after: Option<ChainHash> = array(&mut rest);
    if after != Some(chain) {
        return Err(at(first, "the records do not give the chain hash that they end with"));
    }
    if rest.is_empty() { Ok(records) } else { Err(at(first, "there is more than the records")) }
}

fn take_record(
    plain: &Bytes,
    rest: &mut &[u8],
    (shard, sequence): (ShardId, Sequence),
    appended_at: &mut Millis,
    chain: &mut ChainHash,
) -> Option<Record> {
    *appended_at = appended_at.wrapping_add(varint::take_signed(rest)?);
    let kind = u16::try_from(varint::take(rest)?).ok()?;
    let first = appended_at.wrapping_add(varint::take_signed(rest)?);
    let occurred = (first, first.wrapping_add(varint::take_signed(rest)?));
    let id = take_text(rest)?;
    let version = varint::take(rest)?;
    let stream = match (id, version) {
        ("", 0) => None,
        ("", _) | (_, 0) => return None,
        (id, version) if id.len() <= 255 => Some(Stream { locomotive: Arc::from(id), version }),
        _ => return None,
    };
    let payload = match varint::take(rest)? {
        0 => Payload::Dropped(array(rest)?),
        length => Payload::Kept(plain.slice_ref(varint::take_bytes(rest, usize::try_from(length - 1).ok()?)?)),
    };
    let named = stream.as_ref().map(|stream| (&*stream.locomotive, stream.version));
    let header = Header { shard, sequence, appended_at: *appended_at, kind, occurred, stream: named };
    *chain = hash::link_digest(chain, &header, &payload.digest());
    Some(Record { shard, sequence, appended_at: *appended_at, stream, kind, occurred, payload, hash: *chain })
}

/// Some entries of a snapshot.
pub(super) fn put_snapshot(snapshot: &Snapshot, entries: &[SnapshotEntry]) -> Vec<u8> {
    let mut out = Vec::new();
    varint::put(&mut out, u64::from(snapshot.shard));
    varint::put(&mut out, snapshot.sequence);
    varint::put_signed(&mut out, snapshot.appended_at);
    put_bytes(&mut out, &snapshot.manifest);
    varint::put(&mut out, entries.len() as u64);
    for entry in entries {
        put_bytes(&mut out, entry.locomotive.as_bytes());
        varint::put(&mut out, entry.version);
        varint::put(&mut out, entry.sequence);
        put_bytes(&mut out, &entry.state);
    }
    out
}

pub(super) fn take_snapshot(plain: &Bytes) -> Option<Snapshot> {
    let mut rest: &[u8] = plain;
    let shard = ShardId::try_from(varint::take(&mut rest)?).ok()?;
    let (sequence, appended_at) = (varint::take(&mut rest)?, varint::take_signed(&mut rest)?);
    let manifest = take_slice(plain, &mut rest)?;
    let count = varint::take(&mut rest)?;
    let mut entries = Vec::new();
    for _ in 0..count {
        let locomotive = Arc::from(take_text(&mut rest)?);
        let (version, sequence) = (varint::take(&mut rest)?, varint::take(&mut rest)?);
        entries.push(SnapshotEntry { locomotive, version, sequence, state: take_slice(plain, &mut rest)? });
    }
    rest.is_empty().then_some(Snapshot { shard, sequence, appended_at, manifest, entries })
}

pub(super) fn put_texts(texts: &[(String, String)]) -> Vec<u8> {
    let mut out = Vec::new();
    varint::put(&mut out, texts.len() as u64);
    for (id, text) in texts {
        put_bytes(&mut out, id.as_bytes());
        put_bytes(&mut out, text.as_bytes());
    }
    out
}

pub(super) fn take_texts(plain: &Bytes) -> Option<Vec<(String, String)>> {
    let mut rest: &[u8] = plain;
    let count = varint::take(&mut rest)?;
    let mut texts = Vec::new();
    for _ in 0..count {
        texts.push((take_text(&mut rest)?.to_owned(), take_text(&mut rest)?.to_owned()));
    }
    rest.is_empty().then_some(texts)
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    varint::put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let length = usize::try_from(varint::take(rest)?).ok()?;
    std::str::from_utf8(varint::take_bytes(rest, length)?).ok()
}

fn take_slice(plain: &Bytes, rest: &mut &[u8]) -> Option<Bytes> {
    let length = usize::try_from(varint::take(rest)?).ok()?;
    Some(plain.slice_ref(varint::take_bytes(rest, length)?))
}
