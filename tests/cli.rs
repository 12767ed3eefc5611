//! The command line: what is printed, where it goes, how it ends.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::golden::assert_golden;
use crate::support::{Folder, alluvium, python, root};

/// What the plan's hash is made of changes with any of the stages; that it does is tested apart from the rest.
fn without_hash(text: &str) -> String {
    let (before, after) = text.split_once("(plan ").unwrap();
    let (hash, rest) = after.split_once(')').unwrap();
    assert!(hash.len() == 16 && hash.chars().all(|c| c.is_ascii_hexdigit()), "{hash}");
    format!("{before}(plan …){rest}")
}

fn hash(spec: &str, set: &[&str]) -> String {
    let mut arguments = vec!["check", spec];
    set.iter().for_each(|s| arguments.extend(["--set", s]));
    let out = alluvium(&arguments).ok();
    out.split_once("(plan ").unwrap().1.split_once(')').unwrap().0.to_owned()
}

/// Every spec that is shipped.
fn shipped() -> Vec<String> {
    let mut paths: Vec<String> = std::fs::read_dir(root().join("pipelines"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".yaml"))
        .map(|name| format!("pipelines/{name}"))
        .collect();
    paths.sort();
    assert!(paths.len() >= 2, "{paths:?}");
    paths
}

const SMALL: &str = "\
pipeline: small
state: ${LAKE}/_state
stages:
  numbers:
    kind: generate
    rows: 100
    columns: { id: { sequence: 1 }, level: { choice: [low] } }
  all: { kind: delta, input: numbers, table: \"${LAKE}/all\" }
  odd: { kind: sql, input: all, query: \"SELECT id, level, 'a, \\\"b\\\"' AS note FROM input WHERE id % 2 = 1 AND id <= ${MOST:-100}\" }
  some: { kind: delta, input: odd, table: \"${LAKE}/some\" }
";

struct Small {
    folder: Folder,
    spec: String,
}

impl Small {
    fn new(name: &str) -> Self {
        let folder = Folder::new(name);
        let spec = folder.write("small.yaml", SMALL).display().to_string();
        Self { folder, spec }
    }

    fn run(self) -> Self {
        alluvium(&["run", &self.spec]).env("LAKE", &self.folder.text("lake")).ok();
        self
    }

    fn query(&self, arguments: &[&str]) -> crate::support::Done {
        let all: Vec<&str> = ["query", &self.spec].iter().chain(arguments).copied().collect();
        alluvium(&all).env("LAKE", &self.folder.text("lake")).run()
    }
}

#[test]
fn cli_check_accepts_every_shipped_spec() {
    // One reads what another one must have written; see `quality.rs`.
    for spec in shipped().iter().filter(|spec| !spec.ends_with("/quality.yaml")) {
        let out = alluvium(&["check", spec]).ok();
        assert!(out.contains(": ok, "), "{out}");
    }
    let out = alluvium(&["check", "pipelines/tweets.yaml"]).ok();
    assert_eq!(without_hash(&out), "tweets: ok, 10 stages, 5 tables (plan …)\n");
}

#[test]
fn cli_explain_shows_the_plan() {
    let out = alluvium(&["explain", "pipelines/tweets.yaml"]).ok();
    assert_golden("tests/golden/explain-tweets.txt", &without_hash(&out));
}

#[test]
fn cli_graph_draws_the_plan() {
    for (format, file) in [("mermaid", "graph-tweets.mmd"), ("dot", "graph-tweets.dot")] {
        let out = alluvium(&["graph", "pipelines/tweets.yaml", "--format", format]).ok();
        assert_golden(&format!("tests/golden/{file}"), &out);
    }
    let plain = alluvium(&["graph", "pipelines/tweets.yaml"]).ok();
    assert!(plain.starts_with("flowchart LR\n"), "Mermaid is the default: {plain}");
}

/// The kinds, as `stages` lists them.
fn kinds() -> Vec<(String, String, String)> {
    let list = alluvium(&["stages"]).ok();
    let (table, hint) = list.split_once("\n\n").unwrap();
    assert!(hint.contains("alluvium stages KIND"), "{hint}");
    let word = |line: &str, at: usize| line.split_whitespace().nth(at).unwrap().to_owned();
    let rest = |line: &str| line.split_whitespace().skip(2).collect::<Vec<_>>().join(" ");
    table.lines().map(|line| (word(line, 0), word(line, 1), rest(line))).collect()
}

#[test]
fn cli_stages_lists_every_kind() {
    let kinds = kinds();
    let names: Vec<&str> = kinds.iter().map(|(name, ..)| name.as_str()).collect();
    for name in ["aggregate", "blackhole", "classify", "delta", "files", "generate", "print", "sql"] {
        assert!(names.contains(&name), "{name} is missing: {names:?}");
    }
    for (name, role, text) in &kinds {
        assert!(["source", "transform", "operator", "sink"].contains(&role.as_str()), "{name}: {role}");
        assert!(text.len() > 20 && text.ends_with('.'), "{name}: not a sentence: {text}");
    }
}

#[test]
fn cli_stages_describes_every_kind_and_field() {
    for (name, role, sentence) in kinds() {
        let text = alluvium(&["stages", &name]).ok();
        assert!(text.contains(&format!("# {name} ({role})\n\n")), "{text}");
        let start = sentence.trim_end_matches('.');
        assert!(text.replace('\n', " ").contains(start), "{name}: {text}");
        // `- name (type, required): text`, at any depth.
        let fields: Vec<&str> = text.lines().filter(|l| l.trim_start().starts_with("- `")).collect();
        for field in &fields {
            let said = field.rsplit_once(": ").map(|(_, t)| t.trim()).unwrap_or_default();
            assert!(!said.is_empty(), "{name}: not described: {field}");
            assert!(!field.contains("(any"), "{name}: of no type: {field}");
        }
        if name != "blackhole" {
            assert!(!fields.is_empty(), "{name} has no fields: {text}");
        }
        assert!(text.contains("```yaml\n"), "{name} has no example");
    }
    let unknown = alluvium(&["stages", "fils"]).run();
    assert_eq!(unknown.code, Some(2));
    assert!(
        unknown.err.contains("unknown kind `fils`") && unknown.err.contains("did you mean `files`?"),
        "{}",
        unknown.err
    );
}

/// The examples of the reference are specs like any other: each stage is checked against the schema of specs.
#[test]
fn cli_stages_examples_are_right() {
    let folder = Folder::new("examples");
    let mut specs = Vec::new();
    for (name, ..) in kinds() {
        let text = alluvium(&["stages", &name]).ok();
        let example = text.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
        let stages: String = example.lines().map(|l| format!("  {l}\n")).collect();
        let spec = format!("pipeline: example\nstate: lake/state\nstages:\n{stages}");
        specs.push(folder.write(&format!("{name}.yaml"), &spec).display().to_string());
    }
    let wrong = schema_errors(&folder, &specs);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What an editor would underline: path and message of each error, by an independent validator.
fn schema_errors(folder: &Folder, specs: &[String]) -> Vec<Value> {
    let schema = folder.write("schema.json", &alluvium(&["schema"]).ok()).display().to_string();
    let mut arguments = vec!["tests/support/validate.py", &schema];
    arguments.extend(specs.iter().map(String::as_str));
    serde_json::from_slice(&python(&arguments)).unwrap()
}

#[test]
fn cli_schema_fits_the_shipped_specs() {
    let folder = Folder::new("schema");
    let wrong = schema_errors(&folder, &shipped());
    assert!(wrong.is_empty(), "{wrong:#?}");
    // Numbers and choices may be variables.
    let variables = "\
pipeline: ${NAME:-small}
state: lake/state
epoch: { bytes: \"${BYTES:-1MB}\", splits: \"${SPLITS}\" }
stages:
  numbers: { kind: generate, rows: \"${ROWS:-10}\", columns: { id: { sequence: \"${FIRST}\" } } }
  none: { kind: blackhole, input: [numbers], description: nothing }
  out: { kind: delta, input: numbers, table: lake/out, mode: \"${MODE:-append}\" }
";
    let path = folder.write("variables.yaml", variables).display().to_string();
    let wrong = schema_errors(&folder, &[path]);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn cli_schema_finds_what_check_finds() {
    let folder = Folder::new("schema-bad");
    for (name, key, word) in [
        ("unknown-outer-key", json!([]), "descripton"),
        ("unknown-stage-key", json!(["stages", "out"]), "row"),
        ("unknown-kind", json!(["stages", "numbers", "kind"]), "generat"),
        ("missing-input", json!(["stages", "out"]), "input"),
        ("missing-kind", json!(["stages", "numbers"]), "kind"),
        ("missing-required-key", json!(["stages", "tweets"]), "url"),
        ("unknown-choice", json!(["stages", "tweets", "format"]), "jsn"),
        ("text-for-number", json!(["stages", "numbers", "rows"]), "many"),
        ("bad-size", json!(["epoch", "bytes"]), "64 cows"),
    ] {
        let wrong = schema_errors(&folder, &[format!("tests/specs/bad/{name}.yaml")]);
        let found = wrong.iter().any(|e| e["path"] == key && e["message"].as_str().unwrap().contains(word));
        assert!(found, "{name}: {word} at {key} is not among {wrong:#?}");
    }
}

#[test]
fn cli_query_shows_rows_in_three_formats() {
    let small = Small::new("query").run();
    let sql = "select id, note from some where id < 4 order by id";
    let table = small.query(&[sql]);
    assert_eq!(table.code, Some(0), "{}", table.err);
    assert_eq!(
        table.out,
        "+----+--------+\n| id | note   |\n+----+--------+\n| 1  | a, \"b\" |\n| 3  | a, \"b\" |\n+----+--------+\n2 rows\n"
    );
    assert_eq!(small.query(&[sql, "--format", "csv"]).out, "id,note\n1,\"a, \"\"b\"\"\"\n3,\"a, \"\"b\"\"\"\n");
    assert_eq!(
        small.query(&[sql, "--format", "json"]).out,
        "{\"id\":1,\"note\":\"a, \\\"b\\\"\"}\n{\"id\":3,\"note\":\"a, \\\"b\\\"\"}\n"
    );
    let joined = small.query(&["select count(*) as n from \"all\" join some using (id)", "--format", "csv"]);
    assert_eq!(joined.out, "n\n50\n");
    let none = small.query(&["select id from some where id < 0"]);
    assert!(none.out.ends_with("0 rows\n") && none.out.contains("id"), "{}", none.out);
    assert_eq!(small.query(&["select id from some where id < 0", "--format", "csv"]).out, "id\n");
    assert_eq!(small.query(&["select id from some where id < 0", "--format", "json"]).out, "");
}

#[test]
fn cli_query_says_what_is_wrong() {
    let small = Small::new("query-wrong");
    let early = small.query(&["select * from some"]);
    assert_eq!(early.code, Some(1));
    assert!(early.err.contains("not written yet: `all`, `some`; `alluvium run` writes them"), "{}", early.err);
    assert!(!small.folder.path("lake").exists(), "a query makes no tables");
    let small = small.run();
    let column = small.query(&["select idd from some"]);
    assert_eq!((column.code, column.out.as_str()), (Some(1), ""));
    assert!(column.err.starts_with("error: No field named idd. Did you mean 'some.id'?"), "{}", column.err);
    assert!(column.err.contains("some.id, some.level, some.note"), "{}", column.err);
    let table = small.query(&["select id from sum"]);
    assert_eq!(table.code, Some(1));
    assert_eq!(table.err, "error: table 'sum' not found\n");
    let syntax = small.query(&["selct 1"]);
    assert_eq!(syntax.code, Some(1));
    assert!(syntax.err.starts_with("error: not valid SQL: "), "{}", syntax.err);
    let bad = alluvium(&["query", "tests/specs/bad/unknown-kind.yaml", "select 1"]).run();
    assert_eq!(bad.code, Some(2));
    assert!(bad.err.contains("unknown kind `generat`"), "{}", bad.err);
}

/// Every command, as the help lists them.
fn commands() -> Vec<String> {
    let help = alluvium(&["--help"]).ok();
    let list = help.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    list.lines().filter_map(|l| l.split_whitespace().next()).map(Into::into).collect()
}

#[test]
fn cli_help_of_every_command() {
    let help = alluvium(&["--help"]).ok();
    assert!(help.starts_with("Alluvium: declarative dataflow from a YAML file"), "{help}");
    let names: BTreeSet<String> = commands().into_iter().collect();
    for name in ["run", "check", "explain", "graph", "stages", "schema", "query"] {
        assert!(names.contains(name), "{name} is missing: {names:?}");
    }
    for name in names.iter().filter(|n| *n != "help") {
        let done = alluvium(&[name, "--help"]).run();
        assert_eq!((done.code, done.err.as_str()), (Some(0), ""), "{name}");
        assert!(done.out.contains("Usage: "), "{name}: {}", done.out);
        // `  <ARG>  text`: nothing may be left without words.
        let lines: Vec<&str> = done.out.lines().collect();
        for (at, line) in lines.iter().enumerate().filter(|(_, l)| l.trim_start().starts_with(['<', '[', '-'])) {
            let beside = line.trim().contains("  ");
            let below = lines.get(at + 1).is_some_and(|l| l.starts_with("          ") && !l.trim().is_empty());
            assert!(
                beside || below || ["- ", "[default", "[env: "].iter().any(|s| line.trim().starts_with(s)),
                "{name}: no words for {line}"
            );
        }
    }
    assert!(alluvium(&["--version"]).ok().starts_with("alluvium 0."));
}

#[test]
fn cli_wrong_use_ends_with_2() {
    for arguments in [
        &["chek", "pipelines/tweets.yaml"][..],
        &["check"],
        &["check", "pipelines/tweets.yaml", "--sett", "A=b"],
        &["check", "pipelines/tweets.yaml", "--set", "LAKE"],
        &["graph", "pipelines/tweets.yaml", "--format", "png"],
        &["run", "pipelines/tweets.yaml", "--workers", "0"],
        &["run", "no/such/spec.yaml"],
        &[],
    ] {
        let done = alluvium(arguments).run();
        assert_eq!(done.code, Some(2), "{arguments:?}: {}", done.err);
        assert_eq!(done.out, "", "{arguments:?}");
        assert!(!done.err.is_empty(), "{arguments:?}");
    }
    assert!(alluvium(&["chek"]).run().err.contains("'check'"), "a similar command is named");
}

#[test]
fn cli_set_wins_over_the_environment() {
    let explain = |set: &[&str]| {
        let mut arguments = vec!["explain", "pipelines/tweets.yaml"];
        arguments.extend(set);
        alluvium(&arguments).env("LAKE", "/from/environment").ok()
    };
    assert!(explain(&[]).contains("/from/environment/bronze"));
    let set = explain(&["--set", "LAKE=/from/set"]);
    assert!(set.contains("/from/set/bronze") && !set.contains("/from/environment"), "{set}");
    // The last one counts, and a value may hold `=`.
    let twice = explain(&["--set", "LAKE=/first", "--set", "LAKE=/a=b"]);
    assert!(twice.contains("/a=b/bronze"), "{twice}");
    // An empty value leaves the default, as in a shell.
    assert!(explain(&["--set", "LAKE="]).contains("./lake/bronze"));
}

#[test]
fn cli_plan_hash_follows_the_plan() {
    let small = Small::new("hash");
    let spec = small.spec.as_str();
    let lake = format!("LAKE={}", small.folder.text("lake"));
    let first = hash(spec, &[&lake]);
    for _ in 0..3 {
        assert_eq!(hash(spec, &[&lake]), first, "the same spec gives the same hash");
    }
    let change = |from: &str, to: &str| {
        let changed = SMALL.replace(from, to);
        assert_ne!(changed, SMALL, "{from} is not in the spec");
        hash(&small.folder.write("changed.yaml", &changed).display().to_string(), &[&lake])
    };
    assert_ne!(hash(spec, &[&lake, "MOST=50"]), first, "the query differs");
    assert_ne!(change("id % 2 = 1", "id % 2 = 0"), first);
    assert_ne!(change("rows: 100", "rows: 101"), first);
    assert_ne!(change("all: { kind: delta, input: numbers", "all: { kind: delta, input: [numbers, numbers]"), first);
    assert_ne!(change("pipeline: small", "pipeline: smaller"), first);
    assert_ne!(change("${LAKE}/some", "${LAKE}/others"), first);
    // What a stage is for, and where it stands in the file, decides nothing.
    assert_eq!(change("kind: generate\n", "kind: generate\n    description: counts\n"), first);
    assert_eq!(change("stages:\n", "# a remark\nstages:\n"), first);
}

#[test]
fn cli_output_to_a_closed_pipe_is_no_error() {
    use std::io::Read;
    use std::process::Stdio;
    let mut child = alluvium(&["schema"]).command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!(err, "");
}
