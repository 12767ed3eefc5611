//! Reports: what is shown is what the tables hold, wherever it is drawn.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;

use serde_json::Value;

use crate::golden::assert_golden;
use crate::support::{Call, Folder, alluvium, python};

const SPEC: &str = r#"
pipeline: notes
description: Notes of users
state: ${LAKE}/_state
stages:
  lines:
    kind: files
    url: ${IN}
    format: json
    schema: { at: timestamp, user: string, mood: string, size: double }
    on_bad_row: quarantine
  notes: { kind: delta, input: lines, table: "${LAKE}/notes" }
  huge: { kind: sql, input: notes, query: SELECT * FROM input WHERE size > 1000 }
  none: { kind: delta, input: huge, table: "${LAKE}/none" }
  per_user:
    kind: aggregate
    input: notes
    by: [user]
    columns: { notes: { count: "*" }, good: { count: "*", where: "mood = 'good'" } }
  users: { kind: delta, input: per_user, table: "${LAKE}/users", mode: upsert }
  bad: { kind: delta, input: lines.rejects, table: "${LAKE}/bad" }
"#;

const PANELS: &str = r#"
report:
  title: Notes & <people>
  description: What they wrote
  panels:
    count: { title: Notes, chart: number, query: SELECT count(*) AS n FROM notes }
    users: { title: Users, chart: bar, table: users, x: user, y: notes, order: "notes DESC, user", limit: 5 }
    parts: { title: Good of all, chart: bar, table: users, x: user, y: [good, notes], order: user }
    days:
      title: Notes a day
      description: By mood
      chart: line
      x: day
      y: n
      series: mood
      query: SELECT date_trunc('day', at) AS day, mood, count(*) AS n FROM notes GROUP BY 1, 2 ORDER BY mood DESC, day
    pile: { chart: area, x: day, y: n, query: "SELECT date_trunc('day', at) AS day, count(*) AS n FROM notes GROUP BY 1 ORDER BY 1;" }
    sizes: { title: Sizes, chart: histogram, table: notes, x: size }
    moods: { title: Who feels how, chart: heatmap, x: mood, y: user, value: n, query: 'SELECT mood, "user", count(*) AS n FROM notes GROUP BY 1, 2 ORDER BY 1, 2' }
    all: { title: Largest, chart: table, table: notes, order: "size DESC, at", limit: 3 }
    empty: { title: Huge ones, chart: bar, table: none, x: user, y: size }
    objects: { chart: number, query: SELECT count(*) AS n FROM alluvium.ledger WHERE complete }
"#;

/// A pipeline that has run once.
struct Notes {
    folder: Folder,
    spec: String,
}

impl Notes {
    fn new(name: &str, panels: &str) -> Self {
        let folder = Folder::new(name);
        let users = ["<script>alert(1)</script>", "ann", "bob & co", "日本語の名前", "\"q\" 'u' \\u001b[31m"];
        let mut lines = String::new();
        for (n, user) in (0..60_u32).zip(users.iter().cycle()) {
            let user = if n % 7 == 0 { "ann" } else { user };
            let user = user.replace('"', "\\\"");
            let (day, mood) = (1 + n % 9, if n % 3 == 0 { "good" } else { "bad" });
            let size = f64::from(n * n % 97) / 4.0;
            lines.push_str(&format!(
                "{{\"at\": \"2026-03-0{day}T10:{n:02}:00Z\", \"user\": \"{user}\", \"mood\": \"{mood}\", \"size\": {size}}}\n"
            ));
        }
        folder.write("in/1.json", &format!("{lines}{{\"at\": \"never\"}}\nnot json\n"));
        let spec = folder.write("notes.yaml", &format!("{SPEC}{panels}")).display().to_string();
        Self { folder, spec }
    }

    fn run(self) -> Self {
        self.call(&["run", &self.spec]).ok();
        self
    }

    fn call(&self, arguments: &[&str]) -> Call {
        alluvium(arguments).env("LAKE", &self.folder.text("lake")).env("IN", &self.folder.text("in"))
    }

