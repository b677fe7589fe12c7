//! A block: the stored form of consecutive records of one append. Where blocks are kept is the adapter's affair.
//!
//! Layout: format (1 byte, = 1), varints first sequence, number of records, append time, epoch, then the chain hash before the block, the
//! records, and the chain hash after it. A record: varints kind, earliest event time relative to the append, latest relative to the
//! earliest, length of the id (0: a record of the shard), id, version, length of the payload, payload.

use std::sync::Arc;

use bytes::Bytes;

use crate::hash::{self, ChainHash, Header};
use crate::port::{Millis, NewRecord, Record, Sequence, ShardId, Stream};
use crate::varint;

const FORMAT: u8 = 1;
/// A block is closed when it has grown to this size, so that reading one record never costs much more.
const FULL: usize = 32 * 1024;

/// A block made for storing.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) first: Sequence,
    pub(crate) bytes: Vec<u8>,
}

/// What all records of one append share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AppendHead {
    pub(crate) shard: ShardId,
    pub(crate) first: Sequence,
    pub(crate) appended_at: Millis,
    pub(crate) epoch: u64,
    pub(crate) previous: ChainHash,
}

/// Encodes an append as blocks; `locate` is told the block of every record. Gives the chain hash at the end too.
pub(crate) fn encode(
    head: &AppendHead,
    records: &[NewRecord],
    mut locate: impl FnMut(Sequence, &NewRecord, Sequence),
) -> (Vec<Block>, ChainHash) {
    let mut blocks = Vec::new();
    let mut body = Vec::with_capacity(FULL + 4_096);
    let (mut first, mut count) = (head.first, 0);
    let (mut before, mut chain) = (head.previous, head.previous);
    for (offset, record) in records.iter().enumerate() {
        let sequence = head.first + offset as u64;
        locate(sequence, record, first);
        chain = hash::link(&chain, &header_of(head, sequence, record), &record.payload);
        put_record(&mut body, head.appended_at, record);
        count += 1;
        if body.len() >= FULL || offset + 1 == records.len() {
            blocks.push(close(head, first, count, &before, &body, &chain));
            body.clear();
            (first, count, before) = (sequence + 1, 0, chain);
        }
    }
    (blocks, chain)
}

fn header_of<'a>(head: &AppendHead, sequence: Sequence, record: &'a NewRecord) -> Header<'a> {
    Header {
        shard: head.shard,
        sequence,
        appended_at: head.appended_at,
        kind: record.kind,
        occurred: record.occurred,
        stream: record.stream.as_ref().map(|stream| (&*stream.locomotive, stream.version)),
    }
}

fn put_record(body: &mut Vec<u8>, appended_at: Millis, record: &NewRecord) {
    varint::put(body, u64::from(record.kind));
    varint::put_signed(body, record.occurred.0.wrapping_sub(appended_at));
    varint::put_signed(body, record.occurred.1.wrapping_sub(record.occurred.0));
    match &record.stream {
        None => varint::put(body, 0),
        Some(stream) => {
            varint::put(body, stream.locomotive.len() as u64);
            body.extend_from_slice(stream.locomotive.as_bytes());
            varint::put(body, stream.version);
        }
    }
    varint::put(body, record.payload.len() as u64);
    body.extend_from_slice(&record.payload);
}

fn close(head: &AppendHead, first: Sequence, count: u64, before: &ChainHash, body: &[u8], after: &ChainHash) -> Block {
    let mut bytes = Vec::with_capacity(body.len() + 96);
    bytes.push(FORMAT);
    varint::put(&mut bytes, first);
    varint::put(&mut bytes, count);
    varint::put_signed(&mut bytes, head.appended_at);
    varint::put(&mut bytes, head.epoch);
    bytes.extend_from_slice(before);
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(after);
    Block { first, bytes }
}

/// A block read back, its chain recomputed.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) epoch: u64,
    pub(crate) before: ChainHash,
    pub(crate) after: ChainHash,
    pub(crate) records: Vec<Record>,
}

/// Reads a block and verifies its chain. The error names the position that does not fit.
pub(crate) fn open(shard: ShardId, expected_first: Sequence, bytes: &Bytes) -> Result<Opened, (Sequence, String)> {
    let damaged = |sequence: Sequence, what: &str| (sequence, what.to_owned());
    let short = |sequence: Sequence| (sequence, "the block ends too early".to_owned());
    let mut rest: &[u8] = bytes;
    match varint::take_bytes(&mut rest, 1) {
        Some([FORMAT]) => {}
        other => return Err((expected_first, format!("expected block format {FORMAT}, got {other:?}"))),
    }
    let mut number = || varint::take(&mut rest).ok_or_else(|| short(expected_first));
    let (first, count) = (number()?, number()?);
    let appended_at = varint::take_signed(&mut rest).ok_or_else(|| short(expected_first))?;
    let epoch = varint::take(&mut rest).ok_or_else(|| short(expected_first))?;
    let before = take_hash(&mut rest).ok_or_else(|| short(expected_first))?;
    if first != expected_first || count == 0 || count > bytes.len() as u64 {
        return Err(damaged(expected_first, "the block says another position than its key"));
    }
    let mut records = Vec::with_capacity(count as usize);
    let mut chain = before;
    for sequence in first..first + count {
        let record = take_record(shard, sequence, appended_at, &mut chain, bytes, &mut rest);
        records.push(record.ok_or_else(|| damaged(sequence, "the record cannot be decoded"))?);
    }
    let after = take_hash(&mut rest).ok_or_else(|| short(first + count - 1))?;
    if after != chain {
        return Err(damaged(first, "the records do not give the chain hash that the block ends with"));
    }
    if !rest.is_empty() {
        return Err(damaged(first + count - 1, "the block is longer than its records"));
    }
    Ok(Opened { epoch, before, after, records })
}

fn take_record(
    shard: ShardId,
    sequence: Sequence,
    appended_at: Millis,
    chain: &mut ChainHash,
    block: &Bytes,
    rest: &mut &[u8],
) -> Option<Record> {
    let kind = u16::try_from(varint::take(rest)?).ok()?;
    let first = appended_at.wrapping_add(varint::take_signed(rest)?);
    let last = first.wrapping_add(varint::take_signed(rest)?);
    let stream = match varint::take(rest)? {
        0 => None,
        length => {
            let id = std::str::from_utf8(varint::take_bytes(rest, usize::try_from(length).ok()?)?).ok()?;
            Some(Stream { locomotive: Arc::from(id), version: varint::take(rest)? })
        }
    };
    let length = usize::try_from(varint::take(rest)?).ok()?;
    let payload = block.slice_ref(varint::take_bytes(rest, length)?);
    let (kind, occurred) = (kind, (first, last));
    let header = Header {
        shard,
        sequence,
        appended_at,
        kind,
        occurred,
        stream: stream.as_ref().map(|stream| (&*stream.locomotive, stream.version)),
    };
    *chain = hash::link(chain, &header, &payload);
    Some(Record { shard, sequence, appended_at, stream, kind, occurred, payload, hash: *chain })
}

fn take_hash(rest: &mut &[u8]) -> Option<ChainHash> {
    varint::take_bytes(rest, 32)?.try_into().ok()
}
