//! The line: stations in order, and where a train is after so many hours.

/// One station.
#[derive(Debug, Clone, PartialEq)]
pub struct Station {
    /// Its name.
    pub name: String,
    /// Degrees, WGS 84.
    pub latitude: f64,
    /// Degrees, WGS 84.
    pub longitude: f64,
    /// Metres above the sea, approximate.
    pub altitude: f64,
    /// Kilometres along the chords from Douala.
    pub km: f64,
}

/// The way of a train at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Place {
    pub(crate) latitude: f64,
    pub(crate) longitude: f64,
    /// Metres climbed per kilometre in the direction of travel.
    pub(crate) gradient: f64,
    /// km/h.
    pub(crate) speed: f64,
}

/// The line with its running times in both directions.
#[derive(Debug, Clone)]
pub struct Line {
    stations: Vec<Station>,
    /// Hours from the start to each station, outward and homeward, for a medium load.
    outward: Vec<f64>,
    homeward: Vec<f64>,
}

const STATIONS: &str = include_str!("../../data/line/stations.csv");

impl Line {
    /// The line Douala–Yaoundé–Ngaoundéré.
    pub fn camrail() -> Self {
        let number = |field: Option<&str>| {
            field.and_then(|text| text.parse().ok()).expect("the table's numbers are written by its tool")
        };
        let station = |row: &str| {
            // The name may hold no comma: the tool writes none.
            let mut fields = row.split(',');
            Station {
                name: fields.next().unwrap_or_default().to_owned(),
                latitude: number(fields.next()),
                longitude: number(fields.next()),
                altitude: number(fields.next()),
                km: number(fields.next()),
            }
        };
        let stations: Vec<Station> = STATIONS.lines().skip(1).map(station).collect();
        let outward = running_times(&stations, 1.0);
        let homeward = running_times(&stations, -1.0);
        Self { stations, outward, homeward }
    }

    /// The stations from Douala to Ngaoundéré.
    pub fn stations(&self) -> &[Station] {
        &self.stations
    }

    /// Hours of one way for a medium load.
    pub(crate) fn hours(&self, homeward: bool) -> f64 {
        let times = if homeward { &self.homeward } else { &self.outward };
        times[times.len() - 1]
    }

    /// Where a train is after `hours` of its way.
    pub(crate) fn place(&self, hours: f64, homeward: bool) -> Place {
        let times = if homeward { &self.homeward } else { &self.outward };
        let last = times.len() - 2;
        let leg = times.partition_point(|time| *time <= hours).saturating_sub(1).min(last);
        let share = ((hours - times[leg]) / (times[leg + 1] - times[leg])).clamp(0.0, 1.0);
        let station = |index: usize| &self.stations[if homeward { self.stations.len() - 1 - index } else { index }];
        let (from, to) = (station(leg), station(leg + 1));
        let km = (to.km - from.km).abs().max(0.1);
        let between = |a: f64, b: f64| a + (b - a) * share;
        Place {
            latitude: between(from.latitude, to.latitude),
            longitude: between(from.longitude, to.longitude),
            gradient: (to.altitude - from.altitude) / km,
            speed: km / (times[leg + 1] - times[leg]),
        }
    }

    /// A train that stands at one end.
    pub(crate) fn terminus(&self, ngaoundere: bool) -> Place {
        let station = &self.stations[if ngaoundere { self.stations.len() - 1 } else { 0 }];
        Place { latitude: station.latitude, longitude: station.longitude, gradient: 0.0, speed: 0.0 }
    }
}

/// Hours to each station in one direction: 62 km/h on the flat, slower uphill, a little slower downhill.
fn running_times(stations: &[Station], direction: f64) -> Vec<f64> {
    let mut times = vec![0.0];
    let legs: Vec<_> = stations.windows(2).map(|pair| (&pair[0], &pair[1])).collect();
    let mut add = |(from, to): &(&Station, &Station)| {
        let km = (to.km - from.km).max(0.1);
        let climb = direction * (to.altitude - from.altitude) / km;
        let speed = (62.0 - 2.6 * climb.max(0.0) - 0.8 * (-climb).max(0.0)).clamp(22.0, 62.0);
        times.push(times[times.len() - 1] + km / speed);
    };
    if direction > 0.0 {
        legs.iter().for_each(&mut add);
    } else {
        legs.iter().rev().for_each(&mut add);
    }
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_runs_from_douala_by_yaounde_to_ngaoundere() {
        let line = Line::camrail();
        let names: Vec<_> = line.stations().iter().map(|station| station.name.as_str()).collect();
        assert_eq!((names[0], names[31], names[names.len() - 1]), ("Douala", "Yaoundé", "Ngaoundéré"));
        assert_eq!(names.len(), 52);
        let yaounde = &line.stations()[31];
        assert!((yaounde.km - 247.8).abs() < 1.0, "chord of the first line: {}", yaounde.km);
        assert!((yaounde.latitude - 3.8707).abs() < 1e-4 && (yaounde.longitude - 11.5261).abs() < 1e-4);
        assert!(line.stations().windows(2).all(|pair| pair[0].km < pair[1].km));
    }

    #[test]
    fn a_train_starts_and_ends_at_its_termini() {
        let line = Line::camrail();
        for homeward in [false, true] {
            let (start, end) = (line.place(0.0, homeward), line.place(line.hours(homeward), homeward));
            assert_eq!(start.latitude, line.terminus(homeward).latitude);
            assert_eq!(end.latitude, line.terminus(!homeward).latitude);
            assert!((12.0..30.0).contains(&line.hours(homeward)), "{} hours", line.hours(homeward));
        }
    }
}