    fn html(&self) -> String {
        self.call(&["report", &self.spec, "-o", "-"]).ok()
    }

    /// The answer of `alluvium query`, as texts.
    fn query(&self, sql: &str) -> Vec<Vec<String>> {
        let out = self.call(&["query", &self.spec, sql, "--format", "json"]).ok();
        let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
        let row = |line: &str| {
            let row: serde_json::Map<String, Value> = serde_json::from_str(line).unwrap();
            row.values().map(text).collect()
        };
        out.lines().map(row).collect()
    }
}

/// A panel of a page.
fn panel<'a>(html: &'a str, name: &str) -> &'a str {
    let (_, rest) = html.split_once(&format!(" id=\"{name}\">\n")).unwrap_or_else(|| panic!("no panel {name}: {html}"));
    let end =
        rest.find("</figure>").unwrap_or(rest.len()).min(rest.find("<div class=\"number\"").unwrap_or(rest.len()));
    &rest[..end]
}

fn plain(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'").replace("&amp;", "&")
}

/// The rows below the picture of a panel.
fn rows(panel: &str) -> Vec<Vec<String>> {
    let body = panel.split_once("<tbody>").unwrap().1.split_once("</tbody>").unwrap().0;
    let cell = |cell: &str| plain(cell.split_once('>').unwrap().1.split_once("</td>").unwrap().0);
    body.split("<tr>").skip(1).map(|row| row.split("<td").skip(1).map(cell).collect()).collect()
}

#[test]
fn report_shows_the_numbers_of_the_tables() {
    let notes = Notes::new("report", PANELS).run();
    let html = notes.html();
    assert!(panel(&html, "count").contains("<strong>60</strong>"), "{html}");
    assert!(panel(&html, "objects").contains("<strong>1</strong>"), "the ledger is a table: {html}");
    for (name, sql) in [
        ("users", "SELECT \"user\", notes, good FROM users ORDER BY notes DESC, \"user\" LIMIT 5"),
        ("moods", "SELECT mood, \"user\", count(*) AS n FROM notes GROUP BY 1, 2 ORDER BY 1, 2"),
        ("pile", "SELECT CAST(CAST(at AS DATE) AS VARCHAR), count(*) AS n FROM notes GROUP BY 1 ORDER BY 1"),
        (
            "all",
            "SELECT substr(replace(CAST(at AS VARCHAR), 'T', ' '), 1, 16), \"user\", mood, size FROM notes ORDER BY size DESC, at LIMIT 3",
        ),
    ] {
        // What a page cannot hold is marked there.
        let expected: Vec<Vec<String>> = notes
            .query(sql)
            .into_iter()
            .map(|r| r.into_iter().map(|c| c.replace('\u{1b}', "\u{fffd}")).collect())
            .collect();
        let expected: Vec<Vec<String>> = expected
            .into_iter()
            .map(|r| r.into_iter().map(|c| c.strip_suffix(".0").map(str::to_owned).unwrap_or(c)).collect())
            .collect();
        assert_eq!(rows(panel(&html, name)), expected, "{name}");
    }
    let counted: u64 = rows(panel(&html, "sizes")).iter().map(|r| r[2].parse::<u64>().unwrap()).sum();
    assert_eq!(counted, 60, "each number is in one range");
    for range in rows(panel(&html, "sizes")) {
        let sql = format!("SELECT count(*) AS n FROM notes WHERE size >= {} AND size < {}", range[0], range[1]);
        assert_eq!(notes.query(&sql), [[range[2].clone()]], "{range:?}");
    }
    assert!(panel(&html, "empty").contains("No rows"), "{}", panel(&html, "empty"));
    assert!(html.contains("<title>Notes &amp; &lt;people&gt;</title>"), "{html}");
    assert!(html.contains("Pipeline notes · epoch 1, complete 20"), "{html}");
    assert_eq!(notes.html(), html, "the same tables give the same bytes");
}

