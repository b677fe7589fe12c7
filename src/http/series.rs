//! `GET /twins/{id}/series`: the course of sensors and of the risk, in buckets of time.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use projections::series::{Course, Question, Source};
use serde::Serialize;
use twin::definition::Definition;
use twin::instant::{self, DAY, HOUR, MINUTE, Millis, SECOND};
use utoipa::{IntoParams, ToSchema};

use super::Door;
use super::ask::{self, Addressee};
use crate::auth::extract::{Caller, Read};
use crate::problem::Problem;

/// Buckets of one answer at most.
const BUCKETS_MOST: Millis = 10_000;
/// Buckets of one answer, about, where no step is asked for.
const BUCKETS_USUAL: Millis = 500;
/// Steps among which one is chosen where none is asked for.
const STEPS: [Millis; 10] =
    [SECOND, 5 * SECOND, 15 * SECOND, MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 6 * HOUR, DAY, 7 * DAY];
/// Span where no beginning is asked for.
const SPAN_USUAL: Millis = DAY;

/// Which course.
#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SeriesQuery {
    /// Keys of sensors, and `risk`: separated by commas, or one a parameter. All sensors and the risk where it is left out.
    sensor: Option<Vec<String>>,
    /// Begin (event time); a day before `to` where it is left out.
    from: Option<String>,
    /// End (event time), left out itself; now where it is not given.
    to: Option<String>,
    /// Width of a bucket: seconds, or with a unit `30s`, `5m`, `1h`, `1d`. Chosen for about 500 buckets where it is left out.
    #[param(example = "5m")]
    step: Option<String>,
}

/// The answer: one course a name.
#[derive(Debug, Serialize, ToSchema)]
pub struct Series {
    /// The locomotive.
    pub locomotive_id: String,
    /// Begin of the first bucket.
    pub from: String,
    /// End, left out itself.
    pub to: String,
    /// Width of a bucket, in seconds. Buckets begin at multiples of it since 1970.
    pub step_seconds: i64,
    /// What the buckets were made from: `1h`, `1m` or `readings`.
    pub source: &'static str,
    /// Age of the oldest event that is not in the buckets yet, in seconds.
    pub lag_seconds: f64,
    /// The courses, in the order in which they were asked for.
    pub series: Vec<SensorSeries>,
}

/// The course of one sensor, or of the risk.
#[derive(Debug, Serialize, ToSchema)]
pub struct SensorSeries {
    /// Key of the sensor, or `risk`.
    pub sensor: String,
    /// Unit of the values; `null` for the risk.
    #[schema(required)]
    pub unit: Option<String>,
    /// Buckets that hold something, in order of time.
    pub points: Vec<Point>,
}

/// One bucket.
#[derive(Debug, Serialize, ToSchema)]
pub struct Point {
    /// Its begin.
    pub at: String,
    /// Values in it.
    pub count: u64,
    /// The least.
    pub min: f64,
    /// Their mean.
    pub mean: f64,
    /// The greatest.
    pub max: f64,
}

/// The course of sensors and of the risk, with least, mean and greatest value in each bucket of time.
///
/// Late readings count in the bucket of their event time. Buckets of whole minutes and hours come from rollups, finer ones from the
/// readings themselves.
#[utoipa::path(
    get, path = "/twins/{id}/series", tag = "twins",
    params(("id" = String, Path, description = "The locomotive"), SeriesQuery),
    responses((status = 200, body = Series), (status = "default", response = Problem)),
    security(("key" = []), ("bearer" = []))
)]
pub async fn series(
    State(door): State<Door>,
    _: Caller<Read>,
    Addressee(id): Addressee,
    uri: Uri,
) -> Result<Json<Series>, Problem> {
    let query = SeriesQuery::read(&uri);
    let parts = &door.app.parts;
    if parts.fleet.twin(id.as_str()).is_none() {
        return Err(Problem::no_locomotive(id.as_str()));
    }
    let definition = &parts.model.blueprint.definition;
    let names = names(query.sensor.as_deref(), definition)?;
    let to = ask::time_maybe("to", query.to.as_deref())?.unwrap_or_else(|| door.app.now());
    let from = ask::time_maybe("from", query.from.as_deref())?.unwrap_or(to - SPAN_USUAL);
    let step = step(query.step.as_deref(), from, to)?;
    let question = Question { locomotive: id.to_string(), names, from: from - from.rem_euclid(step), to, step };
    let courses = parts.warehouse.series(&question).await.map_err(|error| Problem::unavailable(error.to_string()))?;
    let series = question.names.iter().zip(courses).map(|(name, course)| one(name, course, definition)).collect();
    Ok(Json(Series {
        locomotive_id: id.to_string(),
        from: instant::format(question.from),
        to: instant::format(to),
        step_seconds: step / SECOND,
        source: Source::for_step(step).name(),
        lag_seconds: parts.warehouse.status().lag_seconds,
        series,
    }))
}

