//! The dashboard in a browser: it shows what the status and the tables say, at any width, by keyboard too.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::WATCH;
use super::client::{Served, with_runs};
use crate::support::{Folder, alluvium, python, read, root, until};

/// The picture in README.md.
const PICTURE: &str = "stages/monitor/dashboard.png";

#[test]
fn the_page_shows_what_the_tables_hold() {
    let folder = Folder::new("page");
    let lake = folder.text("lake");
    let input = folder.path("in");
    std::fs::create_dir(&input).unwrap();
    for file in std::fs::read_dir(root().join("pipelines/data/tweets")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), input.join(file.file_name())).unwrap();
    }
    std::fs::write(input.join("broken.json"), "{\"date\": \"<b>no</b>\"\n").unwrap();
    let call =
        alluvium(&["run", "pipelines/tweets.yaml", "--watch", "--workers", "2", "--set", &format!("LAKE={lake}")]);
    let served = Served::launch(call.env("TWEETS", &folder.text("in")));
    until("everything is done", || {
        let status = served.status();
        status["listed"] == true && status["backlog"]["objects"] == 0 && status["epochs"]["open"] == 0
    });
    let rows = |table: &str| read(&format!("{lake}/{table}")).rows.len();
    let tables = serde_json::json!({
        "bronze": rows("bronze"), "silver": rows("silver"), "gold": rows("gold"), "mentions": rows("mentions"), "quarantine": 1,
    });
    let (url, seen) = (format!("http://{}/", served.address), folder.text("seen"));
    let looked = python(&["tests/monitor/page.py", "look", &url, &seen, &tables.to_string()]);
    let views: Vec<serde_json::Map<String, Value>> = serde_json::from_slice(&looked).unwrap();
    assert_eq!(views.len(), 5);
    for view in views {
        for (what, found) in view.iter().filter(|(key, _)| key.starts_with("wrong")) {
            let found = found.as_array().unwrap();
            assert!(found.is_empty(), "{what} at {} {}: {found:#?}", view["width"], view["scheme"]);
        }
    }
    if std::env::var("UPDATE").is_ok_and(|v| v == "1") {
        std::fs::copy(folder.path("seen/1400-light-top.png"), root().join(PICTURE)).unwrap();
    }
    assert!(std::fs::read(root().join(PICTURE)).unwrap().starts_with(b"\x89PNG"));
    with_runs(alluvium(&["stop", "--all", "--now"]), served.runs()).ok();
}

/// A page that is open while the run ends and another one begins.
#[test]
fn the_page_finds_the_next_run() {
    let mut numbers = crate::support::Numbers::local("reconnect");
    numbers.feed(2);
    // Both runs are at the same address.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let start = || numbers.call(&[&WATCH[..], &["--http", &address]].concat()).start();
    let first = start();
    until("the run can be asked", || std::net::TcpStream::connect(&address).is_ok());
    let mut page = Page::open(&format!("http://{address}/"));
    let one = page.line("connected ");
    first.signal("KILL");
    first.end();
    let lost = page.line("lost ");
    assert!(!lost.is_empty());
    let second = start();
    let other = page.line("connected ");
    assert_ne!(one, other);
    second.signal("KILL");
    second.end();
}

/// A browser that tells what it sees.
struct Page {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Page {
    fn open(url: &str) -> Self {
        let python = std::env::var("ALLUVIUM_TEST_PYTHON").unwrap();
        let mut child = Command::new(python)
            .args(["tests/monitor/page.py", "reconnect", url])
            .current_dir(root())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The rest of the next line, which must begin so.
    #[track_caller]
    fn line(&mut self, beginning: &str) -> String {
        let line = self.lines.next().expect("the browser has ended").unwrap();
        line.strip_prefix(beginning).unwrap_or_else(|| panic!("{line}")).to_owned()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
