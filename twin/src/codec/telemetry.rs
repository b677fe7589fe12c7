//! Encoding of telemetry: one column a channel, integers at the sensor's resolution where that loses nothing, raw floats where it would.

use prost::Message;

use super::{CodecError, cause_message, cause_of, digest, kind, malformed, message, v1};
use crate::definition::Definition;
use crate::event::{Cause, RecordedReading, TelemetryRecorded};
use crate::fold::Blueprints;
use crate::ids::{DefinitionId, ModelId};
use crate::level::Thresholds;
use crate::reading::{MAX_SENSORS, POSITION_CHANNELS, Reading};
use crate::scoring::Score;

const KIND: u16 = kind::TELEMETRY_RECORDED;
/// Channel numbers from here on are position and speed.
const POSITION_BASE: u32 = 0x1_0000;
/// Steps tried for risk and spread: vote shares of common forest sizes.
const RISK_STEPS: [f64; 4] = [100.0, 1_000.0, 1_024.0, 0.0];
/// Most readings in one record.
const MOST_READINGS: usize = 1 << 20;

pub(super) fn encode(telemetry: &TelemetryRecorded, cause: &Cause, definition: &Definition) -> Vec<u8> {
    let readings = &telemetry.readings;
    let mut columns = Vec::with_capacity(definition.sensors.len() + POSITION_CHANNELS.len());
    let mut add = |number: u32, channel: usize, steps: f64| {
        let tries = [steps, steps * 10.0, steps * 100.0, 0.0];
        columns.extend(column(number, readings.iter().map(|r| r.reading.get(channel)), &tries));
    };
    for (index, sensor) in definition.sensors.iter().enumerate() {
        add(sensor.id, index, sensor.steps);
    }
    for (channel, _, _, steps) in POSITION_CHANNELS {
        add(POSITION_BASE + channel as u32, channel, steps);
    }
    let spread_follows = readings
        .iter()
        .filter_map(|r| r.score)
        .all(|score| score.spread.to_bits() == Score::of_votes(score.risk).spread.to_bits());
    let spread = if spread_follows {
        None
    } else {
        column(0, readings.iter().map(|r| r.score.map(|score| score.spread)), &[0.0])
    };
    let mut received_before = 0;
    let received = |r: &RecordedReading| {
        let after = r.reading.received_at - r.reading.recorded_at;
        let delta = after - received_before;
        received_before = after;
        delta
    };
    v1::TelemetryRecorded {
        cause: Some(cause_message(cause)),
        definition: telemetry.definition.0.to_vec(),
        model: telemetry.model.0.to_vec(),
        watch: telemetry.thresholds.watch,
        danger: telemetry.thresholds.danger,
        recorded_at: second_differences(readings.iter().map(|r| r.reading.recorded_at)),
        received_after: readings.iter().map(received).collect(),
        columns,
        risk: column(0, readings.iter().map(|r| r.score.map(|score| score.risk)), &RISK_STEPS),
        spread,
    }
    .encode_to_vec()
}

/// One column, or `None` where nobody has a value. The last of `tries` is 0, which means raw.
fn column(number: u32, values: impl Iterator<Item = Option<f32>> + Clone, tries: &[f64]) -> Option<v1::Column> {
    let count = values.clone().count();
    let mut present = Vec::new();
    let mut there = 0;
    for (index, _) in values.clone().enumerate().filter(|(_, value)| value.is_some()) {
        if index / 8 >= present.len() {
            present.resize(index / 8 + 1, 0);
        }
        present[index / 8] |= 1 << (index % 8);
        there += 1;
    }
    if there == 0 {
        return None;
    }
    if there == count {
        present.clear();
    }
    let mut deltas = Vec::with_capacity(there);
    // The message holds the steps as an unsigned integer of 32 bits.
    for &steps in tries.iter().filter(|steps| **steps > 0.0 && **steps <= f64::from(u32::MAX)) {
        deltas.clear();
        let mut last = 0;
        let lossless = values.clone().flatten().all(|value| {
            let step = nearest_step(value, steps);
            deltas.push(step.wrapping_sub(last));
            last = step;
            of_step(step, steps).to_bits() == value.to_bits()
        });
        if lossless {
            return Some(v1::Column { channel: number, steps: steps as u32, present, deltas, raw: Vec::new() });
        }
    }
    Some(v1::Column { channel: number, steps: 0, present, deltas: Vec::new(), raw: values.flatten().collect() })
}

