//! `top`: a running pipeline on the whole terminal.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use alluvium_engine::cli::{Cli, Command, DONE, SpecArguments, USAGE, say_error};
use alluvium_engine::progress::{RunState, Status};
use clap::{ArgMatches, Args};
use hyper::Method;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};

use super::find::{Found, running};
use super::screen::Screen;
use super::{failed, parsed};
use crate::client;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);
/// A key is answered so soon.
const KEY: Duration = Duration::from_millis(50);
/// The command.
pub struct Top;

/// Watch a running pipeline on the whole terminal.
///
/// Keys: q ends, p pauses and goes on, up and down scroll.
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
