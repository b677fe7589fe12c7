//! What a forest has seen: the range of every sensor, and which values of two sensors occurred together. A forest answers any row, also one
//! unlike all that it learnt from, with the same confidence; here is what tells such a row. Windows are not looked at, for they follow the
//! values, and neither is what a reading lacks.
//!
//! Each sensor's training range is cut into [`CELLS`] cells, and of every pair of sensors the cells are kept that a training row fell into.
//! A row is strange when a value lies more than [`BEYOND`] of the range outside it, or when for a pair, brought to the edge of its ranges, no
//! kept cell lies within `radius`. The radius is a property of the data, not a taste: the least one, from [`LEAST_RADIUS`] on, under which at
//! most [`FALSE_ALARMS`] of the validation rows (other machines) would be called strange.

use serde::{Deserialize, Serialize};
use twin::features::{FeatureKind, Schema};
use twin::fold::Blueprint;

use crate::samples::Samples;

/// Cells of each sensor's range.
pub const CELLS: usize = 32;
/// How far outside the training range a value may lie, as a share of that range: a failure may go further than any that was recorded.
pub const BEYOND: f32 = 1.0;
/// Least radius, in cells: what lies nearer than a quarter of a range is not far.
pub const LEAST_RADIUS: usize = 8;
/// Largest share of validation rows that may be called strange.
pub const FALSE_ALARMS: f64 = 0.001;

/// What a forest has seen, as it stands in the card.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DomainCard {
    /// The sensors in the order of the definition.
    pub sensors: Vec<Seen>,
    /// Every pair of sensors that spoke.
    pub pairs: Vec<Pair>,
    /// How many cells a pair of values may lie from one that occurred.
    pub radius: usize,
    /// Share of the validation rows outside of it; `None` where there were none.
    pub outside: Option<f64>,
}

/// The values of one sensor in the training rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Its key.
    pub sensor: String,
    /// Least and greatest value; `None` for a sensor that never spoke.
    pub range: Option<(f32, f32)>,
    /// Width of a cell.
    pub cell: f32,
}

/// Which values of two sensors occurred together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// The two, as indices among the sensors.
    pub sensors: (usize, usize),
    /// For each cell of the first sensor eight hexadecimal digits; bit `i` is set where cell `i` of the second occurred with it.
    pub cells: String,
}

/// A card's domain that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the model card's domain must be that of the definition's sensors: {0}; make the model anew with `cidp bootstrap`"
)]
pub struct DomainError(String);

/// Rows of bits: cell of the first sensor, then cell of the second.
type Grid = [u32; CELLS];

/// Where a sensor's value and its flag stand in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Columns {
    value: usize,
    missing: usize,
}

/// The domain, ready to be asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Domain {
    sensors: Vec<(Columns, Option<Scale>)>,
    pairs: Vec<(usize, usize, Grid)>,
}

/// From values to cells.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Scale {
    least: f32,
    cells: f32,
    bounds: (f32, f32),
}

impl Scale {
    fn of(seen: &Seen) -> Option<Self> {
        let (least, greatest) = seen.range?;
        let beyond = BEYOND * seen.cell * CELLS as f32;
        Some(Self { least, cells: seen.cell.recip(), bounds: (least - beyond, greatest + beyond) })
    }

    /// The last value of each stretch in which neither the cell nor the range changes.
    fn ends(&self) -> Vec<f32> {
        let (least, greatest) = self.bounds;
        let last_below = |cell: usize| {
            // An edge as computed is off by the rounding of its cell: the true one is a few neighbours away.
            let mut end = self.least + cell as f32 / self.cells;
            while self.cell(end) >= cell && end > least {
                end = end.next_down();
            }
            while self.cell(end.next_up()) < cell && end < greatest {
                end = end.next_up();
            }
            end
        };
        let inner = (1..CELLS).map(last_below);
        std::iter::once(least.next_down()).chain(inner).chain([greatest]).collect()
    }

