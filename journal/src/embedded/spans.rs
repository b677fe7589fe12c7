//! Where the records of a locomotive lie: a span for each run of versions in one block, and rows of spans as they are kept on the disk.

use std::sync::Arc;

use crate::port::{Millis, Sequence, ShardId, Stream};
use crate::varint;

/// Consecutive versions of one locomotive at consecutive positions of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// Its first version.
    pub(super) version: u64,
    /// How many versions; at least one.
    pub(super) count: u64,
    /// Position of the first.
    pub(super) sequence: Sequence,
    /// First position of the block.
    pub(super) block: Sequence,
    pub(super) appended_at: Millis,
    /// Earliest and latest event time of all of them.
    pub(super) occurred: (Millis, Millis),
}

impl Span {
    /// The last version.
    pub(super) const fn end(&self) -> u64 {
        self.version + self.count - 1
    }

    pub(super) const fn meets(&self, from: Millis, to: Millis) -> bool {
        meets(self.occurred, from, to)
    }
}

/// Whether a range of event times meets another.
pub(super) const fn meets(occurred: (Millis, Millis), from: Millis, to: Millis) -> bool {
    occurred.0 <= to && occurred.1 >= from
}

fn joined(a: (Millis, Millis), b: (Millis, Millis)) -> (Millis, Millis) {
    (a.0.min(b.0), a.1.max(b.1))
}

/// The spans of an append, in the order of their positions.
#[derive(Debug, Default)]
pub(super) struct Spans {
    pub(super) found: Vec<(Arc<str>, Span)>,
}

impl Spans {
    /// Adds a record.
    pub(super) fn add(
        &mut self,
        stream: &Stream,
        (sequence, block): (Sequence, Sequence),
        appended_at: Millis,
        occurred: (Millis, Millis),
    ) {
        if let Some((id, last)) = self.found.last_mut()
            && last.end() + 1 == stream.version
            && last.sequence + last.count == sequence
            && (last.block, last.appended_at) == (block, appended_at)
            && *id == stream.locomotive
        {
            last.count += 1;
            last.occurred = joined(last.occurred, occurred);
            return;
        }
        let span = Span { version: stream.version, count: 1, sequence, block, appended_at, occurred };
        self.found.push((Arc::clone(&stream.locomotive), span));
    }
}

/// Rows that are told apart from all others at once: the event times of up to [`ZONE_ROWS`] rows in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Zone {
    /// First version of its first row.
    pub(super) version: u64,
    pub(super) rows: u64,
    /// Earliest and latest event time of its rows.
    pub(super) occurred: (Millis, Millis),
}

/// Rows in a zone.
const ZONE_ROWS: u64 = 128;

/// Spans of one locomotive in the order of their versions, as one value of the index. Its key is the first version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) shard: ShardId,
    /// Its zone up to and with this row. A search that goes back from here skips to before the zone's first version at once.
    pub(super) zone: Zone,
    /// At least one.
    pub(super) spans: Vec<Span>,
}

impl Row {
    /// The row that comes after the zone so far.
    pub(super) fn after(shard: ShardId, zone: Option<Zone>, spans: Vec<Span>) -> Self {
        let occurred = spans.iter().map(|span| span.occurred).reduce(joined).unwrap_or_default();
        let version = spans.first().map_or(0, |span| span.version);
        let zone = match zone {
            Some(zone) if zone.rows < ZONE_ROWS => {
                Zone { rows: zone.rows + 1, occurred: joined(zone.occurred, occurred), ..zone }
            }
            Some(_) | None => Zone { version, rows: 1, occurred },
        };
        Self { shard, zone, spans }
    }

    pub(super) fn first(&self) -> u64 {
        self.spans.first().map_or(0, |span| span.version)
    }

    pub(super) fn end(&self) -> u64 {
        self.spans.last().map_or(0, Span::end)
    }

