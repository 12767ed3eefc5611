//! Where in a table's history a split is.

use std::collections::HashMap;

use url::form_urlencoded;

/// A place in the history of a table. Its text is the identity of a split: texts sort as history goes, and say what there
/// is to read, so that reading needs the log only for whole versions.
///
/// ```text
/// 00000000000000000012/snapshot/00000000-of-00000002                         the first run begins with version 12
/// 00000000000000000012/snapshot/00000001-of-00000002/part-a.parquet?day=2009-04-06
/// 00000000000000000013/commit/00000000-of-00000000                           a version without rows
/// 00000000000000000014/commit/00000001-of-00000001                           a version that is read as a whole
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) version: u64,
    pub(crate) part: Part,
    /// Counted from 1; 0 stands for no rows.
    pub(crate) index: usize,
    /// With the last one, the version is read.
    pub(crate) of: usize,
    pub(crate) file: Option<File>,
}

/// What of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All that the table holds.
    Snapshot,
    /// What it has changed.
    Commit,
}

/// A data file whose rows are added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    /// Below the table.
    pub(crate) path: String,
    pub(crate) partition: Partition,
}

/// Values of partition columns, as they stand in the log.
pub(crate) type Partition = HashMap<String, Option<String>>;

impl Point {
    /// A version without rows.
    pub(crate) fn empty(version: u64, part: Part) -> Self {
        Self { version, part, index: 0, of: 0, file: None }
    }

    /// Whether everything of its version comes before or with it.
    pub(crate) fn is_last(&self) -> bool {
        self.index >= self.of
    }

    pub(crate) fn text(&self) -> String {
        let part = match self.part {
            Part::Snapshot => "snapshot",
            Part::Commit => "commit",
        };
        let mut text = format!("{:020}/{part}/{:08}-of-{:08}", self.version, self.index, self.of);
        let Some(file) = &self.file else { return text };
        text.push('/');
        text.push_str(&file.path.replace('%', "%25").replace('?', "%3F"));
        let mut values: Vec<_> = file.partition.iter().collect();
        values.sort_unstable();
        if !values.is_empty() {
            // A Delta table has no empty text in a partition: it is NULL.
            let pairs = values.into_iter().map(|(name, value)| (name, value.as_deref().unwrap_or_default()));
            text.push('?');
            text.push_str(&form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish());
        }
        text
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, '/');
        let version = parts.next()?.parse().ok()?;
        let part = match parts.next()? {
            "snapshot" => Part::Snapshot,
            "commit" => Part::Commit,
            _ => return None,
        };
        let (index, of) = parts.next()?.split_once("-of-")?;
        let file = parts.next().map(|rest| {
            let (path, values) = rest.split_once('?').unwrap_or((rest, ""));
            let pairs = form_urlencoded::parse(values.as_bytes());
            let partition = pairs.map(|(name, v)| (name.into_owned(), (!v.is_empty()).then(|| v.into_owned())));
            File { path: path.replace("%3F", "?").replace("%25", "%"), partition: partition.collect() }
        });
        Some(Self { version, part, index: index.parse().ok()?, of: of.parse().ok()?, file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(version: u64, index: usize, file: Option<File>) -> Point {
        Point { version, part: Part::Commit, index, of: 12, file }
    }

    #[test]
    fn a_text_is_the_same_point() {
        let partition = [("day".to_owned(), Some("a/b?c=d&e %é".to_owned())), ("none".to_owned(), None)].into();
        let file = File { path: "day=a%2Fb?c/part 1.parquet".into(), partition };
        for point in [point(7, 3, Some(file)), point(7, 3, None), Point::empty(0, Part::Snapshot)] {
            assert_eq!(Point::parse(&point.text()), Some(point));
        }
        assert_eq!(Point::parse("s3://bucket/a.json"), None);
    }

    #[test]
    fn texts_sort_as_history_goes() {
        let file = |path: &str| Some(File { path: path.into(), partition: Partition::new() });
        let history = [point(9, 0, None), point(9, 2, file("z")), point(9, 10, file("a")), point(10, 1, None)];
        let texts: Vec<String> = history.iter().map(Point::text).collect();
        assert!(texts.is_sorted(), "{texts:?}");
    }
}
