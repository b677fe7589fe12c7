//! A block: the stored form of consecutive records of one append. Where blocks are kept is the adapter's affair.
//!
//! Layout: format (1 byte, = 2), varints first sequence, number of records, append time, epoch, then the chain hash before the block, the
//! records, and the chain hash after it. A record: varints kind, earliest event time relative to the append, latest relative to the
//! earliest, length of the id (0: a record of the shard), id, version, then twice the length of the payload and the payload, or 1 and
//! the BLAKE3 of a payload that was dropped. Format 1 differs in that the length of the payload stands undoubled; it is still read.

use std::sync::Arc;

use bytes::Bytes;

use crate::hash::{self, ChainHash, Header};
use crate::port::{Millis, NewRecord, Payload, Record, Sequence, ShardId, Stream};
use crate::varint;

const FORMAT: u8 = 2;
/// Without dropped payloads.
const FORMAT_ONE: u8 = 1;
/// Stands for the length of a payload that was dropped.
const DROPPED: u64 = 1;
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
        let stream = record.stream.as_ref();
        chain = hash::link(&chain, &header_of(head, sequence, record), &record.payload);
        put_header(&mut body, head.appended_at, record.kind, record.occurred, stream);
        put_kept(&mut body, &record.payload);
        count += 1;
        if body.len() >= FULL || offset + 1 == records.len() {
            let bytes = close((first, count), (head.appended_at, head.epoch), &before, &body, &chain);
            blocks.push(Block { first, bytes });
            body.clear();
            (first, count, before) = (sequence + 1, 0, chain);
        }
    }
    (blocks, chain)
}

/// Encodes records of another log that were appended together, as they are.
pub(crate) fn encode_again(
    head: &AppendHead,
    records: &[Record],
    mut locate: impl FnMut(&Record, Sequence),
) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut body = Vec::new();
    let (mut first, mut count, mut before) = (head.first, 0, head.previous);
    for (offset, record) in records.iter().enumerate() {
        locate(record, first);
        put_header(&mut body, head.appended_at, record.kind, record.occurred, record.stream.as_ref());
        match &record.payload {
            Payload::Kept(payload) => put_kept(&mut body, payload),
            Payload::Dropped(digest) => {
                varint::put(&mut body, DROPPED);
                body.extend_from_slice(digest);
            }
        }
        count += 1;
        if body.len() >= FULL || offset + 1 == records.len() {
            let bytes = close((first, count), (head.appended_at, head.epoch), &before, &body, &record.hash);
            blocks.push(Block { first, bytes });
            body.clear();
            (first, count, before) = (record.sequence + 1, 0, record.hash);
        }
    }
    blocks
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

fn put_header(body: &mut Vec<u8>, appended_at: Millis, kind: u16, occurred: (Millis, Millis), stream: Option<&Stream>) {
    varint::put(body, u64::from(kind));
    varint::put_signed(body, occurred.0.wrapping_sub(appended_at));
    varint::put_signed(body, occurred.1.wrapping_sub(occurred.0));
    match stream {
        None => varint::put(body, 0),
        Some(stream) => {
            varint::put(body, stream.locomotive.len() as u64);
            body.extend_from_slice(stream.locomotive.as_bytes());
            varint::put(body, stream.version);
        }
    }
}

fn put_kept(body: &mut Vec<u8>, payload: &[u8]) {
    varint::put(body, (payload.len() as u64) << 1);
    body.extend_from_slice(payload);
}

fn close(
    (first, count): (Sequence, u64),
    (appended_at, epoch): (Millis, u64),
    before: &ChainHash,
    body: &[u8],
    after: &ChainHash,
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + 96);
    bytes.push(FORMAT);
    varint::put(&mut bytes, first);
    varint::put(&mut bytes, count);
    varint::put_signed(&mut bytes, appended_at);
    varint::put(&mut bytes, epoch);
    bytes.extend_from_slice(before);
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(after);
    bytes
}

