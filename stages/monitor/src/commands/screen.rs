//! What `top` draws.

use alluvium_engine::progress::{RunState, StageCondition, StageStatus, Status};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table, Wrap};

use super::show;

/// From here on there is room for everything.
const WIDE: u16 = 120;
/// Epochs with a bar, and warnings, that are shown at once.
const BARS: usize = 4;
const WARNINGS: usize = 4;

/// What is on the screen.
pub(super) struct Screen {
    pub(super) status: Status,
    /// The run does not answer any more, and why.
    pub(super) lost: Option<String>,
    /// The first stage that is shown.
    pub(super) first: usize,
}

impl Screen {
    pub(super) fn draw(&self, frame: &mut Frame<'_>) {
        let status = &self.status;
        let open = (status.epochs.opened.saturating_sub(status.epochs.completed) as usize).min(BARS);
        let notes = self.notes();
        let heights =
            [4, open as u16, status.stages.len() as u16 + 2, status.tables.len() as u16 + 2, notes.len() as u16 * 2];
        let areas = Layout::vertical([
            Constraint::Length(heights[0]),
            Constraint::Length(heights[1]),
            Constraint::Max(heights[2]),
            Constraint::Max(heights[3]),
            Constraint::Max(heights[4]),
            Constraint::Fill(1),
            Constraint::Length(1),
        ])
        .split(frame.area());
        frame.render_widget(self.head(), areas[0]);
        frame.render_widget(Paragraph::new(self.bars(open, areas[1].width)), areas[1]);
        frame.render_widget(self.stages(areas[2]), areas[2]);
        frame.render_widget(self.tables(areas[3].width), areas[3]);
        frame.render_widget(Paragraph::new(notes).wrap(Wrap { trim: true }), areas[4]);
        let keys = "q quit   p pause and go on   ↑↓ scroll stages";
        frame.render_widget(Paragraph::new(Span::styled(keys, Style::new().add_modifier(Modifier::DIM))), areas[6]);
    }

