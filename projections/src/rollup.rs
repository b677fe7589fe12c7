//! Readings added up by the minute and by the hour. A bucket is a sum of readings and nothing else, so a late reading simply adds to its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use twin::event::RecordedReading;
use twin::instant::{HOUR, MINUTE, Millis};

use crate::catalog::Catalog;

/// Count, sum, least and greatest of some values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Aggregate {
    /// How many.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Default for Aggregate {
    fn default() -> Self {
        Self { count: 0, sum: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY }
    }
}

impl Aggregate {
    /// Takes one value.
    pub fn add(&mut self, value: f64) {
        self.merge(&Self { count: 1, sum: value, min: value, max: value });
    }

    /// Takes what another one took.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// Sum, least and greatest, where there are any.
    pub fn values(&self) -> (Option<f64>, Option<f64>, Option<f64>) {
        let some = |value| (self.count > 0).then_some(value);
        (some(self.sum), some(self.min), some(self.max))
    }
}

/// The readings of one locomotive within one bucket of time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Bucket {
    /// How many.
    pub readings: u64,
    /// Their risks; a late one has none.
    pub risk: Aggregate,
    /// Their values by column of the catalogue; columns after the last are empty.
    pub sensors: Vec<Aggregate>,
    /// The shard.
    pub shard: u16,
    /// The newest record in it.
    pub sequence: u64,
}

/// Buckets by locomotive and begin (event time).
pub type Buckets = BTreeMap<(Arc<str>, Millis), Bucket>;

/// The two widths.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rollups {
    /// A minute each.
    pub minutes: Buckets,
    /// An hour each.
    pub hours: Buckets,
}

/// Where a reading stands in the log.
#[derive(Debug, Clone)]
pub struct Place {
    /// The locomotive.
    pub locomotive: Arc<str>,
    /// The shard.
    pub shard: u16,
    /// The record.
    pub sequence: u64,
}

impl Rollups {
    /// Adds a reading; `columns` has the column of each of its sensors.
    pub fn add(&mut self, place: &Place, recorded: &RecordedReading, columns: &[usize], catalog: &Catalog) {
        for (width, buckets) in [(MINUTE, &mut self.minutes), (HOUR, &mut self.hours)] {
            let at = recorded.reading.recorded_at;
            let bucket = buckets.entry((Arc::clone(&place.locomotive), at - at.rem_euclid(width))).or_default();
            bucket.readings += 1;
            (bucket.shard, bucket.sequence) = (place.shard, bucket.sequence.max(place.sequence));
            if let Some(score) = recorded.score {
                bucket.risk.add(f64::from(score.risk));
            }
            bucket.sensors.resize(catalog.columns().len(), Aggregate::default());
            for (index, &column) in columns.iter().enumerate() {
                if let Some(value) = recorded.reading.get(index) {
                    bucket.sensors[column].add(decimal(value));
                }
            }
        }
    }
}

/// A value as the decimal that was sent: by way of `f64` digits would appear that nobody measured.
pub fn decimal(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_else(|_| f64::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn merging_is_adding(values in proptest::collection::vec(-1e3_f64..1e3, 1..40), cut in 0_usize..40) {
            let of = |values: &[f64]| {
                let mut all = Aggregate::default();
                for value in values {
                    all.add(*value);
                }
                all
            };
            let cut = cut.min(values.len());
            let mut left = of(&values[..cut]);
            left.merge(&of(&values[cut..]));
            let whole = of(&values);
            prop_assert_eq!((left.count, left.min, left.max), (whole.count, whole.min, whole.max));
            prop_assert!((left.sum - whole.sum).abs() < 1e-6);
        }
    }

    #[test]
    fn a_value_keeps_its_decimal_digits() {
        assert_eq!(decimal(120.4), 120.4);
    }
}
