//! Windows over event time.

use alluvium_engine::spec::{Problem, Span};

/// Groups rows by their time as well. Exactly one of `tumbling`, `hopping`, `session`.
///
/// A window includes its start and not its end. Windows begin at whole multiples of their length since 1970, UTC.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Window {
    /// The timestamp column that says when a row happened.
    pub(crate) time: String,
    /// Length of windows that follow one another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tumbling: Option<Span>,
    /// Length of windows that overlap; a new one begins `every` so often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hopping: Option<Span>,
    /// For `hopping`: from one beginning to the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) every: Option<Span>,
    /// A window of its own for rows of a key that follow one another within this time; it ends this long after the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<Span>,
    /// How much later than the latest row so far a row may come. A window that ends earlier than that is closed: its
    /// result stays, its state goes, and further rows for it are late. Decided from epoch to epoch, by all rows of the
    /// epochs before. Without it no window is ever closed, and the state of all is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lateness: Option<Span>,
    /// What becomes of rows for closed windows, and of rows without a time.
    #[serde(default)]
    pub(crate) on_late: OnLate,
}

/// What becomes of a late row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnLate {
    /// It is left out and counted in the log.
    #[default]
    Drop,
    /// It goes to `STAGE.rejects` with its columns as JSON and the reason.
    Quarantine,
    /// The run stops; nothing of the epoch is committed.
    Fail,
}

/// How times become windows; microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Windows {
    /// Of this length, one beginning every so often.
    Fixed { length: i64, every: i64 },
    /// Of rows with gaps smaller than this.
    Session { gap: i64 },
}

impl Window {
    pub(crate) fn windows(&self) -> Result<Windows, Problem> {
        let given = [("tumbling", self.tumbling), ("hopping", self.hopping), ("session", self.session)];
        let given: Vec<(&str, Span)> = given.into_iter().filter_map(|(name, span)| Some((name, span?))).collect();
        let [(name, span)] = given.as_slice() else {
            return Err(Problem::field("window", "a window is one of tumbling, hopping and session")
                .label(if given.is_empty() { "which one?" } else { "several" })
                .help("for example `window: { time: timestamp, tumbling: 1h }`"));
        };
        let length = micros(*span);
        if length == 0 {
            return Err(Problem::field(&format!("window.{name}"), "a window has a length").label("no time"));
        }
        match (*name, self.every.map(micros)) {
            ("hopping", None) => Err(Problem::field("window.hopping", "windows that overlap need `every`")
                .label("how often does one begin?")
                .help("add for example `every: 15m`")),
            ("hopping", Some(every)) if every == 0 || length / every > MOST_OVERLAPPING || every > length => {
                Err(Problem::field(
                    "window.every",
                    format!("a row would be in no window, or in more than {MOST_OVERLAPPING}"),
                )
                .label("does not fit the length")
                .help("give a time between the length and a thousandth of it"))
            }
            ("hopping", Some(every)) => Ok(Windows::Fixed { length, every }),
            (_, Some(_)) => Err(Problem::field("window.every", "`every` is for hopping windows")
                .label("no effect here")
                .help("remove it")),
            ("tumbling", None) => Ok(Windows::Fixed { length, every: length }),
            _ => Ok(Windows::Session { gap: length }),
        }
    }
}

const MOST_OVERLAPPING: i64 = 1_000;

pub(crate) fn micros(span: Span) -> i64 {
    i64::try_from(span.0.as_micros()).unwrap_or(i64::MAX)
}

impl Windows {
    /// The times under which a row of this time is kept: the end of each of its windows, or for sessions its own time.
    /// Nothing when a window would leave the range of timestamps.
    pub(crate) fn kept(self, time: i64) -> Option<impl Iterator<Item = i64>> {
        let (first, last, step) = match self {
            Self::Session { gap } => {
                time.checked_add(gap)?;
                (time, time, 1)
            }
            Self::Fixed { length, every } => {
                // The last window to begin before or at this time, and the first one that has not ended by then.
                let last = time.div_euclid(every).checked_mul(every)?.checked_add(length)?;
                let over = last.checked_sub(time)?.checked_sub(1)?;
                last.checked_sub(length)?;
                (last - over / every * every, last, every)
            }
        };
        Some((0..=(last - first) / step).map(move |n| first + n * step))
    }

    /// When what is kept under a time can no longer change, if it stands alone.
    pub(crate) fn ends(self, kept: i64) -> i64 {
        match self {
            Self::Fixed { .. } => kept,
            Self::Session { gap } => kept.saturating_add(gap),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Windows;

    fn kept(windows: Windows, time: i64) -> Vec<i64> {
        windows.kept(time).unwrap().collect()
    }

    #[test]
    fn a_time_is_in_the_windows_that_begin_before_it_and_end_after_it() {
        for (length, every) in [(10, 10), (10, 5), (10, 3), (7, 1), (60, 25)] {
            for time in -100..100 {
                let naive: Vec<i64> =
                    (-300..300).map(|n| n * every + length).filter(|end| end - length <= time && time < *end).collect();
                assert_eq!(kept(Windows::Fixed { length, every }, time), naive, "{length} every {every} at {time}");
            }
        }
        assert_eq!(kept(Windows::Session { gap: 5 }, 12), [12]);
    }

    #[test]
    fn times_at_the_end_of_time_have_no_window() {
        for windows in [Windows::Fixed { length: 10, every: 5 }, Windows::Session { gap: 5 }] {
            assert!(windows.kept(i64::MAX - 1).is_none());
        }
        assert!(Windows::Fixed { length: 10, every: 10 }.kept(i64::MIN).is_none());
    }
}
