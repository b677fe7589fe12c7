//! Version 1 of telemetry, as it was written before columns were packed: protobuf's variable-length integers. It is read for ever.

use super::telemetry::{KIND, channel_of, of_step};
use super::{CodecError, malformed, v1};
use crate::definition::Definition;
use crate::event::RecordedReading;
use crate::reading::Reading;
use crate::scoring::Score;

/// Channel numbers from here on are position and speed.
const POSITION_BASE: u32 = 0x1_0000;
/// Most readings in one record.
const MOST_READINGS: usize = 1 << 20;

/// The readings of a message without packed columns.
pub(super) fn readings(
    message: &v1::TelemetryRecorded,
    definition: &Definition,
) -> Result<Vec<RecordedReading>, CodecError> {
    let mut readings = decode_times(message)?;
    for column in &message.columns {
        let position = column.channel.checked_sub(POSITION_BASE);
        let channel = channel_of(position.map_or(Ok(column.channel), Err), definition).ok_or_else(|| {
            malformed(KIND, format!("channel {} is not in definition {}", column.channel, definition.id))
        })?;
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
    Ok(readings.iter().zip(scores).map(|(reading, score)| RecordedReading { reading: *reading, score }).collect())
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
