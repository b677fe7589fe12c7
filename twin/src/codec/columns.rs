//! Columns of integers in few bits: each is held against its own least value, or its differences are, or the differences of those, whichever
//! takes the least room. What the integers mean is not known here.
//!
//! A column has a head in bytes and a body in bits. Head: one byte 65 × order + width, then, zigzag varints, as many leading values as the
//! order says (the first value; the first difference) and the least of what remains. Body: what remains, each less the least, in `width`
//! bits, lowest bits first. All heads stand before all bodies, and the bodies follow each other without a gap.

/// Widths of a remainder: 0 to 64 bits.
const WIDTHS: u8 = 65;
/// Values themselves, differences, differences of differences.
const ORDERS: usize = 3;

/// Writes columns.
#[derive(Debug, Default)]
pub(super) struct Packer {
    pub(super) heads: Vec<u8>,
    bits: Vec<u8>,
    pending: u64,
    used: u32,
    remainder: Vec<i64>,
}

impl Packer {
    /// Appends a column.
    pub(super) fn column(&mut self, values: &[i64]) {
        let mut rest = std::mem::take(&mut self.remainder);
        let (order, least, width) = best(values);
        self.heads.push(order as u8 * WIDTHS + width as u8);
        rest.clear();
        rest.extend_from_slice(values);
        for _ in 0..order {
            put_signed(&mut self.heads, rest.first().copied().unwrap_or_default());
            difference(&mut rest);
        }
        put_signed(&mut self.heads, least);
        for value in &rest {
            self.bits(value.wrapping_sub(least) as u64, width);
        }
        self.remainder = rest;
    }

    /// Appends the lowest `width` bits.
    pub(super) fn bits(&mut self, value: u64, width: u32) {
        if width == 0 {
            return;
        }
        self.pending |= value << self.used;
        let free = 64 - self.used;
        if width < free {
            self.used += width;
            return;
        }
        self.bits.extend_from_slice(&self.pending.to_le_bytes());
        self.pending = if free == 64 { 0 } else { value >> free };
        self.used = width - free;
    }

    /// Heads, then bodies.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let bytes = self.used.div_ceil(8) as usize;
        self.heads.extend_from_slice(&self.bits);
        self.heads.extend_from_slice(&self.pending.to_le_bytes()[..bytes]);
        self.heads
    }
}

/// The order that takes the least room, the least of its remainder, and the bits of what remains beyond that.
fn best(values: &[i64]) -> (usize, i64, u32) {
    let mut ranges = [(i64::MAX, i64::MIN); ORDERS];
    let mut put = |order: usize, value: i64| {
        let (least, greatest) = &mut ranges[order];
        (*least, *greatest) = ((*least).min(value), (*greatest).max(value));
    };
    let (mut before, mut difference_before) = (0_i64, 0_i64);
    for (index, &value) in values.iter().enumerate() {
        put(0, value);
        let difference = value.wrapping_sub(before);
        if index > 0 {
            put(1, difference);
        }
        if index > 1 {
            put(2, difference.wrapping_sub(difference_before));
        }
        (before, difference_before) = (value, difference);
    }
    let cost = |order: usize| {
        let (least, greatest) = ranges[order];
        let (least, width) =
            if least > greatest { (0, 0) } else { (least, 64 - (greatest.wrapping_sub(least) as u64).leading_zeros()) };
        // A leading value costs two bytes as a rule.
        let bits = values.len().saturating_sub(order) * width as usize + order * 16;
        (bits, order, least, width)
    };
    let orders = (0..ORDERS).filter(|order| *order == 0 || values.len() > *order);
    let (_, order, least, width) = orders.map(cost).min_by_key(|(bits, ..)| *bits).unwrap_or((0, 0, 0, 0));
    (order, least, width)
}

fn difference(values: &mut Vec<i64>) {
    for index in (1..values.len()).rev() {
        values[index] = values[index].wrapping_sub(values[index - 1]);
    }
    if !values.is_empty() {
        values.remove(0);
    }
}

/// A column's head.
#[derive(Debug)]
pub(super) struct Head {
    leading: Vec<i64>,
    least: i64,
    width: u32,
}

impl Head {
    /// Reads a head; `None` where it is malformed.
    pub(super) fn take(bytes: &mut &[u8]) -> Option<Self> {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let (order, width) = (byte / WIDTHS, byte % WIDTHS);
        if usize::from(order) >= ORDERS {
            return None;
        }
        let leading = (0..order).map(|_| take_signed(bytes)).collect::<Option<Vec<_>>>()?;
        Some(Self { leading, least: take_signed(bytes)?, width: u32::from(width) })
    }