    fn head(&self) -> Paragraph<'static> {
        let s = &self.status;
        let color = match (s.state, &self.lost) {
            (_, Some(_)) | (RunState::Failed, _) => Color::Red,
            (RunState::Paused | RunState::Draining, _) => Color::Yellow,
            _ => Color::Green,
        };
        let state = if self.lost.is_some() { "no answer" } else { show::state(s.state) };
        let since = (s.now - s.started).num_milliseconds() as f64 / 1e3;
        let oldest = s.backlog.oldest_seconds.map(|age| format!(", oldest {}", show::seconds(age))).unwrap_or_default();
        Paragraph::new(vec![
            Line::from(vec![
                Span::styled(s.pipeline.clone(), Style::new().add_modifier(Modifier::BOLD)),
                Span::raw("  "),
                Span::styled(format!(" {state} "), Style::new().fg(Color::Black).bg(color)),
                Span::raw(format!("  {}  {} workers", show::seconds(since), s.workers)),
            ]),
            Line::from(format!(
                "{} rows  {} rows/s  epoch {}  lag {}",
                show::grouped(s.rows),
                show::grouped(s.rows_per_second as u64),
                s.epochs.completed,
                show::seconds(s.epochs.lag_seconds),
            )),
            Line::from(format!(
                "{} objects ({}) outstanding{oldest}",
                show::grouped(s.backlog.objects),
                show::bytes(s.backlog.bytes),
            )),
        ])
    }

    /// Through how many stages each open epoch is.
    fn bars(&self, open: usize, width: u16) -> Vec<Line<'static>> {
        let stages = &self.status.stages;
        let length = usize::from(width / 3);
        let first = self.status.epochs.completed + 1;
        let bar = |epoch: u64| {
            let through = stages.iter().filter(|s| s.frontier.is_none_or(|f| f > epoch)).count();
            let full = (through * length).checked_div(stages.len()).unwrap_or(0);
            Line::from(vec![
                Span::raw(format!("epoch {epoch:<8} ")),
                Span::styled("█".repeat(full), Style::new().fg(Color::Cyan)),
                Span::styled("░".repeat(length - full), Style::new().add_modifier(Modifier::DIM)),
                Span::raw(format!(" {through} of {} stages", stages.len())),
            ])
        };
        (first..first + open as u64).map(bar).collect()
    }

    fn stages(&self, area: Rect) -> Table<'static> {
        let wide = area.width >= WIDE;
        let name = self.status.stages.iter().map(|s| s.name.chars().count()).max().unwrap_or(5).max(5) as u16;
        let mut head = vec![Cell::from("stage"), right("rows", 13), right("rows/s", 10), right("busy", 5)];
        let mut widths =
            vec![Constraint::Length(name), Constraint::Length(13), Constraint::Length(10), Constraint::Length(5)];
        if wide {
            head.extend([
                Cell::from("kind"),
                right("waiting", 10),
                right("rejects", 9),
                right("MB/s", 8),
                right("lag", 9),
            ]);
            widths.extend([10, 10, 9, 8, 9].map(Constraint::Length));
        }
        head.push(Cell::from("frontier"));
        widths.push(Constraint::Fill(1));
        let rows = self.status.stages.iter().skip(self.first).map(|s| row(s, wide));
        let bold = Style::new().add_modifier(Modifier::BOLD);
        Table::new(rows, widths).header(Row::new(head).style(bold)).column_spacing(2)
    }

    fn tables(&self, width: u16) -> Table<'static> {
        let name = self.status.tables.iter().map(|t| t.stage.chars().count()).max().unwrap_or(5).max(5) as u16;
        let row = |t: &alluvium_engine::progress::TableStatus| {
            let mut cells = vec![
                Cell::from(t.stage.clone()),
                right(&t.version.map(|v| v.to_string()).unwrap_or_default(), 8),
                right(&t.epoch.to_string(), 7),
                right(&show::grouped(t.rows), 13),
                right(&show::bytes(t.bytes), 9),
                right(&format!("{:.0} ms", t.commit_ms), 9),
                right(&t.conflicts.to_string(), 9),
            ];
            if width >= WIDE {
                cells.push(Cell::from(t.url.clone()));
            }
            Row::new(cells)
        };
        let names = [("version", 8), ("epoch", 7), ("rows", 13), ("size", 9), ("commit", 9), ("conflicts", 9)];
        let mut head = vec![Cell::from("table")];
        head.extend(names.map(|(name, width)| right(name, width)));
        let mut widths = vec![Constraint::Length(name)];
        widths.extend(names.map(|(_, width)| Constraint::Length(width as u16)));
        if width >= WIDE {
            head.push(Cell::from("place"));
            widths.push(Constraint::Fill(1));
        }
        let bold = Style::new().add_modifier(Modifier::BOLD);
        Table::new(self.status.tables.iter().map(row), widths).header(Row::new(head).style(bold)).column_spacing(2)
    }

    /// What someone should look at.
    fn notes(&self) -> Vec<Line<'static>> {
        let red = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
        let yellow = Style::new().fg(Color::Yellow);
        let mut out = Vec::new();
        if let Some(fault) = &self.status.fault {
            out.push(Line::styled(format!("failed: {}", fault.message.replace('\n', " ")), red));
        }
        if let Some(lost) = &self.lost {
            out.push(Line::styled(format!("no answer: {lost}"), red));
        }
        for warning in self.status.warnings.iter().rev().take(WARNINGS) {
            let stage = warning.stage.as_ref().map(|s| format!("{s}: ")).unwrap_or_default();
            let epoch = warning.epoch.map(|e| format!("epoch {e}: ")).unwrap_or_default();
            out.push(Line::styled(format!("warning: {stage}{epoch}{}", warning.message), yellow));
        }
        out
    }
}

/// A number, or what stands above one.
fn right(text: &str, width: usize) -> Cell<'static> {
    Cell::from(format!("{text:>width$}"))
}

fn row(stage: &StageStatus, wide: bool) -> Row<'static> {
    let mut cells = vec![
        Cell::from(stage.name.clone()),
        right(&show::grouped(stage.rows), 13),
        right(&show::grouped(stage.rows_per_second as u64), 10),
        right(&format!("{:.0}%", stage.busy * 100.0), 5),
    ];
    if wide {
        cells.extend([
            Cell::from(stage.kind.clone()),
            right(&show::grouped(stage.queue_rows), 10),
            right(&show::grouped(stage.rejects), 9),
            right(&format!("{:.1}", stage.bytes_per_second / 1e6), 8),
            right(&show::seconds(stage.lag.seconds), 9),
        ]);
    }
    cells.push(Cell::from(show::place(stage)));
    let style = match stage.condition {
        StageCondition::Stalled => Style::new().fg(Color::Yellow).add_modifier(Modifier::BOLD),
        StageCondition::Failed => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
        StageCondition::Finished | StageCondition::Idle => Style::new().add_modifier(Modifier::DIM),
        StageCondition::Running => Style::new(),
    };
    Row::new(cells).style(style)
}
