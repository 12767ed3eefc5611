//! `top`: a running pipeline on the whole terminal.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use alluvium_engine::cli::{Cli, Command, DONE, SpecArguments, USAGE, say_error};
use alluvium_engine::progress::{RunState, StageCondition, StageStatus, Status};
use clap::{ArgMatches, Args};
use crossterm::event::{self, Event, KeyCode, KeyModifiers};
use hyper::Method;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table, Wrap};

use super::find::{Found, running};
use super::{failed, parsed, show};
use crate::client;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);
/// A key is answered so soon.
const KEY: Duration = Duration::from_millis(50);
/// From here on there is room for everything.
const WIDE: u16 = 120;
/// Epochs with a bar, warnings and tables that are shown at once.
const BARS: usize = 4;
const WARNINGS: usize = 4;

/// The command.
pub struct Top;

/// Watch a running pipeline on the whole terminal. Keys: q ends, p pauses and goes on, up and down scroll.
#[derive(Args)]
struct TopArguments {
    #[command(flatten)]
    spec: SpecArguments,
}

impl Command for Top {
    fn describe(&self) -> clap::Command {
        TopArguments::augment_args(clap::Command::new("top"))
    }

    fn run(&self, cli: &Cli<'_>, arguments: &ArgMatches) -> u8 {
        parsed(arguments).and_then(|arguments: TopArguments| watch(cli, &arguments)).unwrap_or_else(|code| code)
    }
}

/// What is on the screen.
struct Screen {
    status: Status,
    /// The run does not answer any more, and why.
    lost: Option<String>,
    /// The first stage that is shown.
    first: usize,
}

fn watch(cli: &Cli<'_>, arguments: &TopArguments) -> Result<u8, u8> {
    let found = running(cli, &arguments.spec)?;
    if !std::io::stdout().is_terminal() {
        say_error("error: `top` needs a terminal; `alluvium status` shows the same once\n");
        return Err(USAGE);
    }
    let status = look(&found).map_err(|e| failed(&e))?;
    let mut screen = Screen { status, lost: None, first: 0 };
    let mut terminal = ratatui::try_init().map_err(|e| failed(&format!("the terminal cannot be used: {e}")))?;
    let ended = show_until_quit(&mut terminal, &mut screen, &found);
    ratatui::restore();
    ended.map_err(|e| failed(&format!("the terminal cannot be used: {e}")))?;
    if let Some(fault) = &screen.status.fault {
        say_error(&format!("{} has failed: {}\n", screen.status.pipeline, fault.message));
    } else if let Some(lost) = &screen.lost {
        say_error(&format!("{} does not answer any more: {lost}\n", screen.status.pipeline));
    }
    Ok(DONE)
}

fn look(found: &Found) -> Result<Status, String> {
    found.runtime.block_on(client::get(&found.socket, "/api/status"))
}

fn show_until_quit(terminal: &mut ratatui::DefaultTerminal, screen: &mut Screen, found: &Found) -> std::io::Result<()> {
    let mut looked = Instant::now();
    loop {
        terminal.draw(|frame| screen.draw(frame))?;
        while looked.elapsed() < LOOK {
            if !event::poll(KEY)? {
                continue;
            }
            match event::read()? {
                Event::Key(key) => match key.code {
                    KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                    KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(()),
                    KeyCode::Char('p') => {
                        let path = if screen.status.state == RunState::Paused { "/api/resume" } else { "/api/pause" };
                        screen.lost = found.runtime.block_on(client::ask(&found.socket, Method::POST, path)).err();
                        break;
                    }
                    KeyCode::Down => {
                        screen.first = (screen.first + 1).min(screen.status.stages.len().saturating_sub(1))
                    }
                    KeyCode::Up => screen.first = screen.first.saturating_sub(1),
                    _ => continue,
                },
                Event::Resize(..) => {}
                _ => continue,
            }
            terminal.draw(|frame| screen.draw(frame))?;
        }
        looked = Instant::now();
        match look(found) {
            Ok(status) => {
                screen.status = status;
                screen.lost = None;
            }
            Err(error) => screen.lost = Some(error),
        }
    }
}

impl Screen {
    fn draw(&self, frame: &mut Frame<'_>) {
        let status = &self.status;
        let open = (status.epochs.opened.saturating_sub(status.epochs.completed) as usize).min(BARS);
        let notes = self.notes();
        let heights =
            [3, open as u16, status.stages.len() as u16 + 2, status.tables.len() as u16 + 2, notes.len() as u16 * 2];
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
                "{} rows  {} rows/s  epoch {}  lag {}  {} objects ({}) outstanding{oldest}",
                show::grouped(s.rows),
                show::grouped(s.rows_per_second as u64),
                s.epochs.completed,
                show::seconds(s.epochs.lag_seconds),
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
        let mut head = vec!["stage", "rows", "rows/s", "busy"];
        let mut widths =
            vec![Constraint::Length(name), Constraint::Length(13), Constraint::Length(10), Constraint::Length(5)];
        if wide {
            head.extend(["kind", "waiting", "rejects", "MB/s", "lag"]);
            widths.extend([10, 10, 9, 8, 9].map(Constraint::Length));
        }
        head.push("frontier");
        widths.push(Constraint::Fill(1));
        let rows = self.status.stages.iter().skip(self.first).map(|s| row(s, wide));
        let bold = Style::new().add_modifier(Modifier::BOLD);
        Table::new(rows, widths).header(Row::new(head).style(bold)).column_spacing(2)
    }

    fn tables(&self, width: u16) -> Table<'static> {
        let name = self.status.tables.iter().map(|t| t.stage.chars().count()).max().unwrap_or(5).max(5) as u16;
        let row = |t: &alluvium_engine::progress::TableStatus| {
            let mut cells = vec![
                t.stage.clone(),
                t.version.map(|v| v.to_string()).unwrap_or_default(),
                t.epoch.to_string(),
                show::grouped(t.rows),
                show::bytes(t.bytes),
                format!("{:.0} ms", t.commit_ms),
                t.conflicts.to_string(),
            ];
            if width >= WIDE {
                cells.push(t.url.clone());
            }
            Row::new(cells)
        };
        let mut head = vec!["table", "version", "epoch", "rows", "size", "commit", "conflicts"];
        let mut widths = vec![Constraint::Length(name)];
        widths.extend([8, 7, 13, 9, 9, 9].map(Constraint::Length));
        if width >= WIDE {
            head.push("place");
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

fn row(stage: &StageStatus, wide: bool) -> Row<'static> {
    let right = |text: String, width: usize| Cell::from(format!("{text:>width$}"));
    let mut cells = vec![
        Cell::from(stage.name.clone()),
        right(show::grouped(stage.rows), 13),
        right(show::grouped(stage.rows_per_second as u64), 10),
        right(format!("{:.0}%", stage.busy * 100.0), 5),
    ];
    if wide {
        cells.extend([
            Cell::from(stage.kind.clone()),
            right(show::grouped(stage.queue_rows), 10),
            right(show::grouped(stage.rejects), 9),
            right(format!("{:.1}", stage.bytes_per_second / 1e6), 8),
            right(show::seconds(stage.lag.seconds), 9),
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
