//! Secrets never appear: not in what is printed, not in logs, not in any file of tables and state.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;

use crate::support::{Call, Folder, alluvium};

/// All of them hold this word, in whatever form they are shown.
const WORD: &str = "zebra";
const TOKEN: &str = "tok-Zebra-9f8e7d";
const IN_URL: &str = "https://joe:Zebra-in-url@example.com/x";

const STORAGE: &str = r#"storage: { aws_access_key_id: AKIAZEBRA0000001, aws_secret_access_key: "wJalr/Zebra+Secret=Key", aws_region: eu-west-1 }"#;

#[track_caller]
fn assert_hidden(what: &str, text: &str) {
    assert!(!text.to_lowercase().contains(WORD), "{what} shows a secret:\n{text}");
}

/// Runs it, whatever the end, and looks at all that is printed.
#[track_caller]
fn hidden(what: &str, call: Call, code: i32) -> String {
    let done = call.run();
    assert_hidden(what, &done.out);
    assert_hidden(what, &done.err);
    assert_eq!(done.code, Some(code), "{what}: {}{}", done.err, done.out);
    done.err + &done.out
}

/// Every file below a folder; bytes as they are.
fn assert_files_hidden(folder: &Path) -> usize {
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        assert_hidden("a file's name", &path.display().to_string());
        if path.is_dir() {
            seen += assert_files_hidden(&path);
        } else {
            seen += 1;
            assert_hidden(&path.display().to_string(), &String::from_utf8_lossy(&std::fs::read(&path).unwrap()));
        }
    }
    seen
}

fn spec(folder: &Folder, name: &str, text: &str) -> String {
    folder.write(name, text).display().to_string()
}

fn with_secrets(arguments: &[&str]) -> Call {
    alluvium(arguments).env("API_TOKEN", TOKEN).env("FEED", IN_URL)
}

const COMMANDS: [&[&str]; 5] = [&["check"], &["explain"], &["graph"], &["run"], &["query"]];

/// Every command that takes a spec.
fn every_command(path: &str) -> Vec<(String, Call)> {
    let call = |command: &[&str]| {
        let mut arguments = [command, &[path]].concat();
        if command == ["query"] {
            arguments.push("select 1");
        }
        (format!("{arguments:?}"), with_secrets(&arguments))
    };
    COMMANDS.iter().map(|c| call(c)).collect()
}