    /// Varints: shard; the zone's first version as the distance to the row's, rows, earliest event time relative to the row's append
    /// time, latest relative to the earliest; number of spans; for each span the number of versions, position relative to the end of the
    /// span before, distance to the block's first position, append time relative to the span before, event times as those of the zone.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32 + self.spans.len() * 12);
        let start = self.spans.first().map_or(0, |span| span.appended_at);
        varint::put(&mut out, u64::from(self.shard));
        varint::put(&mut out, self.first() - self.zone.version);
        varint::put(&mut out, self.zone.rows);
        put_range(&mut out, self.zone.occurred, start);
        varint::put(&mut out, self.spans.len() as u64);
        varint::put_signed(&mut out, start);
        let (mut position, mut appended_at) = (0, start);
        for span in &self.spans {
            varint::put(&mut out, span.count);
            varint::put(&mut out, span.sequence - position);
            varint::put(&mut out, span.sequence - span.block);
            varint::put_signed(&mut out, span.appended_at.wrapping_sub(appended_at));
            put_range(&mut out, span.occurred, span.appended_at);
            (position, appended_at) = (span.sequence + span.count, span.appended_at);
        }
        out
    }

    /// Reads a row; `None` for one that is malformed.
    pub(super) fn decode(first: u64, mut bytes: &[u8]) -> Option<Self> {
        let rest = &mut bytes;
        let shard = ShardId::try_from(varint::take(rest)?).ok()?;
        let (zone_version, rows) = (first.checked_sub(varint::take(rest)?)?, varint::take(rest)?);
        let zone_range = (varint::take_signed(rest)?, varint::take_signed(rest)?);
        let count = varint::take(rest)?;
        let start = varint::take_signed(rest)?;
        let zone = Zone { version: zone_version, rows, occurred: range_of(zone_range, start) };
        if count == 0 || count > rest.len() as u64 {
            return None;
        }
        let mut spans = Vec::with_capacity(count as usize);
        let (mut version, mut position, mut appended_at) = (first, 0_u64, start);
        for _ in 0..count {
            let count = varint::take(rest)?;
            let sequence = position.checked_add(varint::take(rest)?)?;
            let block = sequence.checked_sub(varint::take(rest)?)?;
            appended_at = appended_at.wrapping_add(varint::take_signed(rest)?);
            let occurred = range_of((varint::take_signed(rest)?, varint::take_signed(rest)?), appended_at);
            spans.push(Span { version, count, sequence, block, appended_at, occurred });
            (version, position) = (version.checked_add(count)?, sequence.checked_add(count)?);
        }
        Some(Self { shard, zone, spans })
    }
}

fn put_range(out: &mut Vec<u8>, range: (Millis, Millis), start: Millis) {
    varint::put_signed(out, range.0.wrapping_sub(start));
    varint::put_signed(out, range.1.wrapping_sub(range.0));
}

fn range_of((first, length): (i64, i64), start: Millis) -> (Millis, Millis) {
    let first = start.wrapping_add(first);
    (first, first.wrapping_add(length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_row_is_read_as_it_was_written(
            first in 1_u64..1 << 40,
            steps in prop::collection::vec((1_u64..9, 0_u64..5_000, 0_u64..300, 0_i64..100_000, any::<i32>(), 0_i64..90_000), 1..70),
            zone in prop::option::of((1_u64..200, 0_i64..1 << 41, 0_i64..1 << 35)),
        ) {
            let (mut version, mut position, mut appended_at) = (first, 400, 1_770_000_000_000);
            let spans = steps.into_iter().map(|(count, skipped, offset, later, occurred, length)| {
                appended_at += later;
                let sequence = position + skipped;
                let occurred = appended_at + i64::from(occurred);
                let block = sequence - offset;
                let span = Span { version, count, sequence, block, appended_at, occurred: (occurred, occurred + length) };
                (version, position) = (version + count, sequence + count);
                span
            });
            let zone = zone.map(|(rows, from, length)| Zone { version: 1, rows, occurred: (from, from + length) });
            let row = Row::after(7, zone, spans.collect());
            prop_assert!(row.spans.iter().all(|span| meets(row.zone.occurred, span.occurred.0, span.occurred.1)));
            prop_assert!(row.zone.rows <= ZONE_ROWS && (row.zone.version == 1 || row.zone.version == row.first()));
            prop_assert_eq!(Row::decode(row.first(), &row.encode()), Some(row));
        }

        #[test]
        fn no_bytes_are_a_panic(first in any::<u64>(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Row::decode(first, &bytes);
        }
    }
}
