//! From a panel to its content: queries are run, rows are put in the order in which they are drawn.

use alluvium_engine::spec::{Chart, Names, Panel};
use alluvium_engine::tables::Snapshot;
use indexmap::{IndexMap, IndexSet};

use crate::content::{Content, Histogram, Line, Series, Shown};
use crate::rows::{Column, Kind, Rows};

/// Ranges of a histogram, about.
const RANGES: f64 = 20.0;

/// Runs the queries of a panel.
///
/// # Errors
/// What is wrong, with the panel's name.
pub(crate) async fn load(name: &str, panel: &Panel, tables: &dyn Snapshot) -> Result<Shown, String> {
    let loaded =
        if panel.chart == Chart::Histogram { histogram(panel, tables).await } else { rows(panel, tables).await };
    let (content, rows, note) = loaded.map_err(|e| format!("panel `{name}`: {e}"))?;
    Ok(Shown {
        name: name.to_owned(),
        title: panel.title.clone().unwrap_or_else(|| name.to_owned()),
        description: panel.description.clone(),
        content,
        rows,
        note,
    })
}

type Loaded = (Content, Rows, Option<String>);

async fn rows(panel: &Panel, tables: &dyn Snapshot) -> Result<Loaded, String> {
    let most = panel.limit.unwrap_or(match panel.chart {
        Chart::Number => 1,
        Chart::Bar => 30,
        Chart::Table => 100,
        _ => 10_000,
    });
    let batches = tables.query(&panel.sql(), Some(most + 1)).await?;
    let found: usize = batches.iter().map(|b| b.num_rows()).sum();
    let rows = Rows::new(&batches, most)?;
    let all = found <= most || panel.limit.is_some() || panel.chart == Chart::Number;
    let note = (!all).then(|| format!("The first {} rows; there are more.", crate::format::number(most as f64)));
    Ok((content(panel, &rows)?, rows, note))
}

fn content(panel: &Panel, rows: &Rows) -> Result<Content, String> {
    let y = panel.y.as_ref().map(Names::list).unwrap_or_default();
    let x = || rows.column(panel.x.as_deref().unwrap_or_default());
    if rows.count == 0 {
        return Ok(Content::Nothing);
    }
    Ok(match panel.chart {
        Chart::Table => Content::Table,
        Chart::Number => {
            let column = match y.first() {
                Some(name) => rows.column(name)?,
                None => rows.columns.first().ok_or("the query gives no column")?,
            };
            Content::Number(column.text(0).to_owned())
        }
        Chart::Bar => bars(x()?, &long(panel, rows, y)?),
        Chart::Line | Chart::Area => lines(x()?, &long(panel, rows, y)?, panel.chart == Chart::Area),
        Chart::Heatmap => {
            let value = rows.column(panel.value.as_deref().unwrap_or_default())?;
            heatmap(x()?, rows.column(y.first().map_or("", String::as_str))?, value)
        }
        // Has queries of its own.
        Chart::Histogram => Content::Nothing,
    })
}

/// A series: its name, the column of its numbers, and its rows.
type Part<'a> = (String, &'a Column, Vec<usize>);

/// The series with the rows and the column that belong to each, in the order in which they come.
fn long<'a>(panel: &Panel, rows: &'a Rows, y: &[String]) -> Result<Vec<Part<'a>>, String> {
    let Some(by) = &panel.series else {
        return y.iter().map(|name| Ok((name.clone(), rows.column(name)?, (0..rows.count).collect()))).collect();
    };
    let (by, values) = (rows.column(by)?, rows.column(y.first().map_or("", String::as_str))?);
    let mut places: IndexMap<&str, Vec<usize>> = IndexMap::new();
    for row in 0..rows.count {
        places.entry(by.text(row)).or_default().push(row);
    }
    Ok(places.into_iter().map(|(name, rows)| (name.to_owned(), values, rows)).collect())
}

fn bars(x: &Column, series: &[Part<'_>]) -> Content {
    let names = names(x);
    let values = |(name, column, rows): &Part<'_>| {
        let mut values = vec![None; names.len()];
        for &row in rows {
            if let Some(place) = names.get_index_of(x.text(row)).and_then(|at| values.get_mut(at)) {
                *place = add(*place, column.number(row));
            }
        }
        Series { name: name.clone(), values }
    };
    let series = series.iter().map(values).collect();
    Content::Bars { names: texts(names), series }
}

/// What a column names, each once, in the order in which it comes.
fn names(column: &Column) -> IndexSet<&str> {
    (0..column.texts.len()).map(|row| column.text(row)).collect()
}

fn texts(names: IndexSet<&str>) -> Vec<String> {
    names.into_iter().map(str::to_owned).collect()
}

fn add(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    }
}