/// The lines that are shown as snippets hold the secrets.
#[test]
fn secrets_beside_a_problem_are_masked() {
    let folder = Folder::new("secrets-check");
    let stages = "stages:\n  numbers: { kind: generate, rows: 10, columns: { id: { sequence: 1 } } }\n";
    let cases = [
        (
            "key",
            format!(
                "pipeline: s\nstate: lake\n{}\n{stages}  out: {{ kind: blackhole, input: numbers }}\n",
                STORAGE.replace(", aws_region", ", aws_retries: 3, aws_region")
            ),
        ),
        (
            "url",
            format!(
                "pipeline: s\nstate: lake\n{stages}  out: {{ kind: delta, input: numbers, table: \"s3://joe:pa%3AZebra@bucket/x\", mod: upsert }}\n"
            ),
        ),
        (
            "query",
            format!(
                "pipeline: s\nstate: lake\n{stages}  out: {{ kind: delta, input: numbers, table: \"s3://bucket/x?X-Amz-Signature=12Zebra34&part=1\", mod: upsert }}\n"
            ),
        ),
        (
            "state",
            format!(
                "pipeline: s\nstate: ftp://joe:Zebra1@host/x\n{stages}  out: {{ kind: blackhole, input: numbers }}\n"
            ),
        ),
        (
            "kind",
            format!(
                "pipeline: s\nstate: lake\n{stages}  out: {{ kind: blackhol, input: numbers, password: Zebra-key }}\n"
            ),
        ),
        (
            "variable",
            format!("pipeline: s\nstate: lake\n{stages}  out: {{ kind: \"${{API_TOKEN}}\", input: numbers }}\n"),
        ),
        (
            "variable-url",
            format!(
                "pipeline: s\nstate: lake\n{stages}  out: {{ kind: delta, input: numbers, table: lake/x, mode: \"${{FEED}}\" }}\n"
            ),
        ),
        (
            "cast",
            format!(
                "pipeline: s\nstate: lake\n{stages}  one: {{ kind: sql, input: numbers, query: \"SELECT CAST('${{API_TOKEN}}' AS BIGINT) AS x, nope FROM input\" }}\n  out: {{ kind: print, input: one }}\n"
            ),
        ),
        (
            "long",
            format!(
                "pipeline: s\nstate: lake\n{stages}  out: {{ kind: \"{}\", input: numbers, \"http://joe:{}@h/x\": 1 }}\n",
                "https://joe:x@h/".to_owned() + &"long ".repeat(15),
                "Zebra".repeat(40)
            ),
        ),
        ("yaml-quote", format!("pipeline: s\nstate: lake\n{}\n{stages}", STORAGE.replace("Key\"", "Key"))),
        ("yaml-brace", format!("pipeline: s\nstate: lake\n{}\n{stages}", STORAGE.replace(" }", ""))),
        ("yaml-url", format!("pipeline: s\nstate: \"https://joe:Zebra-x@host/y\n{stages}")),
        ("list", format!("- {STORAGE}\n- https://joe:Zebra-x@host/y\n")),
    ];
    for (name, text) in cases {
        let path = spec(&folder, &format!("{name}.yaml"), &text);
        for (what, call) in every_command(&path) {
            let said = hidden(&what, call, 2);
            assert!(said.contains("problem"), "{what}: {said}");
        }
    }
}

#[test]
fn secrets_are_not_in_the_plan() {
    let folder = Folder::new("secrets-plan");
    let text = format!(
        "pipeline: s\nstate: s3://joe:Zebra1@bucket/state\n{STORAGE}\nstages:\n  numbers: {{ kind: generate, rows: 10, columns: {{ id: {{ sequence: 1 }} }}, description: \"as ${{API_TOKEN}} and ${{FEED}} say\" }}\n  out: {{ kind: delta, input: numbers, table: \"s3://joe:Zebra2@bucket/x?sig=Zebra3\" }}\n"
    );
    let path = spec(&folder, "plan.yaml", &text);
    for command in ["check", "explain", "graph"] {
        hidden(command, with_secrets(&[command, &path]), 0);
    }
    let shown = with_secrets(&["explain", &path]).ok();
    assert!(shown.contains("s3://bucket/x") && shown.contains("s3://bucket/state"), "{shown}");
    // Another password is the same plan, so that keys can be changed between runs.
    let plan = |token: &str| alluvium(&["check", &path]).env("API_TOKEN", token).env("FEED", IN_URL).ok();
    assert_eq!(plan("one-Zebra"), plan("other-Zebra"));
}

/// Answers every request with an error that repeats the request.
fn refusing_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
                head.push(byte[0]);
            }
            let body = format!(
                "<Error><Code>AccessDenied</Code><Message>{}</Message></Error>",
                String::from_utf8_lossy(&head)
            );
            let _ = write!(
                stream,
                "HTTP/1.1 403 Forbidden\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    format!("http://{address}")
}