    fn cell(&self, value: f32) -> usize {
        // A cast saturates: what lies below the range is in the first cell.
        (((value - self.least) * self.cells) as usize).min(CELLS - 1)
    }
}

impl DomainCard {
    /// What the training rows hold, with the radius that the validation rows ask for.
    pub fn of(training: &Samples, validation: &Samples, blueprint: &Blueprint) -> Self {
        let columns = columns(&blueprint.schema);
        let sensors: Vec<Seen> =
            columns.iter().enumerate().map(|(index, c)| seen(training, *c, index, blueprint)).collect();
        let spoken: Vec<usize> = (0..sensors.len()).filter(|index| sensors[*index].range.is_some()).collect();
        let scales: Vec<_> = columns.iter().copied().zip(sensors.iter().map(Scale::of)).collect();
        let mut grids: Vec<(usize, usize, Grid)> = Vec::new();
        for (at, &first) in spoken.iter().enumerate() {
            grids.extend(spoken[at + 1..].iter().map(|&second| (first, second, [0; CELLS])));
        }
        for row in training.rows() {
            let cells: Vec<_> = scales.iter().map(|sensor| cell_of(sensor, row)).collect();
            for (first, second, grid) in &mut grids {
                if let (Some(a), Some(b)) = (cells[*first], cells[*second]) {
                    grid[a] |= 1 << b;
                }
            }
        }
        let pairs = grids.iter().map(|(first, second, grid)| Pair { sensors: (*first, *second), cells: written(grid) });
        let mut card = Self { sensors, pairs: pairs.collect(), radius: LEAST_RADIUS, outside: None };
        let outside =
            |radius| Domain { sensors: scales.clone(), pairs: grown(&grids, radius) }.share_outside(validation);
        card.outside = outside(card.radius);
        while card.outside.is_some_and(|share| share > FALSE_ALARMS) && card.radius < CELLS {
            card.radius += 1;
            card.outside = outside(card.radius);
        }
        card
    }
}

impl Domain {
    /// Prepares a card's domain for rows of this definition.
    pub fn new(card: &DomainCard, blueprint: &Blueprint) -> Result<Self, DomainError> {
        let wrong = |message: String| Err(DomainError(message));
        let expected: Vec<_> = blueprint.definition.sensors.iter().map(|sensor| sensor.key.as_str()).collect();
        let got: Vec<_> = card.sensors.iter().map(|seen| seen.sensor.as_str()).collect();
        if expected != got {
            return wrong(format!("expected {}, got {}", expected.join(", "), got.join(", ")));
        }
        let usable = |seen: &Seen| {
            seen.cell.is_finite()
                && seen.cell > 0.0
                && seen
                    .range
                    .is_none_or(|(least, greatest)| least.is_finite() && least <= greatest && greatest.is_finite())
        };
        if let Some(seen) = card.sensors.iter().find(|seen| !usable(seen)) {
            return wrong(format!("{}: expected a range and the width of a cell, got {seen:?}", seen.sensor));
        }
        let mut grids = Vec::with_capacity(card.pairs.len());
        for Pair { sensors: (first, second), cells } in &card.pairs {
            let Some(grid) = read(cells).filter(|_| first < second && *second < expected.len()) else {
                return wrong(format!(
                    "a pair of two sensors and {} hexadecimal digits is not: {first}, {second}",
                    CELLS * 8
                ));
            };
            grids.push((*first, *second, grid));
        }
        let sensors = columns(&blueprint.schema).into_iter().zip(card.sensors.iter().map(Scale::of)).collect();
        Ok(Self { sensors, pairs: grown(&grids, card.radius.min(CELLS)) })
    }

    /// For every sensor that spoke the column of its value and the bounds at which a row may become strange or cease to be: the greatest
    /// values of one kind below the next, ascending.
    pub fn bounds(&self) -> impl Iterator<Item = (usize, Vec<f32>)> {
        let of = |(Columns { value, .. }, scale): &(Columns, Option<Scale>)| Some((*value, (*scale)?.ends()));
        self.sensors.iter().filter_map(of)
    }