fn lines(x: &Column, series: &[Part<'_>], stacked: bool) -> Content {
    let line = |(name, column, rows): &Part<'_>| {
        let mut points: Vec<(f64, f64)> =
            rows.iter().filter_map(|&row| Some((x.number(row)?, column.number(row)?))).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Line { name: name.clone(), points }
    };
    let mut series: Vec<Line> = series.iter().map(line).filter(|l| !l.points.is_empty()).collect();
    if series.is_empty() {
        return Content::Nothing;
    }
    if stacked {
        fill(&mut series);
    }
    Content::Lines { x: x.kind, label: x.name.clone(), series, stacked }
}

/// Gives all series the same places; where one has no number it adds nothing.
fn fill(series: &mut [Line]) {
    let mut places: Vec<f64> = series.iter().flat_map(|l| l.points.iter().map(|p| p.0)).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    for line in series {
        let mut points = line.points.iter().peekable();
        let filled = places.iter().map(|&x| {
            let mut sum = 0.0;
            while let Some(point) = points.next_if(|p| p.0 <= x) {
                sum += point.1;
            }
            (x, sum)
        });
        line.points = filled.collect();
    }
}

fn heatmap(x: &Column, y: &Column, value: &Column) -> Content {
    let (columns, rows) = (names(x), names(y));
    let mut values = vec![vec![None; columns.len()]; rows.len()];
    for row in 0..x.texts.len() {
        let (r, c) = (rows.get_index_of(y.text(row)), columns.get_index_of(x.text(row)));
        if let Some(place) = r.and_then(|r| values.get_mut(r)).and_then(|line| line.get_mut(c?)) {
            *place = add(*place, value.number(row));
        }
    }
    Content::Heatmap { x: x.name.clone(), y: y.name.clone(), columns: texts(columns), rows: texts(rows), values }
}

/// Counted where the rows are: only counts come here.
async fn histogram(panel: &Panel, tables: &dyn Snapshot) -> Result<Loaded, String> {
    let name = panel.x.clone().unwrap_or_default();
    let column = format!("CAST(\"{}\" AS DOUBLE)", name.replace('"', "\"\""));
    let limit = panel.limit.map(|n| format!(" LIMIT {n}")).unwrap_or_default();
    let source = format!("(\n{}\n{limit})", panel.sql());
    let ends = format!("SELECT min({column}) AS lo, max({column}) AS hi FROM {source} WHERE abs({column}) < 1e300");
    let ends = Rows::new(&tables.query(&ends, None).await?, 1)?;
    let end = |name| Ok::<_, String>(ends.column(name)?.number(0));
    let (Some(lo), Some(hi)) = (end("lo")?, end("hi")?) else {
        return Ok((Content::Nothing, Rows::default(), None));
    };
    let width = step((hi - lo) / RANGES);
    let start = (lo / width).floor() * width;
    let ranges = (((hi - start) / width).floor() + 1.0).clamp(1.0, 4.0 * RANGES);
    let counts = format!(
        "SELECT least(floor(({column} - {start:?}) / {width:?}), {:?}) AS place, count(*) AS count FROM {source} \
         WHERE abs({column}) < 1e300 GROUP BY 1 ORDER BY 1",
        ranges - 1.0
    );
    let found = Rows::new(&tables.query(&counts, None).await?, usize::MAX)?;
    let (places, numbers) = (found.column("place")?, found.column("count")?);
    let mut counts = vec![0_u64; ranges as usize];
    for row in 0..found.count {
        let at = places.number(row).unwrap_or(0.0) as usize;
        if let Some(count) = counts.get_mut(at) {
            *count += numbers.number(row).unwrap_or(0.0) as u64;
        }
    }
    let histogram = Histogram { label: name, start, width, counts };
    let rows = table(&histogram);
    Ok((Content::Histogram(histogram), rows, None))
}

/// The next larger number that people count with.
fn step(least: f64) -> f64 {
    if least <= 0.0 || !least.is_finite() {
        return 1.0;
    }
    let unit = 10_f64.powf(least.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|f| f * unit >= least * 0.999).unwrap_or(10.0);
    factor * unit
}

/// The counts as rows.
fn table(histogram: &Histogram) -> Rows {
    let ranges = 0..histogram.counts.len();
    let column = |name: &str, numbers: Vec<f64>| Column {
        name: name.to_owned(),
        kind: Kind::Number,
        texts: numbers.iter().map(|n| Some(crate::format::short(*n))).collect(),
        numbers: numbers.into_iter().map(Some).collect(),
    };
    let counts: Vec<f64> = histogram.counts.iter().map(|n| *n as f64).collect();
    let mut count = column("count", counts.clone());
    count.texts = counts.iter().map(|n| Some(crate::format::number(*n))).collect();
    let columns = vec![
        column("from", ranges.clone().map(|at| histogram.range(at).0).collect()),
        column("to", ranges.clone().map(|at| histogram.range(at).1).collect()),
        count,
    ];
    Rows { columns, count: histogram.counts.len() }
}
