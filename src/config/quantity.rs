//! Durations (`"60s"`), sizes (`"10MB"`) and times (`"2026-01-01T00:00:00Z"`, RFC 3339).
//!
//! Refuses numbers without a unit: whoever reads `60` in a file should not have to guess.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};
use toml::value::{Date, Datetime, Offset, Time};

use crate::time::Timestamp;

/// A duration as it is written: `"500ms"`, `"60s"`, `"15m"`, `"1h"`, `"30d"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lasting(pub(super) Duration);

/// A size in bytes as it is written: `"512B"`, `"64KB"`, `"10MB"`, `"1GiB"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Size(pub(super) u64);

/// A point in time as it is written: RFC 3339 with an offset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moment(pub(super) Timestamp);

/// Splits `10MB` into the number and the unit.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, unit.trim_start()))
}

/// Reads a duration.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let seconds = match unit {
        "ms" => return Some(Duration::from_millis(number)),
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    number.checked_mul(seconds).map(Duration::from_secs)
}

fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let bytes = match unit {
        "B" => 1,
        "KB" | "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(bytes)
}

// RFC 3339 §5.6: date-time with its offset; a local time would mean another moment elsewhere.
fn moment(text: &str) -> Option<Timestamp> {
    let Datetime {
        date: Some(date),
        time: Some(time),
        offset: Some(offset),
    } = text.parse().ok()?
    else {
        return None;
    };
    let offset_minutes = match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    let Time {
        hour,
        minute,
        second,
        ..
    } = time;
    let minutes = i64::from(hour) * 60 + i64::from(minute) - offset_minutes;
    let seconds = days(date) * 86_400 + minutes * 60 + i64::from(second.unwrap_or_default());
    u64::try_from(seconds).ok().map(Timestamp::from_secs)
}

/// Days since 1970-01-01 in the Gregorian calendar. Years begin in March here, so that the leap day
/// is the last of its year, and come in cycles of 400 years or 146,097 days.
fn days(date: Date) -> i64 {
    let (month, day) = (i64::from(date.month), i64::from(date.day));
    let year = i64::from(date.year) - i64::from(month <= 2);
    let (cycle, year_of_cycle) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_cycle = year_of_cycle * 365 + year_of_cycle / 4 - year_of_cycle / 100 + day_of_year;
    cycle * 146_097 + day_of_cycle - 719_468
}

macro_rules! deserialize {
    ($name:ident, $read:expr, $kind:literal, $example:literal) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                const EXPECTED: &str = concat!("should be ", $kind, " such as \"", $example, "\"");
                let text =
                    String::deserialize(deserializer).map_err(|_| de::Error::custom(EXPECTED))?;
                let value = $read(text.trim()).ok_or_else(|| de::Error::custom(EXPECTED))?;
                Ok(Self(value))
            }
        }
    };
}

deserialize!(Lasting, duration, "a duration", "60s");
deserialize!(Size, size, "a size", "10MB");
deserialize!(
    Moment,
    moment,
    "a time with its offset",
    "2026-01-01T00:00:00Z"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_read_in_every_unit() {
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("60s"), Some(Duration::from_mins(1)));
        assert_eq!(duration("15m"), Some(Duration::from_mins(15)));
        assert_eq!(duration("30 d"), Some(Duration::from_hours(720)));
        assert_eq!(size("10MB"), Some(10_000_000));
        assert_eq!(size("1MiB"), Some(1_048_576));
    }

    #[test]
    fn numbers_without_a_known_unit_are_refused() {
        for bad in [
            "60",
            "",
            "s",
            "-1s",
            "1.5h",
            "1h30m",
            "99999999999999999999s",
            "1y",
        ] {
            assert_eq!(duration(bad), None, "{bad}");
        }
        for bad in ["10", "10mb", "MB", "99999999999GB"] {
            assert_eq!(size(bad), None, "{bad}");
        }
        // A product that does not fit is refused, not wrapped.
        assert_eq!(duration("18446744073709551615d"), None);
    }

    #[test]
    fn moments_are_seconds_since_the_epoch() {
        let read = |text| moment(text).map(Timestamp::as_secs);
        assert_eq!(read("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(read("2000-02-29T12:00:00Z"), Some(951_825_600));
        assert_eq!(read("2026-01-01T00:00:00Z"), Some(1_767_225_600));
        assert_eq!(read("2026-01-01T02:00:00+02:00"), Some(1_767_225_600));
        assert_eq!(read("2100-03-01T00:00:00Z"), Some(4_107_542_400));
        for bad in [
            "2026-01-01",
            "2026-01-01T00:00:00",
            "yesterday",
            "1969-12-31T23:59:59Z",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
