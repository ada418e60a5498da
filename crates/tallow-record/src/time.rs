//! Times as text.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// UTC time as `20260131T235959Z`: such names sort by time and are valid in every file system.
pub fn timestamp(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Civil date from the days since 1970, by eras of 400 years that begin on 1 March
    // (Hinnant, "chrono-compatible low-level date algorithms").
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!(
        "{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// Start of a run, UTC, from the name of its folder: `2026-01-31 23:59:59` from `20260131T235959Z-cnn-s0`. A name that
/// does not begin with a time is returned as it is.
pub fn started(dir: impl AsRef<Path>) -> String {
    let name = dir.as_ref().file_name().unwrap_or_default();
    let name = name.to_string_lossy();
    let digits: String = name.chars().take(15).filter(char::is_ascii_digit).collect();
    if digits.len() != 14 {
        return name.into_owned();
    }
    let part = |from, to| &digits[from..to];
    format!(
        "{}-{}-{} {}:{}:{}",
        part(0, 4),
        part(4, 6),
        part(6, 8),
        part(8, 10),
        part(10, 12),
        part(12, 14)
    )
}

/// Start of a run in seconds since 1970, from the name of its folder; `None` for a name that does not begin with a time as
/// [`timestamp`] writes it.
pub fn start_seconds(dir: impl AsRef<Path>) -> Option<u64> {
    let name = dir.as_ref().file_name()?.to_str()?;
    let part = |from, to| name.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(9, 11)?, part(11, 13)?, part(13, 15)?);
    // The inverse of the computation in `timestamp`.
    let year = (year + 10_000).checked_sub(u64::from(month <= 2))?;
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day.checked_sub(1)?;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    // 10,000 years are 25 eras.
    let days = (era * 146_097 + day_of_era).checked_sub(25 * 146_097 + 719_468)?;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
    // Refuses the 31st of June and other punctuation.
    name.starts_with(&timestamp(time)).then_some(seconds)
}

/// Duration in whole seconds: `42 s`, `3 min 20 s`, `2 h 05 min`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
    }
}

/// Duration of something that has ended, as [`duration`], with two digits below 10 s: `0.42 s`, `4.2 s`.
pub fn elapsed(seconds: f64) -> String {
    match seconds.max(0.0) {
        seconds if seconds < 0.995 => format!("{seconds:.2} s"),
        seconds if seconds < 9.95 => format!("{seconds:.1} s"),
        seconds => duration(seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values from `date -u -d @<seconds> +%Y%m%dT%H%M%SZ`.
    #[test]
    fn timestamps() {
        for (seconds, expected) in [
            (0, "19700101T000000Z"),
            (951_782_399, "20000228T235959Z"),
            (951_782_400, "20000229T000000Z"),
            (951_868_800, "20000301T000000Z"),
            (1_735_689_599, "20241231T235959Z"),
            (1_785_500_000, "20260731T121320Z"),
            (4_107_542_400, "21000301T000000Z"),
        ] {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(timestamp(time), expected);
            assert_eq!(start_seconds(format!("a/{expected}-cnn-s0")), Some(seconds));
        }
    }

    #[test]
    fn start_from_the_folder() {
        for (dir, expected) in [
            ("a/20260131T235958Z-cnn-s0", "2026-01-31 23:59:58"),
            ("a/other", "other"),
            ("a/ü260131T2359", "ü260131T2359"),
        ] {
            assert_eq!(started(dir), expected);
        }
    }

    #[test]
    fn other_names_are_no_times() {
        for name in [
            "cnn",
            "20260631T000000Z",
            "20260131T235959",
            "19691231T235959Z",
            "20260131-235959Z",
            "ü2601310T23595Z",
        ] {
            assert_eq!(start_seconds(name), None, "{name}");
        }
    }

    #[test]
    fn durations() {
        for (seconds, text) in [
            (-1.0, "0 s"),
            (0.2, "0 s"),
            (14.6, "15 s"),
            (59.4, "59 s"),
            (59.6, "1 min 00 s"),
            (90.0, "1 min 30 s"),
            (3599.0, "59 min 59 s"),
            (5400.0, "1 h 30 min"),
            (7500.0, "2 h 05 min"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn short_times_have_decimals() {
        for (seconds, text) in [
            (-1.0, "0.00 s"),
            (0.196, "0.20 s"),
            (0.996, "1.0 s"),
            (4.24, "4.2 s"),
            (9.94, "9.9 s"),
            (9.96, "10 s"),
            (90.0, "1 min 30 s"),
        ] {
            assert_eq!(elapsed(seconds), text);
        }
    }
}