impl SeriesQuery {
    /// Reads the query itself, since a sensor may be named by several parameters.
    fn read(uri: &Uri) -> Self {
        let mut query = Self::default();
        for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
            let value = value.into_owned();
            match &*name {
                "sensor" => query.sensor.get_or_insert_default().extend(ask::list(Some(&value)).unwrap_or_default()),
                "from" => query.from = Some(value),
                "to" => query.to = Some(value),
                "step" => query.step = Some(value),
                // An unknown parameter is ignored here as on every other route.
                _ => {}
            }
        }
        query
    }
}

/// The names asked for, each once.
fn names(asked: Option<&[String]>, definition: &Definition) -> Result<Vec<String>, Problem> {
    let all = || definition.sensors.iter().map(|sensor| sensor.key.clone()).chain(["risk".to_owned()]);
    let mut names: Vec<String> = Vec::new();
    for name in asked.unwrap_or_default() {
        let known = definition.index_of_key(name).map(|index| definition.sensors[index].key.clone());
        let known = known.or_else(|| (name == "risk").then(|| name.clone())).ok_or_else(|| {
            let known = all().collect::<Vec<_>>().join(", ");
            Problem::misfit("sensor", format!("expected some of {known}, got {name:?}"))
        })?;
        if !names.contains(&known) {
            names.push(known);
        }
    }
    Ok(if names.is_empty() { all().collect() } else { names })
}

/// The width of a bucket, in milliseconds.
fn step(asked: Option<&str>, from: Millis, to: Millis) -> Result<Millis, Problem> {
    let span = to.saturating_sub(from);
    if span <= 0 {
        return Err(Problem::misfit("to", "expected a moment after `from`"));
    }
    let Some(text) = asked else {
        let fits = STEPS.into_iter().find(|step| span / step <= BUCKETS_USUAL);
        let coarsest = span / BUCKETS_USUAL / DAY * DAY + DAY;
        return Ok(fits.unwrap_or(coarsest));
    };
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h', 'd']) {
        Some(number) => (number, &text[number.len()..]),
        None => (text, "s"),
    };
    let unit = match unit {
        "m" => MINUTE,
        "h" => HOUR,
        "d" => DAY,
        _ => SECOND,
    };
    let wrong = || Problem::misfit("step", format!("expected whole seconds, or such as 30s, 5m, 1h, 1d, got {text:?}"));
    let step = number.parse::<i64>().ok().filter(|number| *number > 0).ok_or_else(wrong)?;
    let step = step.checked_mul(unit).filter(|step| *step <= 3_660 * DAY).ok_or_else(wrong)?;
    if span / step > BUCKETS_MOST {
        let least = span / BUCKETS_MOST / SECOND + 1;
        return Err(Problem::misfit("step", format!("expected at least {least}s for this span, got {text:?}")));
    }
    Ok(step)
}

fn one(name: &str, course: Course, definition: &Definition) -> SensorSeries {
    let unit = definition.index_of_key(name).map(|index| definition.sensors[index].unit.clone());
    let point = |(at, sums): (Millis, projections::rollup::Aggregate)| Point {
        at: instant::format(at),
        count: sums.count,
        min: sums.min,
        mean: sums.sum / sums.count as f64,
        max: sums.max,
    };
    SensorSeries { sensor: name.to_owned(), unit, points: course.into_iter().map(point).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_read_chosen_or_refused() {
        assert_eq!(step(Some("5m"), 0, DAY).ok(), Some(5 * MINUTE));
        assert_eq!(step(Some("90"), 0, DAY).ok(), Some(90 * SECOND));
        assert_eq!(step(None, 0, 30 * DAY).ok(), Some(6 * HOUR));
        assert_eq!(step(None, 0, MINUTE).ok(), Some(SECOND));
        assert!(step(None, 0, 36_500 * DAY).is_ok_and(|step| step % DAY == 0));
        for (text, to) in [("0", DAY), ("-5m", DAY), ("soon", DAY), ("1s", 30 * DAY), ("99999999999999999d", DAY)] {
            assert_eq!(step(Some(text), 0, to).map_err(|problem| problem.status), Err(422), "{text}");
        }
        assert_eq!(step(None, DAY, 0).map_err(|problem| problem.status), Err(422));
    }

    #[test]
    fn sensors_are_named_by_commas_and_by_parameters() {
        let uri: Uri = "/x?sensor=flow,risk&sensor=temperature&step=1h".parse().expect("an address");
        let query = SeriesQuery::read(&uri);
        assert_eq!(query.sensor.as_deref(), Some(&["flow", "risk", "temperature"].map(str::to_owned)[..]));
        assert_eq!(query.step.as_deref(), Some("1h"));
    }
}