fn nearest_step(value: f32, steps: f64) -> i64 {
    let scaled = f64::from(value) * steps;
    (if scaled < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i64
}

fn of_step(step: i64, steps: f64) -> f32 {
    (step as f64 / steps) as f32
}

fn second_differences(times: impl Iterator<Item = i64>) -> Vec<i64> {
    let (mut last, mut last_difference) = (0_i64, 0_i64);
    let encode = |(index, time): (usize, i64)| {
        let difference = time.wrapping_sub(last);
        let coded = difference.wrapping_sub(last_difference);
        last = time;
        last_difference = if index == 0 { 0 } else { difference };
        coded
    };
    times.enumerate().map(encode).collect()
}

pub(super) fn decode(payload: &[u8], blueprints: &Blueprints) -> Result<(TelemetryRecorded, Cause), CodecError> {
    let message: v1::TelemetryRecorded = message(KIND, payload)?;
    let id = DefinitionId(digest(KIND, &message.definition)?);
    let definition = &blueprints.get(id).map_err(|error| malformed(KIND, error.to_string()))?.definition;
    let mut readings = decode_times(&message)?;
    for column in &message.columns {
        let channel = channel_of(column.channel, definition)
            .ok_or_else(|| malformed(KIND, format!("channel {} is not in definition {id}", column.channel)))?;
        for (reading, value) in readings.iter_mut().zip(values_of(column, message.recorded_at.len())?) {
            if let Some(value) = value {
                reading.set(channel, value);
            }
        }
    }
    let scores = |column: &Option<v1::Column>| {
        column.as_ref().map_or_else(|| Ok(vec![None; readings.len()]), |column| values_of(column, readings.len()))
    };
    let (risks, spreads) = (scores(&message.risk)?, scores(&message.spread)?);
    let score = |(risk, spread): (Option<f32>, Option<f32>)| {
        risk.map(|risk| spread.map_or_else(|| Score::of_votes(risk), |spread| Score { risk, spread }))
    };
    let scores = risks.into_iter().zip(spreads).map(score);
    let readings =
        readings.iter().zip(scores).map(|(reading, score)| RecordedReading { reading: *reading, score }).collect();
    let telemetry = TelemetryRecorded {
        definition: id,
        model: ModelId(digest(KIND, &message.model)?),
        thresholds: Thresholds { watch: message.watch, danger: message.danger },
        readings,
    };
    Ok((telemetry, cause_of(message.cause)))
}

fn decode_times(message: &v1::TelemetryRecorded) -> Result<Vec<Reading>, CodecError> {
    let count = message.recorded_at.len();
    if count == 0 || count > MOST_READINGS || message.received_after.len() != count {
        let message = format!("expected as many arrivals as times, got {} for {count}", message.received_after.len());
        return Err(malformed(KIND, message));
    }
    let (mut time, mut difference, mut after) = (0_i64, 0_i64, 0_i64);
    let decode = |(index, (&coded, &delta)): (usize, (&i64, &i64))| {
        let step = coded.wrapping_add(difference);
        time = time.wrapping_add(step);
        difference = if index == 0 { 0 } else { step };
        after = after.wrapping_add(delta);
        Reading::new(time, time.wrapping_add(after))
    };
    Ok(message.recorded_at.iter().zip(&message.received_after).enumerate().map(decode).collect())
}

fn channel_of(number: u32, definition: &Definition) -> Option<usize> {
    if number < POSITION_BASE {
        return definition.index_of(number);
    }
    let channel = (number - POSITION_BASE) as usize;
    (MAX_SENSORS..MAX_SENSORS + POSITION_CHANNELS.len()).contains(&channel).then_some(channel)
}

fn values_of(column: &v1::Column, count: usize) -> Result<Vec<Option<f32>>, CodecError> {
    let steps = f64::from(column.steps);
    let mut step = 0_i64;
    let stepped = column.deltas.iter().map(|delta| {
        step = step.wrapping_add(*delta);
        of_step(step, steps)
    });
    let given: Vec<f32> = if column.steps == 0 { column.raw.clone() } else { stepped.collect() };
    let is_there = |index: usize| {
        column.present.is_empty() || column.present.get(index / 8).is_some_and(|byte| byte & (1 << (index % 8)) != 0)
    };
    let expected = (0..count).filter(|index| is_there(*index)).count();
    if given.len() != expected {
        let message = format!("channel {}: expected {expected} values, got {}", column.channel, given.len());
        return Err(malformed(KIND, message));
    }
    let mut given = given.into_iter();
    Ok((0..count).map(|index| if is_there(index) { given.next() } else { None }).collect())
}
