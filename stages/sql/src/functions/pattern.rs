//! Date patterns with the letters of Java and Spark, such as `EEE MMM dd HH:mm:ss zzz yyyy`.

use chrono::{NaiveDate, NaiveTime};

use super::zones;

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// A compiled pattern.
#[derive(Debug)]
pub(super) struct Pattern {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Year,
    ShortYear,
    Month,
    MonthName,
    Day,
    Weekday,
    Hour,
    HalfHour,
    Half,
    Minute,
    Second,
    Fraction,
    Zone,
    Literal(char),
}

#[derive(Default)]
struct Found {
    year: Option<i32>,
    month: u32,
    day: u32,
    hour: u32,
    afternoon: Option<bool>,
    minute: u32,
    second: u32,
    micros: u32,
    offset: i32,
}

impl Pattern {
    /// Compiles a pattern.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text.chars().peekable();
        while let Some(c) = rest.next() {
            if c == '\'' {
                let mut empty = true;
                for quoted in rest.by_ref().take_while(|q| *q != '\'') {
                    parts.push(Part::Literal(quoted));
                    empty = false;
                }
                if empty {
                    parts.push(Part::Literal('\''));
                }
                continue;
            }
            let mut count = 1;
            while c.is_ascii_alphabetic() && rest.next_if_eq(&c).is_some() {
                count += 1;
            }
            parts.push(match (c, count) {
                ('y' | 'u', 2) => Part::ShortYear,
                ('y' | 'u', _) => Part::Year,
                ('M' | 'L', 1 | 2) => Part::Month,
                ('M' | 'L', _) => Part::MonthName,
                ('d', _) => Part::Day,
                ('E', _) => Part::Weekday,
                ('H', _) => Part::Hour,
                ('h', _) => Part::HalfHour,
                ('a', _) => Part::Half,
                ('m', _) => Part::Minute,
                ('s', _) => Part::Second,
                ('S', _) => Part::Fraction,
                ('z' | 'Z' | 'X' | 'x' | 'V' | 'O', _) => Part::Zone,
                (c, _) if c.is_ascii_alphabetic() => {
                    return Err(format!("`{c}` in the date pattern `{text}` has no meaning"));
                }
                (c, _) => Part::Literal(c),
            });
        }
        if !parts.contains(&Part::Year) && !parts.contains(&Part::ShortYear) {
            return Err(format!("the date pattern `{text}` has no year"));
        }
        Ok(Self { parts })
    }

    /// Microseconds since 1970 in UTC; a text without a zone is taken as UTC.
    pub(super) fn parse(&self, text: &str) -> Result<i64, String> {
        let mut found = Found { month: 1, day: 1, ..Found::default() };
        let mut rest = text;
        for (at, part) in self.parts.iter().enumerate() {
            // Numbers that touch have fixed widths, as in yyyyMMdd.
            let touching = matches!(self.parts.get(at + 1), Some(next) if !matches!(next, Part::Literal(_)));
            rest = part.read(rest, touching, &mut found)?;
        }
        if !rest.is_empty() {
            return Err(format!("`{rest}` is left over"));
        }
        found.micros()
    }
}

impl Part {
    fn read<'t>(self, rest: &'t str, touching: bool, found: &mut Found) -> Result<&'t str, String> {
        let two = |rest| number(rest, 1, 2, touching);
        Ok(match self {
            Self::Literal(c) => rest.strip_prefix(c).ok_or_else(|| format!("expected `{c}` at `{rest}`"))?,
            Self::Year => number(rest, 4, 4, true).map(|(n, rest)| (found.year = i32::try_from(n).ok(), rest).1)?,
            Self::ShortYear => {
                number(rest, 2, 2, true).map(|(n, rest)| (found.year = i32::try_from(2000 + n).ok(), rest).1)?
            }
            Self::Month => two(rest).map(|(n, rest)| (found.month = n, rest).1)?,
            Self::Day => two(rest).map(|(n, rest)| (found.day = n, rest).1)?,
            Self::Hour => two(rest).map(|(n, rest)| (found.hour = n, rest).1)?,
            Self::HalfHour => {
                let (hour, rest) = two(rest)?;
                if !(1..=12).contains(&hour) {
                    return Err(format!("there is no hour {hour} on a 12-hour clock"));
                }
                found.hour = hour % 12;
                rest
            }
            Self::Minute => two(rest).map(|(n, rest)| (found.minute = n, rest).1)?,
            Self::Second => two(rest).map(|(n, rest)| (found.second = n, rest).1)?,
            Self::MonthName => name(rest, &MONTHS)
                .map(|(n, rest)| (found.month = n, rest).1)
                .ok_or_else(|| format!("no month at `{rest}`"))?,
            Self::Weekday => {
                name(rest, &DAYS).map(|(_, rest)| rest).ok_or_else(|| format!("no weekday at `{rest}`"))?
            }
            Self::Half => {
                let half = rest.get(..2).map(str::to_ascii_lowercase);
                found.afternoon = Some(match half.as_deref() {
                    Some("am") => false,
                    Some("pm") => true,
                    _ => return Err(format!("expected AM or PM at `{rest}`")),
                });
                &rest[2..]
            }
            Self::Fraction => {
                let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
                if digits == 0 {
                    return Err(format!("expected a fraction of a second at `{rest}`"));
                }
                let kept: String = rest[..digits].chars().chain("000000".chars()).take(6).collect();
                found.micros = kept.parse().map_err(|_| "the fraction is not a number".to_owned())?;
                &rest[digits..]
            }
            Self::Zone => {
                let end = rest
                    .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | ':')))
                    .unwrap_or(rest.len());
                found.offset = zones::offset(&rest[..end])?;
                &rest[end..]
            }
        })
    }
}

