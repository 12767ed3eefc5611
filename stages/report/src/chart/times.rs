//! Where an axis of times is marked, and with which words.

use chrono::{DateTime, Datelike, Months, TimeZone, Utc};

/// Distances below a month, in seconds.
const STEPS: [i64; 16] =
    [1, 5, 15, 30, 60, 300, 900, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800, 1_209_600];
/// Distances from a month on, in months.
const MONTHS: [u32; 8] = [1, 2, 3, 6, 12, 24, 60, 120];

/// Places between two moments, in seconds since 1970, `most` at most, and how they are called.
pub(super) fn times(start: f64, end: f64, most: usize) -> Vec<(f64, String)> {
    let most = most.max(2) as f64;
    if let Some(step) = STEPS.iter().find(|s| (end - start) / (**s as f64) <= most) {
        let first = (start / *step as f64).ceil() as i64;
        let last = (end / *step as f64).floor() as i64;
        let places: Vec<f64> = (first..=last).map(|n| (n * step) as f64).collect();
        let form = if *step < 60 {
            "%H:%M:%S"
        } else if *step < 86_400 {
            "%H:%M"
        } else {
            "%b %-d"
        };
        // Where hours are marked, days are named once.
        let form = |at| if *step < 86_400 && at == 0 { "%b %-d %H:%M" } else { form };
        return places.iter().enumerate().map(|(at, p)| (*p, name(*p, form(at)))).collect();
    }
    let months = MONTHS.into_iter().find(|m| (end - start) / (2_629_746.0 * f64::from(*m)) <= most).unwrap_or(1_200);
    let mut places = Vec::new();
    let first = DateTime::from_timestamp(start.floor() as i64, 0)
        .and_then(|t| Utc.with_ymd_and_hms(t.year(), if months < 12 { t.month() } else { 1 }, 1, 0, 0, 0).single());
    let mut next = first;
    while let Some(time) = next.filter(|t| t.timestamp() as f64 <= end) {
        if time.timestamp() as f64 >= start {
            places.push(time.timestamp() as f64);
        }
        next = time.checked_add_months(Months::new(months));
    }
    let form = if months < 12 { "%b %Y" } else { "%Y" };
    places.into_iter().map(|p| (p, name(p, form))).collect()
}

fn name(seconds: f64, form: &str) -> String {
    DateTime::from_timestamp(seconds as i64, 0).map(|t| t.format(form).to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_where_people_count() {
        let names = |start, end, most| times(start, end, most).into_iter().map(|m| m.1).collect::<Vec<_>>();
        let day = 86_400.0;
        assert_eq!(names(14_340.0 * day, 14_345.0 * day, 6), ["Apr 6", "Apr 7", "Apr 8", "Apr 9", "Apr 10", "Apr 11"]);
        assert_eq!(names(14_340.0 * day, 14_410.0 * day, 4), ["May 2009", "Jun 2009"]);
        assert_eq!(names(0.0, 4.0 * 3_600.0, 5), ["Jan 1 00:00", "01:00", "02:00", "03:00", "04:00"]);
        assert_eq!(names(0.0, 5_000.0 * day, 5), ["1970", "1975", "1980"]);
    }
}