#[test]
fn secrets_are_not_in_faults_and_logs() {
    let folder = Folder::new("secrets-run");
    let endpoint = refusing_server();
    let storage = STORAGE.replace(" }", &format!(", aws_endpoint_url: \"{endpoint}\", aws_allow_http: \"true\" }}"));
    let stages = |url: &str, table: &str| {
        format!(
            "pipeline: s\nstate: {}\n{storage}\nstages:\n  texts: {{ kind: files, url: \"{url}\", format: json, schema: {{ id: bigint }} }}\n  out: {{ kind: delta, input: texts, table: \"{table}\" }}\n",
            folder.text("lake/state")
        )
    };
    let input = folder.write("in/one.json", "{\"id\": 1}\n").parent().unwrap().display().to_string();
    let table = folder.text("lake/out");
    for (name, url, table) in [
        ("source", "s3://joe:Zebra-a@bucket/in", table.as_str()),
        ("table", &input, "s3://joe:Zebra-b@bucket/out"),
        ("http", "https://joe:Zebra-c@127.0.0.1:1/in?sig=Zebra-d", &table),
        ("scheme", "ftp://joe:Zebra-e@host/in", &table),
        ("variable", "${FEED}", &table),
    ] {
        let path = spec(&folder, &format!("{name}.yaml"), &stages(url, table));
        for level in ["warn", "debug"] {
            let run = with_secrets(&["run", &path]).env("ALLUVIUM_LOG", level);
            if name == "scheme" {
                assert!(hidden(name, run, 2).contains("cannot be opened"));
            } else {
                let said = hidden(name, run, 1);
                assert!(said.contains("error: stage "), "{name}: {said}");
            }
        }
        // Of a table elsewhere nothing can be read; a local one may be empty.
        let code = match name {
            "scheme" => 2,
            _ if table.starts_with("s3:") => 1,
            _ => 0,
        };
        hidden(name, with_secrets(&["query", &path, "select id from out"]), code);
    }
    if folder.path("lake").exists() {
        assert_files_hidden(&folder.path("lake"));
    }
}

const GOOD: &str = r#"
pipeline: good
description: "for ${FEED}"
state: ${LAKE}/_state
STORAGE
stages:
  numbers: { kind: generate, rows: 100, columns: { id: { sequence: 1 }, level: { choice: [low, high] } } }
  kept:    { kind: sql, input: numbers, query: "SELECT id, level FROM input WHERE level <> '${API_TOKEN}'" }
  table:   { kind: delta, input: kept, table: "${LAKE}/table" }
  bad:     { kind: sql, input: table, query: "SELECT CAST(concat(level, '${API_TOKEN}') AS BIGINT) AS n FROM input", on_bad_row: FATE }
  none:    { kind: blackhole, input: bad }
  REJECTS
  counts:  { kind: aggregate, input: table, by: [level], where: "level <> '${API_TOKEN}'", columns: { n: { count: "*", where: "level <> '${API_TOKEN}'" } } }
  totals:  { kind: delta, input: counts, table: "${LAKE}/totals", mode: upsert }
"#;

#[test]
fn secrets_are_in_no_file_of_tables_and_state() {
    let folder = Folder::new("secrets-files");
    let good = GOOD.replace("STORAGE", STORAGE);
    let quarantine = good
        .replace("FATE", "quarantine")
        .replace("REJECTS", "rejects: { kind: delta, input: bad.rejects, table: \"${LAKE}/rejects\" }");
    let fail = good.replace("FATE", "fail").replace("REJECTS", "");
    let lake = folder.text("lake");
    let set = format!("LAKE={lake}");
    for (name, text, code) in [("quarantine", quarantine, 0), ("fail", fail, 1)] {
        let path = spec(
            &folder,
            &format!("{name}.yaml"),
            &text.replace("_state", &format!("_state_{name}")).replace("}/t", &format!("}}/{name}_t")),
        );
        for level in ["warn", "debug"] {
            let said = hidden(name, with_secrets(&["run", &path, "--set", &set]).env("ALLUVIUM_LOG", level), code);
            if code == 1 {
                assert!(said.contains("stage `bad` failed") && said.contains("***"), "{said}");
            }
        }
    }
    let found = assert_files_hidden(&folder.path("lake"));
    assert!(found >= 10, "only {found} files: the run has written less than it should");
    // The search can find: the rejects say why, with the secret masked.
    let rejects =
        alluvium(&["query", &folder.text("quarantine.yaml"), "select reason from rejects limit 1", "--set", &set])
            .env("API_TOKEN", TOKEN)
            .env("FEED", IN_URL)
            .ok();
    assert!(rejects.contains("***"), "{rejects}");
}