/// A number of `least` to `most` digits; of exactly `most` where the next number follows directly.
fn number(rest: &str, least: usize, most: usize, exact: bool) -> Result<(u32, &str), String> {
    let digits = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if digits < if exact { most } else { least } {
        return Err(format!("expected a number at `{rest}`"));
    }
    let (number, rest) = rest.split_at(digits);
    number.parse().map(|n| (n, rest)).map_err(|_| format!("`{number}` is not a number"))
}

/// A name, in full or by its first three letters; gives its place counted from 1.
fn name<'t>(rest: &'t str, names: &[&str]) -> Option<(u32, &'t str)> {
    let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
    let word = rest[..letters].to_ascii_lowercase();
    let place = names.iter().position(|n| *n == word || n.get(..3) == Some(word.as_str()))?;
    Some((u32::try_from(place).ok()? + 1, &rest[letters..]))
}

impl Found {
    fn micros(&self) -> Result<i64, String> {
        let hour = if self.afternoon == Some(true) { self.hour + 12 } else { self.hour };
        let year = self.year.ok_or("there is no year")?;
        let date = NaiveDate::from_ymd_opt(year, self.month, self.day)
            .ok_or_else(|| format!("there is no day {year}-{:02}-{:02}", self.month, self.day))?;
        let time = NaiveTime::from_hms_micro_opt(hour, self.minute, self.second, self.micros)
            .ok_or_else(|| format!("there is no time {hour:02}:{:02}:{:02}", self.minute, self.second))?;
        let local = date.and_time(time).and_utc().timestamp_micros();
        Ok(local - i64::from(self.offset) * 60_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    fn parse(pattern: &str, text: &str) -> Result<String, String> {
        let micros = Pattern::new(pattern)?.parse(text)?;
        chrono::DateTime::from_timestamp_micros(micros).map(|t| t.to_rfc3339()).ok_or_else(|| "range".into())
    }

    const TWEET: &str = "EEE MMM dd HH:mm:ss zzz yyyy";

    #[test]
    fn dates_of_tweets_with_zones() {
        for (text, utc) in [
            ("Mon Apr 06 22:19:49 PDT 2009", "2009-04-07T05:19:49+00:00"),
            ("Tue Apr 07 01:19:49 EST 2009", "2009-04-07T06:19:49+00:00"),
            ("Tue Apr 07 06:19:49 BST 2009", "2009-04-07T05:19:49+00:00"),
            ("Tue Apr 07 05:19:49 UTC 2009", "2009-04-07T05:19:49+00:00"),
            ("Mon Apr 06 22:19:49 -0700 2009", "2009-04-07T05:19:49+00:00"),
        ] {
            assert_eq!(parse(TWEET, text).as_deref(), Ok(utc), "{text}");
        }
    }

    #[test]
    fn other_forms() {
        assert_eq!(
            parse("yyyy-MM-dd'T'HH:mm:ssXXX", "2026-03-02T10:15:00+01:00").as_deref(),
            Ok("2026-03-02T09:15:00+00:00")
        );
        assert_eq!(parse("yyyyMMdd HHmmss", "20260302 101500").as_deref(), Ok("2026-03-02T10:15:00+00:00"));
        assert_eq!(parse("d/M/yy h:mm a", "2/3/26 1:05 PM").as_deref(), Ok("2026-03-02T13:05:00+00:00"));
        assert_eq!(
            parse("yyyy-MM-dd HH:mm:ss.SSS", "2026-03-02 10:15:00.25").as_deref(),
            Ok("2026-03-02T10:15:00.250+00:00")
        );
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for text in [
            "Mon Apr 06 22:19:49 XYZ 2009",
            "Mon Foo 06 22:19:49 PDT 2009",
            "Mon Apr 31 22:19:49 PDT 2009",
            "Mon Apr 06 25:19:49 PDT 2009",
            "Mon Apr 06 22:19:49 PDT 2009 x",
            "",
            "Mon Apr 06 22:19:49  2009",
        ] {
            assert!(parse(TWEET, text).is_err(), "{text}");
        }
        assert!(parse("HH:mm", "10:00").is_err());
        assert!(parse("yyyy Q", "2009 1").is_err());
    }
}
