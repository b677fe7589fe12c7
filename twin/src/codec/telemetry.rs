//! Encoding of telemetry: one column a channel, integers at the sensor's resolution where that loses nothing, the bits of the floats where it
//! would, packed as `columns` has it. Who recorded them stands beside them in protobuf.
//!
//! The field `packed`: varints number of readings and number of columns; for each column its number (twice the sensor's id; odd ones are
//! 1 latitude, 3 longitude, 5 speed, 7 risk, 9 spread), doubled, plus 1 where some readings lack it, and its steps a unit (0: the bits of the
//! floats); then the heads and the bodies of recorded times, of arrivals less those, and of the columns, in that order. The body of a
//! column that some readings lack begins with a bit for each reading, 1 where it is there. A spread stands only where it is not that
//! of the votes. A reading without a risk is late. Messages without that field are of version 1.

use prost::Message;

use super::columns::{self, Bits, Head, Packer};
use super::{CodecError, cause_message, cause_of, digest, kind, malformed, message, telemetry_one, v1};
use crate::definition::Definition;
use crate::event::{Cause, RecordedReading, TelemetryRecorded};
use crate::fold::Blueprints;
use crate::ids::{DefinitionId, ModelId};
use crate::level::Thresholds;
use crate::reading::{MAX_SENSORS, POSITION_CHANNELS, Reading};
use crate::scoring::Score;

pub(super) const KIND: u16 = kind::TELEMETRY_RECORDED;
/// Steps tried for risk and spread: vote shares of common forest sizes.
const RISK_STEPS: [f64; 3] = [100.0, 1_000.0, 1_024.0];
/// Numbers of the columns that are no channels.
const RISK: u64 = 7;
const SPREAD: u64 = 9;
/// Most readings in one record. A column of equal values takes no bits, so that the bytes alone bound nothing.
const MOST_READINGS: u64 = 1 << 17;
/// Most columns: every channel, risk and spread.
const MOST_COLUMNS: u64 = (MAX_SENSORS + POSITION_CHANNELS.len() + 2) as u64;

pub(super) fn encode(telemetry: &TelemetryRecorded, cause: &Cause, definition: &Definition) -> Vec<u8> {
    v1::TelemetryRecorded {
        cause: Some(cause_message(cause)),
        definition: telemetry.definition.0.to_vec(),
        model: telemetry.model.0.to_vec(),
        watch: telemetry.thresholds.watch,
        danger: telemetry.thresholds.danger,
        packed: pack(&telemetry.readings, definition),
        ..v1::TelemetryRecorded::default()
    }
    .encode_to_vec()
}

fn pack(readings: &[RecordedReading], definition: &Definition) -> Vec<u8> {
    let mut table = Table::of(readings.len());
    for (index, sensor) in definition.sensors.iter().enumerate() {
        let tries = [sensor.steps, sensor.steps * 10.0, sensor.steps * 100.0];
        table.add(u64::from(sensor.id) * 2, readings.iter().map(|r| r.reading.get(index)), &tries);
    }
    for (nth, (channel, _, _, steps)) in POSITION_CHANNELS.into_iter().enumerate() {
        let tries = [steps, steps * 10.0, steps * 100.0];
        table.add(nth as u64 * 2 + 1, readings.iter().map(|r| r.reading.get(channel)), &tries);
    }
    table.add(RISK, readings.iter().map(|r| r.score.map(|score| score.risk)), &RISK_STEPS);
    let of_votes = |score: Score| score.spread.to_bits() == Score::of_votes(score.risk).spread.to_bits();
    if !readings.iter().filter_map(|r| r.score).all(of_votes) {
        table.add(SPREAD, readings.iter().map(|r| r.score.map(|score| score.spread)), &[]);
    }
    let mut packer = Packer::default();
    columns::put(&mut packer.heads, readings.len() as u64);
    columns::put(&mut packer.heads, table.columns.len() as u64);
    for column in &table.columns {
        columns::put(&mut packer.heads, column.number << 1 | u64::from(!column.present.is_empty()));
        columns::put(&mut packer.heads, u64::from(column.steps));
    }
    let mut times: Vec<i64> = readings.iter().map(|r| r.reading.recorded_at).collect();
    packer.column(&times);
    times.clear();
    times.extend(readings.iter().map(|r| r.reading.received_at.wrapping_sub(r.reading.recorded_at)));
    packer.column(&times);
    let mut values = table.values.as_slice();
    for column in &table.columns {
        let (of_column, rest) = values.split_at(column.count);
        for present in &column.present {
            packer.bits(u64::from(*present), 1);
        }
        packer.column(of_column);
        values = rest;
    }
    packer.finish()
}

/// The columns of a record before they are packed.
struct Table {
    readings: usize,
    columns: Vec<Column>,
    /// The values of all columns, one after the other.
    values: Vec<i64>,
}

struct Column {
    number: u64,
    /// 0: the values are the bits of floats.
    steps: u32,
    /// Which readings have it; empty where all have.
    present: Vec<bool>,
    count: usize,
}

impl Table {
    fn of(readings: usize) -> Self {
        Self { readings, columns: Vec::with_capacity(8), values: Vec::with_capacity(readings * 8) }
    }