    /// The two sensors that make a row strange, twice the same for one by itself; `None` for a row like those of the training.
    pub fn strange(&self, row: &[f32]) -> Option<(usize, usize)> {
        // What a reading lacks is in no cell: there is nothing to be strange.
        let mut cells = [None; twin::reading::MAX_SENSORS];
        for (index, sensor) in self.sensors.iter().enumerate() {
            cells[index] = cell_of(sensor, row);
            let (Columns { value, .. }, scale) = sensor;
            if let (Some(Scale { bounds: (least, greatest), .. }), Some(_)) = (scale, cells[index])
                && !(*least..=*greatest).contains(&row[*value])
            {
                return Some((index, index));
            }
        }
        let apart = self.pairs.iter().find(|(first, second, grid)| match (cells[*first], cells[*second]) {
            (Some(a), Some(b)) => grid[a] >> b & 1 == 0,
            (None, _) | (_, None) => false,
        });
        apart.map(|(first, second, _)| (*first, *second))
    }

    fn share_outside(&self, samples: &Samples) -> Option<f64> {
        let outside = samples.rows().filter(|row| self.strange(row).is_some()).count();
        (!samples.is_empty()).then(|| outside as f64 / samples.len() as f64)
    }
}

fn columns(schema: &Schema) -> Vec<Columns> {
    let place = |sensor: usize, kind: FeatureKind| {
        schema.features.iter().position(|feature| feature.sensor == Some(sensor) && feature.kind == kind)
    };
    let of = |sensor| {
        Some(Columns { value: place(sensor, FeatureKind::Value)?, missing: place(sensor, FeatureKind::Missing)? })
    };
    (0..).map_while(of).collect()
}

fn seen(samples: &Samples, columns: Columns, index: usize, blueprint: &Blueprint) -> Seen {
    let sensor = &blueprint.definition.sensors[index];
    let values = samples.rows().filter(|row| row[columns.missing] == 0.0).map(|row| row[columns.value]);
    let range = values.fold(None, |range: Option<(f32, f32)>, value| {
        Some(range.map_or((value, value), |(least, greatest)| (least.min(value), greatest.max(value))))
    });
    // A cell is at least one step of the sensor, so that a value which never changed has a range as well.
    let width = range.map_or(0.0, |(least, greatest)| greatest - least);
    let cell = (width / CELLS as f32).max((1.0 / sensor.steps) as f32);
    Seen { sensor: sensor.key.clone(), range, cell }
}

fn cell_of((columns, scale): &(Columns, Option<Scale>), row: &[f32]) -> Option<usize> {
    let scale = scale.filter(|_| row[columns.missing] == 0.0)?;
    Some(scale.cell(row[columns.value]))
}

/// The cells within `radius` of one that is set.
fn grown(grids: &[(usize, usize, Grid)], radius: usize) -> Vec<(usize, usize, Grid)> {
    let grow = |grid: &Grid| {
        let mut wide = [0_u32; CELLS];
        for (a, row) in wide.iter_mut().enumerate() {
            for (other, &bits) in grid.iter().enumerate().filter(|(other, _)| other.abs_diff(a) <= radius) {
                let far = other.abs_diff(a);
                let reach =
                    (0..=radius).rfind(|reach| reach * reach + far * far <= radius * radius).unwrap_or_default();
                *row |= (0..=reach.min(CELLS - 1)).fold(0, |near, shift| near | bits << shift | bits >> shift);
            }
        }
        wide
    };
    grids.iter().map(|(first, second, grid)| (*first, *second, grow(grid))).collect()
}

fn written(grid: &Grid) -> String {
    use std::fmt::Write;
    grid.iter().fold(String::with_capacity(CELLS * 8), |mut text, row| {
        let written = write!(text, "{row:08x}");
        debug_assert!(written.is_ok(), "a String takes every text");
        text
    })
}

