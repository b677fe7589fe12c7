//! How the view of a sleeping twin is held: in about the half of what its encoded state takes. It never leaves the memory of the process,
//! so that its form is nobody's affair but this file's; what is kept in the log is `snapshots`.
//!
//! Times are held as distances from the newest reading; of two neighbouring sensors the numbers of the second are held as what differs from
//! the first, which for weights is nothing; ids of definitions and models, which all twins of a shard share, are held once.

use std::sync::Arc;

use twin::codec;
use twin::features::SensorWindow;
use twin::ids::{DefinitionId, LocomotiveId, ModelId};
use twin::instant::Millis;
use twin::scoring::Score;
use twin::state::{Assessment, TwinState};

use crate::snapshots::Standing;
use crate::view::TwinView;

/// How an encoded state of no definition begins.
const NO_DEFINITION: [u8; 18] = {
    let mut bytes = [0; 18];
    (bytes[0], bytes[1]) = (0x0a, 16);
    bytes
};

/// Flags of a view.
const HAS_ASSESSMENT: u8 = 1;
/// Flags of a sensor.
const IS_MISSING: u8 = 1;
const HAS_VALUE: u8 = 2;

/// Ids that many views name. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names(Arc<Vec<[u8; 16]>>);

impl Names {
    fn place(&mut self, name: [u8; 16]) -> u64 {
        let place = self.0.iter().position(|known| *known == name).unwrap_or_else(|| {
            Arc::make_mut(&mut self.0).push(name);
            self.0.len() - 1
        });
        place as u64
    }
}

/// The view of a twin, packed.
#[derive(Debug, Clone)]
pub(crate) struct Asleep(Arc<[u8]>);

impl Asleep {
    pub(crate) fn lay_down(view: &TwinView, names: &mut Names) -> Self {
        let mut state = view.state.clone();
        let newest = state.newest.unwrap_or_default();
        let mut writer = Writer(Vec::with_capacity(512));
        writer.number(view.version);
        writer.number(view.sequence);
        writer.number(folded(view.appended_at));
        writer.number(folded(newest));
        writer.number(names.place(state.definition.0));
        writer.0.push(if state.assessment.is_some() { HAS_ASSESSMENT } else { 0 });
        if let Some(Assessment { score, model, thresholds }) = state.assessment.take() {
            writer.number(names.place(model.0));
            for value in [score.risk, score.spread, thresholds.watch, thresholds.danger] {
                writer.0.extend_from_slice(&value.to_bits().to_le_bytes());
            }
        }
        let sensors = std::mem::take(&mut state.windows.sensors);
        writer.number(sensors.len() as u64);
        let mut before = [0; 5];
        for window in &sensors {
            let missing = if window.missing { IS_MISSING } else { 0 };
            writer.0.push(missing | if window.last_at.is_some() { HAS_VALUE } else { 0 });
            writer.0.extend_from_slice(&window.value.to_bits().to_le_bytes());
            for at in window.last_at.into_iter().chain([window.unchanged_since]) {
                writer.number(folded(newest.wrapping_sub(at)));
            }
            let numbers = numbers(window);
            for (number, before) in numbers.iter().zip(before) {
                // The low bits of what differs are those that are often zero, and a number is short when its high bits are.
                writer.number((number ^ before).swap_bytes());
            }
            before = numbers;
        }
        each_time(&mut state, |at| folded(newest.wrapping_sub(at)).cast_signed());
        state.definition = DefinitionId([0; 16]);
        let rest = codec::encode_state(&state);
        writer.0.extend_from_slice(
            rest.strip_prefix(&NO_DEFINITION).expect("the definition is the first field of a state"),
        );
        Self(Arc::from(writer.0))
    }

    pub(crate) fn standing(&self) -> Standing {
        Reader(&self.0).standing()
    }

    pub(crate) fn wake(&self, id: LocomotiveId, shard: u16, names: &Names) -> TwinView {
        let mut reader = Reader(&self.0);
        let Standing { version, sequence, appended_at } = reader.standing();
        let newest = unfolded(reader.number());
        let name = |place: u64| names.0[place as usize];
        let definition = DefinitionId(name(reader.number()));
        let assessment = (reader.bytes() == [HAS_ASSESSMENT]).then(|| {
            let model = ModelId(name(reader.number()));
            let [risk, spread, watch, danger] = [(); 4].map(|()| f32::from_bits(u32::from_le_bytes(reader.bytes())));
            Assessment { score: Score { risk, spread }, model, thresholds: twin::level::Thresholds { watch, danger } }
        });
        let count = reader.number();
        let mut before = [0; 5];
        let sensors = (0..count).map(|_| {
            let [flags] = reader.bytes();
            let value = f32::from_bits(u32::from_le_bytes(reader.bytes()));
            let mut time = || newest.wrapping_sub(unfolded(reader.number()));
            let (last_at, unchanged_since) = ((flags & HAS_VALUE != 0).then(&mut time), time());
            before = before.map(|before| before ^ reader.number().swap_bytes());
            let [mean, variance, weight, long, long_weight] = before.map(f64::from_bits);
            SensorWindow {
                value,
                missing: flags & IS_MISSING != 0,
                last_at,
                unchanged_since,
                short: (mean, variance, weight),
                long: (long, long_weight),
            }
        });
        let sensors = sensors.collect();
        let rest = [&NO_DEFINITION, reader.0].concat();
        let mut state = codec::decode_state(&rest).expect("what was laid down is a state");
        each_time(&mut state, |at| newest.wrapping_sub(unfolded(at.cast_unsigned())));
        (state.definition, state.assessment, state.windows.sensors) = (definition, assessment, sensors);
        TwinView { id, version, shard, sequence, appended_at, state }
    }
}