#[test]
fn report_escapes_what_tables_hold() {
    let notes = Notes::new("report-escapes", PANELS).run();
    let html = notes.html();
    assert!(!html.contains("<script"), "{html}");
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && html.contains("日本語の名前"), "{html}");
    assert!(!html.contains('\u{1b}'));
    for outside in ["http://", "https://", "src=", "url(", "@import", "<link"] {
        assert!(!html.contains(outside), "the page asks for nothing: {outside}");
    }
    let out = notes.call(&["plot", &notes.spec, "users"]).ok();
    assert!(!out.contains('\u{1b}'), "what a table holds is no command to a terminal: {out:?}");
}

#[test]
fn report_before_the_first_run_says_what_to_do() {
    let notes = Notes::new("report-early", PANELS);
    for arguments in [vec!["report", &notes.spec, "-o", "-"], vec!["plot", &notes.spec]] {
        let done = notes.call(&arguments).run();
        assert_eq!((done.code, done.out.as_str()), (Some(1), ""));
        let expected = format!("no epoch of `notes` is complete; `alluvium run {}` writes its tables", notes.spec);
        assert!(done.err.contains(&expected), "{}", done.err);
    }
    assert!(!notes.folder.path("lake").exists(), "a report makes no tables");
}

/// A run that was killed between the commits of two tables has left them at different epochs.
#[test]
fn report_shows_all_tables_as_of_one_epoch() {
    let notes = Notes::new("report-epoch", PANELS).run();
    let before = notes.html();
    let more = "{\"at\": \"2026-03-01T10:00:00Z\", \"user\": \"ann\", \"mood\": \"good\", \"size\": 2000}\n";
    notes.folder.write("in/2.json", more);
    let killed = notes.call(&["run", &notes.spec]).env("ALLUVIUM_FAILPOINT", "after-commit:notes@2").command().output();
    assert_eq!(killed.unwrap().status.signal(), Some(9));
    let newest = crate::support::read(&notes.folder.text("lake/notes")).rows.len();
    assert_eq!(newest, 61, "one table has the second epoch");
    let same = |html: &str| html.split("<footer").next().unwrap().replace("<strong>2</strong>", "<strong>1</strong>");
    assert_eq!(same(&notes.html()), same(&before));
    assert_eq!(notes.query("SELECT count(*) AS n FROM notes"), [["60"]], "a query sees the same epoch");
    notes.call(&["run", &notes.spec]).ok();
    let after = notes.html();
    assert!(panel(&after, "count").contains("<strong>61</strong>") && after.contains("epoch 2"), "{after}");
}

#[test]
fn report_without_panels_shows_what_columns_suggest() {
    let notes = Notes::new("report-default", "").run();
    let listed = notes.call(&["plot", &notes.spec]).ok();
    assert_golden("tests/golden/plot/default-panels.txt", &listed);
    let html = notes.html();
    assert!(panel(&html, "notes_rows").contains("<strong>60</strong>"));
    let moods = notes.query("SELECT mood, count(*) AS n FROM notes GROUP BY 1 ORDER BY 2 DESC, 1");
    assert_eq!(rows(panel(&html, "notes_mood")), moods);
    let reasons: Vec<String> = rows(panel(&html, "bad_reasons")).into_iter().map(|r| r[1].clone()).collect();
    assert_eq!(reasons, ["1", "1"], "why lines were rejected");
    let lake = Folder::new("report-weblogs");
    let weblogs = |arguments: &[&str]| alluvium(arguments).env("LAKE", &lake.text("lake")).ok();
    weblogs(&["run", "pipelines/weblogs.yaml"]);
    assert_golden("tests/golden/plot/weblogs-panels.txt", &weblogs(&["plot", "pipelines/weblogs.yaml"]));
    let page = weblogs(&["report", "pipelines/weblogs.yaml", "-o", "-"]);
    assert!(page.contains("Requests to web servers"), "the pipeline says what it is for");
}