/// A block read back, its chain recomputed.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) first: Sequence,
    pub(crate) appended_at: Millis,
    pub(crate) epoch: u64,
    pub(crate) before: ChainHash,
    pub(crate) after: ChainHash,
    /// At least one.
    pub(crate) records: Vec<Record>,
}

impl Opened {
    /// The position of its last record.
    pub(crate) fn last(&self) -> Sequence {
        self.first + self.records.len() as u64 - 1
    }

    /// The block again without the payloads of one kind up to a position; `None` where there is nothing to drop.
    pub(crate) fn without(&self, kind: u16, up_to: Sequence) -> Option<Lighter> {
        let mut lighter = Lighter::default();
        let mut body = Vec::new();
        for record in &self.records {
            put_header(&mut body, self.appended_at, record.kind, record.occurred, record.stream.as_ref());
            match &record.payload {
                Payload::Kept(payload) if record.kind != kind || record.sequence > up_to => {
                    put_kept(&mut body, payload);
                }
                payload => {
                    if let Payload::Kept(bytes) = payload {
                        lighter.records += 1;
                        lighter.dropped += bytes.len() as u64;
                    }
                    varint::put(&mut body, DROPPED);
                    body.extend_from_slice(&payload.digest());
                }
            }
        }
        let place = (self.first, self.records.len() as u64);
        lighter.bytes = close(place, (self.appended_at, self.epoch), &self.before, &body, &self.after);
        (lighter.records > 0).then_some(lighter)
    }
}

/// A block without some of its payloads.
#[derive(Debug, Default)]
pub(crate) struct Lighter {
    pub(crate) bytes: Vec<u8>,
    /// Records whose payload was dropped.
    pub(crate) records: u64,
    /// Bytes of those payloads.
    pub(crate) dropped: u64,
}

/// Reads a block and verifies its chain. The error names the position that does not fit.
pub(crate) fn open(shard: ShardId, expected_first: Sequence, bytes: &Bytes) -> Result<Opened, (Sequence, String)> {
    let damaged = |sequence: Sequence, what: &str| (sequence, what.to_owned());
    let short = |sequence: Sequence| (sequence, "the block ends too early".to_owned());
    let mut rest: &[u8] = bytes;
    let format = match varint::take_bytes(&mut rest, 1) {
        Some([format @ (FORMAT_ONE | FORMAT)]) => *format,
        other => return Err((expected_first, format!("expected block format {FORMAT}, got {other:?}"))),
    };
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
    let frame = Frame { shard, appended_at, format, block: bytes };
    for sequence in first..first.saturating_add(count) {
        let record = frame.take_record(sequence, &mut chain, &mut rest);
        records.push(record.ok_or_else(|| damaged(sequence, "the record cannot be decoded"))?);
    }
    let after = take_hash(&mut rest).ok_or_else(|| short(first + count - 1))?;
    if after != chain {
        return Err(damaged(first, "the records do not give the chain hash that the block ends with"));
    }
    if !rest.is_empty() {
        return Err(damaged(first + count - 1, "the block is longer than its records"));
    }
    Ok(Opened { first, appended_at, epoch, before, after, records })
}

/// What all records of a block share.
struct Frame<'a> {
    shard: ShardId,
    appended_at: Millis,
    format: u8,
    block: &'a Bytes,
}