    /// Adds a column, unless nobody has a value.
    fn add(&mut self, number: u64, values: impl Iterator<Item = Option<f32>> + Clone, tries: &[f64]) {
        let count = values.clone().flatten().count();
        if count == 0 {
            return;
        }
        let present = if count == self.readings { Vec::new() } else { values.clone().map(|v| v.is_some()).collect() };
        let start = self.values.len();
        // Steps are kept as an unsigned integer of 32 bits.
        for &steps in tries.iter().filter(|steps| **steps >= 1.0 && **steps <= f64::from(u32::MAX)) {
            self.values.truncate(start);
            let lossless = values.clone().flatten().all(|value| {
                let step = nearest_step(value, steps);
                self.values.push(step);
                of_step(step, steps).to_bits() == value.to_bits()
            });
            if lossless {
                self.columns.push(Column { number, steps: steps as u32, present, count });
                return;
            }
        }
        self.values.truncate(start);
        self.values.extend(values.flatten().map(|value| i64::from(value.to_bits())));
        self.columns.push(Column { number, steps: 0, present, count });
    }
}

fn nearest_step(value: f32, steps: f64) -> i64 {
    let scaled = f64::from(value) * steps;
    (if scaled < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i64
}

pub(super) fn of_step(step: i64, steps: f64) -> f32 {
    (step as f64 / steps) as f32
}

/// The dense index of a sensor's id (`Ok`), or of the position channels (`Err`, counted from the number of sensors at most).
pub(super) fn channel_of(number: Result<u32, u32>, definition: &Definition) -> Option<usize> {
    match number {
        Ok(id) => definition.index_of(id),
        Err(channel) => {
            let channel = channel as usize;
            (MAX_SENSORS..MAX_SENSORS + POSITION_CHANNELS.len()).contains(&channel).then_some(channel)
        }
    }
}

pub(super) fn decode(payload: &[u8], blueprints: &Blueprints) -> Result<(TelemetryRecorded, Cause), CodecError> {
    let message: v1::TelemetryRecorded = message(KIND, payload)?;
    let id = DefinitionId(digest(KIND, &message.definition)?);
    let definition = &blueprints.get(id).map_err(|error| malformed(KIND, error.to_string()))?.definition;
    let readings = if message.packed.is_empty() {
        telemetry_one::readings(&message, definition)?
    } else {
        unpack(&message.packed, definition)?
    };
    let telemetry = TelemetryRecorded {
        definition: id,
        model: ModelId(digest(KIND, &message.model)?),
        thresholds: Thresholds { watch: message.watch, danger: message.danger },
        readings,
    };
    Ok((telemetry, cause_of(message.cause)))
}

/// What the column after the next fills.
enum Fills {
    Channel(usize),
    Risk,
    Spread,
}

fn unpack(packed: &[u8], definition: &Definition) -> Result<Vec<RecordedReading>, CodecError> {
    let short = || malformed(KIND, "the packed columns end too early, or are longer than what they hold");
    let mut rest = packed;
    let count = columns::take(&mut rest).filter(|count| (1..=MOST_READINGS).contains(count));
    let count = count.ok_or_else(|| malformed(KIND, format!("expected 1 to {MOST_READINGS} readings")))? as usize;
    let columns = columns::take(&mut rest).filter(|columns| *columns <= MOST_COLUMNS).ok_or_else(short)?;
    let mut kinds = Vec::with_capacity(columns as usize);
    for _ in 0..columns {
        let number = columns::take(&mut rest).ok_or_else(short)?;
        let steps = columns::take(&mut rest).and_then(|steps| u32::try_from(steps).ok()).ok_or_else(short)?;
        kinds.push((fills(number >> 1, definition)?, number & 1 == 1, f64::from(steps)));
    }
    let heads = (0..columns + 2).map(|_| Head::take(&mut rest).ok_or_else(short)).collect::<Result<Vec<_>, _>>()?;
    let mut bits = Bits::new(rest);
    let mut readings = Vec::with_capacity(count);
    let times = heads[0].values(&mut bits, count).ok_or_else(short)?;
    let ways = heads[1].values(&mut bits, count).ok_or_else(short)?;
    readings.extend(times.into_iter().zip(ways).map(|(recorded_at, way)| RecordedReading {
        reading: Reading::new(recorded_at, recorded_at.wrapping_add(way)),
        score: None,
    }));
    for ((fills, has_gaps, steps), head) in kinds.into_iter().zip(&heads[2..]) {
        let mut present = Vec::new();
        if has_gaps {
            bits.has(count, 1).ok_or_else(short)?;
            present.extend((0..count).filter(|_| bits.take(1) == 1));
        }
        let there = if has_gaps { present.len() } else { count };
        let values = head.values(&mut bits, there).ok_or_else(short)?;
        for (nth, value) in values.into_iter().enumerate() {
            let value = if steps > 0.0 { of_step(value, steps) } else { f32::from_bits(value as u32) };
            let recorded = &mut readings[if has_gaps { present[nth] } else { nth }];
            match (&fills, &mut recorded.score) {
                (Fills::Channel(channel), _) => recorded.reading.set(*channel, value),
                (Fills::Risk, score) => *score = Some(Score::of_votes(value)),
                (Fills::Spread, Some(score)) => score.spread = value,
                (Fills::Spread, None) => return Err(malformed(KIND, "a spread without a risk")),
            }
        }
    }
    if bits.is_at_end() { Ok(readings) } else { Err(short()) }
}

fn fills(number: u64, definition: &Definition) -> Result<Fills, CodecError> {
    let channel = match number {
        RISK => return Ok(Fills::Risk),
        SPREAD => return Ok(Fills::Spread),
        odd if odd & 1 == 1 => channel_of(Err(MAX_SENSORS as u32 + (odd.min(99) >> 1) as u32), definition),
        even => u32::try_from(even >> 1).ok().and_then(|id| channel_of(Ok(id), definition)),
    };
    let unknown = || malformed(KIND, format!("column {number} is not in definition {}", definition.id));
    channel.map(Fills::Channel).ok_or_else(unknown)
}
