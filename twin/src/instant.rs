//! Instants as epoch milliseconds, and their RFC 3339 text. There is no "now" here.

use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// Milliseconds since 1970-01-01T00:00:00Z.
pub type Millis = i64;

/// One second.
pub const SECOND: Millis = 1_000;
/// One minute.
pub const MINUTE: Millis = 60 * SECOND;
/// One hour.
pub const HOUR: Millis = 60 * MINUTE;
/// One day.
pub const DAY: Millis = 24 * HOUR;

/// 2000-01-01T00:00:00Z: no digital sensor of this fleet is older.
pub const EARLIEST: Millis = 946_684_800_000;
/// 2200-01-01T00:00:00Z.
pub const LATEST: Millis = 7_258_118_400_000;

/// Seconds as milliseconds, rounded to the nearest.
pub fn from_seconds(seconds: f64) -> Millis {
    libm::round(seconds * 1_000.0) as Millis
}

/// Reads RFC 3339 (any offset, any fraction; cut to milliseconds), or epoch milliseconds in digits.
pub fn parse(text: &str) -> Option<Millis> {
    if let Some(millis) = parse_utc(text.as_bytes()) {
        return Some(millis);
    }
    if let Ok(millis) = text.parse::<i64>() {
        return Some(millis);
    }
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    Some((moment.unix_timestamp_nanos().div_euclid(1_000_000)) as Millis)
}

/// The common form `YYYY-MM-DDTHH:MM:SS[.mmm]Z`, without the detour through a calendar library; anything else is `None`.
fn parse_utc(text: &[u8]) -> Option<Millis> {
    let millis = match text.len() {
        20 => 0,
        24 if text[19] == b'.' => number(&text[20..23])?,
        _ => return None,
    };
    let shape = text[4] == b'-' && text[7] == b'-' && text[10] == b'T' && text[13] == b':' && text[16] == b':';
    if !shape || text[text.len() - 1] != b'Z' {
        return None;
    }
    let (year, month, day) = (number(&text[0..4])?, number(&text[5..7])?, number(&text[8..10])?);
    let (hour, minute, second) = (number(&text[11..13])?, number(&text[14..16])?, number(&text[17..19])?);
    let days_in_month = match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if day == 0 || day > days_in_month || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some(days_from_civil(year, month, day) * DAY + hour * HOUR + minute * MINUTE + second * SECOND + millis)
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |n, &d| d.is_ascii_digit().then(|| n * 10 + i64::from(d - b'0')))
}

/// Days since 1970-01-01 of a Gregorian date (H. Hinnant, "chrono-compatible low-level date algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Writes an instant as RFC 3339 in UTC with milliseconds; outside the years 0 to 9999 as epoch milliseconds.
pub fn format(millis: Millis) -> String {
    let Ok(moment) = OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000) else {
        return millis.to_string();
    };
    let moment = moment.to_offset(UtcOffset::UTC);
    if !(0..=9_999).contains(&moment.year()) {
        return millis.to_string();
    }
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        moment.year(),
        u8::from(moment.month()),
        moment.day(),
        moment.hour(),
        moment.minute(),
        moment.second(),
        moment.millisecond()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_the_forms_of_the_contract() {
        assert_eq!(parse("2026-02-01T08:00:00.000Z"), Some(1_769_932_800_000));
        assert_eq!(parse("2026-02-01T08:00:00Z"), Some(1_769_932_800_000));
        assert_eq!(parse("2026-02-01T09:00:00.5+01:00"), Some(1_769_932_800_500));
        assert_eq!(parse("1769932800000"), Some(1_769_932_800_000));
        assert_eq!(parse("2026-02-30T08:00:00Z"), None);
        assert_eq!(parse("yesterday"), None);
    }

    proptest! {
        #[test]
        fn the_short_way_equals_the_library(millis in EARLIEST..LATEST) {
            let text = format(millis);
            prop_assert_eq!(parse(&text), Some(millis));
            let library = OffsetDateTime::parse(&text, &Rfc3339).expect("format writes RFC 3339");
            prop_assert_eq!((library.unix_timestamp_nanos() / 1_000_000) as i64, millis);
        }
    }
}