#[test]
fn report_draws_a_file_for_each_panel() {
    let notes = Notes::new("report-files", PANELS).run();
    let out = notes.folder.text("out");
    let mut sizes = BTreeMap::new();
    for format in ["svg", "png"] {
        let said = notes.call(&["report", &notes.spec, "--format", format, "-o", &out]).ok();
        let files: Vec<&str> = said.lines().collect();
        assert_eq!(files.len(), 10, "{said}");
        let read: Vec<Value> =
            serde_json::from_slice(&python(&[&["tests/support/picture.py"], files.as_slice()].concat())).unwrap();
        for (file, picture) in files.iter().zip(read) {
            let name = file.rsplit('/').next().unwrap().split('.').next().unwrap().to_owned();
            let size = (picture["width"].as_u64().unwrap(), picture["height"].as_u64().unwrap());
            if format == "svg" {
                assert_eq!(picture["role"], "img");
                assert!(!picture["elements"].to_string().contains("script"), "{picture}");
                assert!(!picture["desc"][0].as_str().unwrap().is_empty(), "{name} in words");
                sizes.insert(name, size);
            } else {
                let (width, height) = sizes[&name];
                assert_eq!(size, (2 * width, 2 * height), "{name}: a pixel is drawn as four");
                let bytes = std::fs::metadata(file).unwrap().len();
                assert!(bytes > 1_500, "{name}: {bytes} bytes are no picture with text");
            }
        }
    }
    let again = notes.call(&["report", &notes.spec, "--format", "svg", "--panel", "users", "-o", "-"]).ok();
    assert_eq!(again, std::fs::read_to_string(notes.folder.path("out/users.svg")).unwrap());
    assert!(again.contains(">Users</text>") && again.contains("&lt;script&gt;"), "{again}");
}

#[test]
fn report_refuses_what_cannot_be() {
    let notes = Notes::new("report-refuses", PANELS).run();
    let several = notes.call(&["report", &notes.spec, "--format", "png", "-o", "-"]).run();
    assert_eq!(several.code, Some(2));
    assert!(several.err.contains("standard output takes one picture"), "{}", several.err);
    for command in ["report", "plot"] {
        let mut arguments = vec![command, &notes.spec];
        arguments.extend(if command == "plot" { vec!["usres"] } else { vec!["--panel", "usres", "-o", "-"] });
        let unknown = notes.call(&arguments).run();
        assert_eq!((unknown.code, unknown.out.as_str()), (Some(2), ""));
        assert!(
            unknown.err.contains("no panel `usres`\n  did you mean `users`? panels: count, users"),
            "{}",
            unknown.err
        );
    }
    notes.folder.write("file", "");
    let place = notes.folder.text("file/report.html");
    let unwritable = notes.call(&["report", &notes.spec, "-o", &place]).run();
    assert_eq!(unwritable.code, Some(1));
    assert!(unwritable.err.contains("report.html cannot be written: "), "{}", unwritable.err);
}

/// A running pipeline's tables and state fit whatever is shown of them.
#[test]
fn report_is_no_part_of_the_plan() {
    let notes = Notes::new("report-hash", PANELS).run();
    let hash = |text: &str| text.split_once("(plan ").unwrap().1.to_owned();
    let with = hash(&notes.call(&["check", &notes.spec]).ok());
    let bare = notes.folder.write("bare.yaml", SPEC).display().to_string();
    assert_eq!(hash(&notes.call(&["check", &bare]).ok()), with);
    notes.call(&["run", &bare]).ok();
}

#[test]
fn plot_draws_on_terminals_of_any_width() {
    let notes = Notes::new("plot", PANELS).run();
    let listed = notes.call(&["plot", &notes.spec]).ok();
    assert!(listed.starts_with("count    number     Notes\nusers    bar        Users\n"), "{listed}");
    for width in [80_usize, 160] {
        let mut all = String::new();
        for name in listed.lines().map(|l| l.split_whitespace().next().unwrap()) {
            let drawn = notes.call(&["plot", &notes.spec, name, "--width", &width.to_string()]).ok();
            assert!(!drawn.contains('\u{1b}'), "no colours where no terminal is: {drawn:?}");
            all.push_str(&format!("{drawn}\n"));
        }
        // Cells that are two wide count as one character here.
        let widest = all.lines().map(|l| l.chars().count()).max().unwrap();
        assert!(widest <= width, "{widest} characters in {width} cells\n{all}");
        assert_golden(&format!("tests/golden/plot/{width}.txt"), &all);
    }
}