    /// Reads the body of `count` values.
    pub(super) fn values(&self, bits: &mut Bits<'_>, count: usize) -> Option<Vec<i64>> {
        let order = self.leading.len();
        let remaining = if order == 0 { count } else { count.checked_sub(order).filter(|_| count > order)? };
        bits.has(remaining, self.width)?;
        let mut values = Vec::with_capacity(count);
        for _ in 0..remaining {
            values.push(self.least.wrapping_add(bits.take(self.width) as i64));
        }
        for leading in self.leading.iter().rev() {
            let mut sum = *leading;
            for value in &mut values {
                let step = std::mem::replace(value, sum);
                sum = sum.wrapping_add(step);
            }
            values.push(sum);
        }
        Some(values)
    }
}

/// Bodies being read.
#[derive(Debug)]
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Bits<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Whether so many values of a width are there.
    pub(super) fn has(&self, count: usize, width: u32) -> Option<()> {
        let end = count.checked_mul(width as usize)?.checked_add(self.position)?;
        (end <= self.bytes.len() * 8).then_some(())
    }

    /// The next value; zeros where the bytes have ended, which [`Self::has`] tells before.
    pub(super) fn take(&mut self, width: u32) -> u64 {
        if width == 0 {
            return 0;
        }
        let (start, shift) = (self.position / 8, self.position % 8);
        self.position += width as usize;
        let rest = self.bytes.get(start..).unwrap_or_default();
        let mut window = [0_u8; 16];
        let there = rest.len().min(9);
        window[..there].copy_from_slice(&rest[..there]);
        let value = (u128::from_le_bytes(window) >> shift) as u64;
        if width == 64 { value } else { value & ((1 << width) - 1) }
    }

    /// Whether nothing but the padding of the last byte is left.
    pub(super) const fn is_at_end(&self) -> bool {
        self.position.div_ceil(8) == self.bytes.len()
    }
}

pub(super) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, ((value << 1) ^ (value >> 63)) as u64);
}

pub(super) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

pub(super) fn take_signed(bytes: &mut &[u8]) -> Option<i64> {
    let value = take(bytes)?;
    Some((value >> 1) as i64 ^ -((value & 1) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packed(columns: &[Vec<i64>]) -> Vec<u8> {
        let mut packer = Packer::default();
        for column in columns {
            packer.column(column);
        }
        packer.finish()
    }

    fn unpacked(bytes: &[u8], counts: &[usize]) -> Option<Vec<Vec<i64>>> {
        let mut rest = bytes;
        let heads = counts.iter().map(|_| Head::take(&mut rest)).collect::<Option<Vec<_>>>()?;
        let mut bits = Bits::new(rest);
        let columns = heads.iter().zip(counts).map(|(head, count)| head.values(&mut bits, *count)).collect();
        bits.is_at_end().then_some(columns)?
    }

    /// A smooth, a noisy and an arbitrary line of values.
    fn column() -> impl Strategy<Value = Vec<i64>> {
        let start = any::<i64>();
        prop_oneof![
            (start, -50_i64..50, prop::collection::vec(-2_i64..3, 0..40)).prop_map(|(start, slope, jitter)| {
                let place = |(nth, jitter): (usize, i64)| (start / 4).wrapping_add(slope * nth as i64 + jitter);
                jitter.into_iter().enumerate().map(place).collect()
            }),
            prop::collection::vec(1_000_i64..2_000, 0..40),
            prop::collection::vec(any::<i64>(), 0..8),
        ]
    }

    proptest! {
        #[test]
        fn columns_are_read_as_they_were_written(columns in prop::collection::vec(column(), 0..12)) {
            let counts: Vec<usize> = columns.iter().map(Vec::len).collect();
            prop_assert_eq!(unpacked(&packed(&columns), &counts), Some(columns));
        }

        #[test]
        fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), counts in prop::collection::vec(0_usize..50, 0..6)) {
            let _ = unpacked(&bytes, &counts);
        }
    }

    #[test]
    fn what_is_regular_takes_next_to_nothing() {
        let regular: Vec<i64> = (0..1_000).map(|nth| 1_770_000_000_000 + nth * 5_000).collect();
        assert!(packed(&[regular]).len() < 12);
        let noise: Vec<i64> = (0..1_000).map(|nth| 500 + nth * 7_919 % 128).collect();
        assert!(packed(&[noise]).len() <= 1_000 * 7 / 8 + 5);
    }
}