fn numbers(window: &SensorWindow) -> [u64; 5] {
    let ((mean, variance, weight), (long, long_weight)) = (window.short, window.long);
    [mean, variance, weight, long, long_weight].map(f64::to_bits)
}

/// Changes the times of a state that mostly lie near its newest reading, but for those of its sensors.
fn each_time(state: &mut TwinState, change: impl Fn(Millis) -> Millis) {
    let dwell = &mut state.dwell;
    let times = [
        &mut state.commissioned_at,
        &mut state.last_received_at,
        &mut state.signal_lost_at,
        &mut state.windows.maintained_at,
        &mut dwell.danger_above,
        &mut dwell.watch_above,
        &mut dwell.danger_below,
        &mut dwell.watch_below,
        &mut dwell.last_at,
        &mut state.level_since,
        &mut state.believed_since,
        // Last, since the others are told by it.
        &mut state.newest,
    ];
    for at in times.into_iter().flatten() {
        *at = change(*at);
    }
}

/// A number near zero as one with few bits, whatever its sign.
const fn folded(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

const fn unfolded(folded: u64) -> i64 {
    (folded >> 1).cast_signed() ^ -((folded & 1).cast_signed())
}

struct Writer(Vec<u8>);

impl Writer {
    /// Seven bits a byte, the lowest first.
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn standing(&mut self) -> Standing {
        let (version, sequence) = (self.number(), self.number());
        Standing { version, sequence, appended_at: unfolded(self.number()) }
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let (bytes, rest) = self.0.split_first_chunk().expect("as many bytes were laid down");
        self.0 = rest;
        *bytes
    }

    fn number(&mut self) -> u64 {
        let (mut number, mut shift) = (0, 0);
        loop {
            let [byte] = self.bytes();
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return number;
            }
            shift += 7;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twin::level::{Dwell, Thresholds};

    fn window(nth: i64) -> SensorWindow {
        SensorWindow {
            value: -0.0,
            missing: nth % 2 == 0,
            last_at: (nth != 1).then_some(1_769_932_800_000 + nth * 7),
            unchanged_since: 1_769_932_000_000 - nth,
            short: (1.0 / 3.0 + nth as f64, -0.0, 0.75),
            long: (f64::MIN_POSITIVE, 1e300),
        }
    }

    fn view(state: TwinState) -> TwinView {
        let id = LocomotiveId::parse("LOC-001").expect("an id");
        TwinView { id, version: 7, shard: 3, sequence: u64::MAX, appended_at: -5, state }
    }

    fn held(view: &TwinView) -> TwinView {
        let mut names = Names::default();
        let asleep = Asleep::lay_down(view, &mut names);
        let Standing { version, sequence, appended_at } = asleep.standing();
        assert_eq!((version, sequence, appended_at), (view.version, view.sequence, view.appended_at));
        asleep.wake(view.id.clone(), view.shard, &names)
    }

    /// Bit for bit: numbers that are equal to others and yet are not the same, times before and after the newest, and the ends of all ranges.
    #[test]
    fn a_view_comes_back_as_it_was() {
        let mut state = TwinState::new();
        let encoded = |view: &TwinView| codec::encode_state(&view.state);
        assert_eq!(held(&view(state.clone())), view(state.clone()));
        state.definition = DefinitionId([9; 16]);
        state.newest = Some(1_769_932_800_000);
        state.commissioned_at = Some(i64::MIN);
        state.last_received_at = Some(1_769_932_800_200);
        state.signal_lost_at = Some(i64::MAX);
        state.level_since = Some(0);
        state.dwell = Dwell { danger_above: Some(1), last_at: Some(1_769_932_800_000), ..Dwell::default() };
        state.windows.sensors = (0..5).map(window).collect();
        let thresholds = Thresholds { watch: 0.25, danger: -0.0 };
        let score = Score { risk: 0.1, spread: f32::MAX };
        state.assessment = Some(Assessment { score, model: ModelId([4; 16]), thresholds });
        let laid = view(state.clone());
        let woken = held(&laid);
        assert_eq!(woken, laid);
        assert_eq!(encoded(&woken), encoded(&laid));
        let bits = |view: &TwinView| view.state.windows.sensors.iter().map(numbers).collect::<Vec<_>>();
        assert_eq!(bits(&woken), bits(&laid));
        state.newest = None;
        state.windows.sensors[0].short.0 = f64::from_bits(1);
        assert_eq!(held(&view(state.clone())), view(state));
    }

    #[test]
    fn what_a_shard_shares_is_held_once() {
        let mut names = Names::default();
        let mut state = TwinState::new();
        state.definition = DefinitionId([9; 16]);
        let first = Asleep::lay_down(&view(state.clone()), &mut names);
        let second = Asleep::lay_down(&view(state), &mut names);
        assert_eq!((first.0, names.0.len()), (second.0, 1));
    }
}