/// As a person sees it: in Chromium, on a phone, a tablet, a desk and paper, light and dark.
#[test]
fn report_is_right_in_a_browser() {
    let folder = Folder::new("report-browser");
    let (lake, page) = (folder.text("lake"), folder.text("report.html"));
    alluvium(&["run", "pipelines/tweets.yaml"]).env("LAKE", &lake).ok();
    alluvium(&["report", "pipelines/tweets.yaml", "-o", &page]).env("LAKE", &lake).ok();
    // `REPORT_PICTURES` keeps what was seen, to be looked at; `report.png` of it is shown in the README.
    let pictures = std::env::var("REPORT_PICTURES").unwrap_or_else(|_| folder.text("pictures"));
    let views: Vec<Value> = serde_json::from_slice(&python(&["tests/support/browser.py", &page, &pictures])).unwrap();
    assert_eq!(views.len(), 6);
    assert!(std::fs::metadata(format!("{pictures}/report.png")).unwrap().len() > 20_000);
    let query =
        |sql: &str| alluvium(&["query", "pipelines/tweets.yaml", sql, "--format", "csv"]).env("LAKE", &lake).ok();
    let first = query("SELECT mention FROM mentions ORDER BY positive DESC, mention LIMIT 1");
    let first = first.lines().nth(1).unwrap();
    let grouped =
        |n: &str| if n.len() > 3 { format!("{},{}", &n[..n.len() - 3], &n[n.len() - 3..]) } else { n.to_owned() };
    let mentioned = query("SELECT count(*) AS n FROM mentions");
    let mentioned = grouped(mentioned.lines().nth(1).unwrap());
    let mut papers = Vec::new();
    for view in &views {
        let place = format!("{} {} {}", view["width"], view["scheme"], view["media"]);
        for state in [view, &view["opened"]] {
            assert_eq!(state["overflow"], Value::Array(vec![]), "{place}");
            assert_eq!(state["scroll"], 0, "{place}: the page moves sideways");
            assert_eq!(state["outside"], Value::Array(vec![]), "{place}: texts are cut off");
            assert!(state["smallest"].as_f64().unwrap() >= 12.0, "{place}: texts are too small: {}", state["smallest"]);
        }
        assert_eq!(view["console"], Value::Array(vec![]), "{place}");
        let asked = view["requests"].as_array().unwrap();
        assert!(asked.len() == 1 && asked[0].as_str().unwrap().starts_with("file://"), "{place}: {asked:?}");
        let pictures = view["pictures"].as_array().unwrap();
        assert_eq!(pictures.len(), 6, "{place}: each once, and none of an empty table: {pictures:?}");
        let (text, headings) = (view["text"].as_str().unwrap(), view["headings"].to_string());
        for title in [
            "Sentiment of tweets",
            "With mentions",
            "Sentiment over time",
            "Mentioned most negatively",
            "Labels and predictions",
            "Where this comes from",
        ] {
            assert!(headings.contains(title), "{place}: {title} is not seen: {headings}");
        }
        for value in ["2,000", &mentioned, "epoch 1", "exactly once, upsert"] {
            assert!(text.contains(value), "{place}: {value} is not seen: {text}");
        }
        let drawn = view["drawn"].to_string();
        let begins: String = first.chars().take(8).collect();
        for value in [begins.as_str(), "positive", "negative", "predicted →", "May"] {
            assert!(drawn.contains(value), "{place}: {value} is not drawn: {drawn}");
        }
        papers
            .push((view["scheme"] == "dark" && view["media"] == "screen", view["paper"].as_str().unwrap().to_owned()));
    }
    for (dark, paper) in papers {
        let first: u32 = paper.split(['(', ',']).nth(1).unwrap().trim().parse().unwrap();
        assert_eq!(first < 80, dark, "{paper}");
    }
}