fn read(text: &str) -> Option<Grid> {
    let rows = text.as_bytes().as_chunks::<8>().0;
    let mut grid = [0; CELLS];
    if text.len() != CELLS * 8 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (row, digits) in grid.iter_mut().zip(rows) {
        *row = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(grid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use twin::definition::Definition;

    fn blueprint() -> Blueprint {
        Blueprint::new(Definition::parse(include_str!("../../data/locomotive.toml")).expect("valid"))
    }

    fn row(flow: f32, vibration: Option<f32>) -> Vec<f32> {
        let mut row = vec![0.0; 26];
        (row[0], row[12], row[17]) = (flow, vibration.unwrap_or(2.0), f32::from(u8::from(vibration.is_none())));
        (row[11], row[23]) = (1.0, 1.0);
        row
    }

    /// Flow and vibration rise together; pressure and temperature never spoke.
    fn rising() -> Samples {
        let mut samples = Samples::new(26, 32);
        (0..=320).for_each(|step| samples.push(&row(step as f32, Some(step as f32 / 32.0)), false));
        samples
    }

    #[test]
    fn between_two_bounds_a_value_stays_in_its_cell() {
        let scale = Scale { least: 1.37, cells: (11.1_f32 / 32.0).recip(), bounds: (-9.73, 23.57) };
        let ends = scale.ends();
        assert_eq!(ends.len(), CELLS + 1);
        for (cell, &end) in (1..CELLS).zip(&ends[1..]) {
            assert_eq!((scale.cell(end), scale.cell(end.next_up())), (cell - 1, cell));
        }
    }

    #[test]
    fn what_was_never_seen_together_is_strange_and_what_lies_near_is_not() {
        let (blueprint, samples) = (blueprint(), rising());
        let card = DomainCard::of(&samples, &samples, &blueprint);
        assert_eq!((card.pairs.len(), card.radius, card.outside), (1, LEAST_RADIUS, Some(0.0)));
        let domain = Domain::new(&card, &blueprint).expect("its own definition");
        let strange = |flow, vibration| domain.strange(&row(flow, Some(vibration)));
        assert_eq!(strange(160.0, 5.0), None);
        assert_eq!(strange(160.0, 6.0), None, "three cells apart");
        assert_eq!(strange(20.0, 9.0), Some((0, 2)), "each for itself was seen");
        assert_eq!(strange(340.0, 14.0), None, "outside, and near the edge");
        assert_eq!(strange(320.0, 20.5), Some((2, 2)));
        assert_eq!(strange(-330.0, 0.0), Some((0, 0)));
        assert_eq!(domain.strange(&row(20.0, None)), None, "a value that is missing is not strange");
    }

    #[test]
    fn the_radius_grows_until_other_machines_are_at_home() {
        let (blueprint, samples) = (blueprint(), rising());
        let mut others = Samples::new(26, 32);
        (0..100).for_each(|step| others.push(&row(160.0 + step as f32 / 100.0, Some(10.0)), false));
        let card = DomainCard::of(&samples, &others, &blueprint);
        assert!(card.radius > LEAST_RADIUS && card.outside == Some(0.0), "{} {:?}", card.radius, card.outside);
    }

    #[test]
    fn a_card_of_other_sensors_or_broken_cells_is_refused() {
        let (blueprint, samples) = (blueprint(), rising());
        let card = DomainCard::of(&samples, &samples, &blueprint);
        let refused = |change: &dyn Fn(&mut DomainCard)| {
            let mut card = card.clone();
            change(&mut card);
            Domain::new(&card, &blueprint).expect_err("broken on purpose").to_string()
        };
        assert!(refused(&|card| card.sensors[0].sensor = "x".to_owned()).contains("expected flow, pressure"));
        assert!(refused(&|card| card.sensors[0].cell = f32::NAN).contains("flow: expected a range"));
        assert!(refused(&|card| card.pairs[0].sensors = (0, 9)).contains("0, 9"));
        assert!(refused(&|card| card.pairs[0].cells.truncate(9)).contains("256 hexadecimal digits"));
    }
}