impl Frame<'_> {
    fn take_record(&self, sequence: Sequence, chain: &mut ChainHash, rest: &mut &[u8]) -> Option<Record> {
        let (shard, appended_at) = (self.shard, self.appended_at);
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
        let payload = self.take_payload(rest)?;
        let (kind, occurred) = (kind, (first, last));
        let named = stream.as_ref().map(|stream| (&*stream.locomotive, stream.version));
        let header = Header { shard, sequence, appended_at, kind, occurred, stream: named };
        *chain = hash::link_digest(chain, &header, &payload.digest());
        Some(Record { shard, sequence, appended_at, stream, kind, occurred, payload, hash: *chain })
    }

    fn take_payload(&self, rest: &mut &[u8]) -> Option<Payload> {
        let length = varint::take(rest)?;
        let length = match (self.format, length) {
            (FORMAT_ONE, length) => length,
            (_, DROPPED) => return Some(Payload::Dropped(take_hash(rest)?)),
            (_, doubled) if doubled & 1 == 0 => doubled >> 1,
            _ => return None,
        };
        let bytes = varint::take_bytes(rest, usize::try_from(length).ok()?)?;
        Some(Payload::Kept(self.block.slice_ref(bytes)))
    }
}

fn take_hash(rest: &mut &[u8]) -> Option<ChainHash> {
    varint::take_bytes(rest, 32)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::GENESIS;

    fn records() -> Vec<NewRecord> {
        let record = |nth: u64| NewRecord {
            stream: (!nth.is_multiple_of(3))
                .then(|| Stream { locomotive: Arc::from(format!("L-{}", nth % 3)), version: nth / 3 + 1 }),
            kind: if nth.is_multiple_of(2) { 20 } else { 21 },
            occurred: (nth as i64 * 7 - 3, nth as i64 * 7),
            payload: Bytes::from(format!("payload {nth}")),
        };
        (0..9).map(record).collect()
    }

    fn stored(records: &[NewRecord]) -> (Bytes, ChainHash) {
        let head = AppendHead { shard: 3, first: 5, appended_at: 1_000, epoch: 2, previous: GENESIS };
        let (mut blocks, chain) = encode(&head, records, |_, _, _| {});
        (Bytes::from(blocks.remove(0).bytes), chain)
    }

    #[test]
    fn what_is_dropped_leaves_the_chain_as_it_was() {
        let records = records();
        let (bytes, chain) = stored(&records);
        let whole = open(3, 5, &bytes).expect("whole");
        let lighter = whole.without(20, 10).expect("three of kind 20 up to position 10");
        assert_eq!((lighter.records, lighter.dropped), (3, 27));
        let opened = open(3, 5, &Bytes::from(lighter.bytes)).expect("the chain holds");
        assert_eq!((opened.after, opened.last(), opened.epoch), (chain, 13, 2));
        for ((left, was), sent) in opened.records.iter().zip(&whole.records).zip(&records) {
            let dropped = sent.kind == 20 && left.sequence <= 10;
            assert_eq!((left.payload.kept().is_none(), left.hash), (dropped, was.hash));
            assert_eq!(left.payload.digest(), was.payload.digest());
        }
        assert!(opened.without(20, 10).is_none(), "nothing is left to drop");
        let more = opened.without(20, 13).expect("more of them");
        assert_eq!(more.records, 2);
    }

    /// As written before payloads could be dropped.
    #[test]
    fn format_one_is_read() {
        let (bytes, chain) = stored(&records());
        let mut old = bytes.to_vec();
        old[0] = FORMAT_ONE;
        for nth in 0..9 {
            let text = format!("payload {nth}");
            let at = old.windows(text.len()).position(|window| window == text.as_bytes()).expect("there");
            assert_eq!(old[at - 1], 18);
            old[at - 1] = 9;
        }
        assert_eq!(open(3, 5, &Bytes::from(old)).expect("readable").after, chain);
    }

    /// Every single changed bit is noticed.
    #[test]
    fn no_bit_can_be_changed() {
        let (bytes, _) = stored(&records());
        let (whole, start) = (open(3, 5, &bytes).expect("whole"), bytes.len() - 9 * 8);
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            if let Ok(opened) = open(3, 5, &Bytes::from(changed)) {
                // Epoch and chain before stand outside of this block's own chain: the store compares them with their neighbours.
                assert_eq!(opened.after, whole.after, "bit {bit} of {start}");
                assert_ne!(opened.epoch, whole.epoch, "bit {bit}");
            }
        }
    }
}
