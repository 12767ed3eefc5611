//! `kind: drift`, against the same computed anew with numpy and scipy after every epoch.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::support::{Bucket, Call, Folder, alluvium, python, read, write_table};

/// What is compared, as the script knows it.
const COLUMNS: &str =
    "{ label: label, score: score, good: good, length: character_length(text), word: text, constant: 2 + 3 }";

/// Rows that come, all and by day; and the newest row of each key, so that rows go.
fn spec(baseline: &str) -> String {
    format!(
        r#"
pipeline: drift
state: ${{LAKE}}/_state
epoch: {{ splits: 1 }}
stages:
  lines:
    kind: files
    url: ${{IN}}
    format: json
    schema: {{ k: bigint, n: bigint, label: string, score: double, good: boolean, text: string, at: timestamp }}
  read:
    kind: sql
    input: lines
    query: >
      SELECT k, n, label, good, text, at, CASE WHEN n % 17 = 0 THEN CAST('NaN' AS DOUBLE) ELSE score END AS score FROM input
  rows: {{ kind: delta, input: read, table: "${{LAKE}}/rows" }}
  last: {{ kind: dedup, input: rows, by: [k], keep: last }}
  now:  {{ kind: delta, input: last, table: "${{LAKE}}/now", mode: upsert }}
  all:  {{ kind: drift, input: rows, columns: {COLUMNS}, baseline: {baseline} }}
  days: {{ kind: drift, input: rows, columns: {COLUMNS}, baseline: {baseline}, window: {{ time: at, tumbling: 1d }} }}
  gone: {{ kind: drift, input: last, columns: {COLUMNS}, baseline: {baseline} }}
  late:
    kind: drift
    input: rows
    columns: {{ label: label }}
    baseline: {baseline}
    window: {{ time: at, tumbling: 1h, lateness: 36h, on_late: quarantine }}
  late_table: {{ kind: delta, input: late, table: "${{LAKE}}/late", mode: upsert }}
  too_late:   {{ kind: delta, input: late.rejects, table: "${{LAKE}}/too_late" }}
  all_table:  {{ kind: delta, input: all, table: "${{LAKE}}/all", mode: upsert }}
  days_table: {{ kind: delta, input: days, table: "${{LAKE}}/days", mode: upsert }}
  gone_table: {{ kind: delta, input: gone, table: "${{LAKE}}/gone", mode: upsert }}
"#
    )
}

/// Later rows are others: longer, less sure, with a label that was not there.
fn row(n: i64, later: bool, random: &mut ChaCha8Rng) -> Value {
    let label = match random.random_range(0..10) {
        0 => Value::Null,
        n if later => json!(["new", "it's", "neg"][n % 3]),
        n => json!(["pos", "it's", "neg"][n % 3]),
    };
    let score = random.random_bool(0.95).then(|| f64::from(random.random_range(0..if later { 60 } else { 100 })) / 8.0);
    let words = if later { 60 } else { 40 };
    let text = random
        .random_bool(0.9)
        .then(|| format!("w{}{}", "o".repeat(random.random_range(0..5)), random.random_range(0..words)));
    json!({
        "k": random.random_range(0..50), "n": n, "label": label, "score": score, "text": text,
        "good": random.random_bool(0.9).then(|| random.random_bool(if later { 0.2 } else { 0.8 })),
        "at": format!("2024-03-0{}T1{}:00:00Z", 1 + random.random_range(0..3), n % 10),
    })
}

fn schema() -> Value {
    json!({ "k": "int64", "n": "int64", "label": "string", "score": "double", "text": "string", "good": "bool", "at": "string" })
}

/// Rows as another program writes them.
fn append(rows: std::ops::Range<i64>, later: bool, random: &mut ChaCha8Rng) -> Value {
    let rows: Vec<Value> = rows.map(|n| row(n % 20, later, random)).collect();
    json!({ "append": rows, "schema": schema() })
}

fn compare(baseline: &str, version: u64, lake: &str, tables: [&str; 2], more: &[&str]) -> u64 {
    let [rows, drift] = tables.map(|name| format!("{lake}/{name}"));
    let version = version.to_string();
    let arguments = ["tests/support/drift.py", baseline, &version, &rows, &drift];
    serde_json::from_slice(&python(&[arguments.as_slice(), more].concat())).unwrap()
}

struct Case {
    folder: Folder,
    spec: String,
    baseline: String,
    random: ChaCha8Rng,
}

impl Case {
    fn new(name: &str, more: &str) -> Self {
        let folder = Folder::new(name);
        let baseline = folder.text("baseline");
        let spec =
            folder.write("spec.yaml", &spec(&format!("{{ table: \"{baseline}\", {more} }}"))).display().to_string();
        Self { folder, spec, baseline, random: ChaCha8Rng::seed_from_u64(9) }
    }

    fn lines(&mut self, file: i64, later: bool) {
        let lines: Vec<String> =
            (0..80).map(|n| format!("{}\n", row(file * 80 + n, later, &mut self.random))).collect();
        self.folder.write(&format!("in/{file}.json"), &lines.concat());
    }

    fn write(&mut self, rows: std::ops::Range<i64>, later: bool) {
        let step = append(rows, later, &mut self.random);
        write_table(&self.baseline, &json!([step]));
    }

    fn call(&self, arguments: &[&str]) -> Call {
        alluvium(arguments).env("IN", &self.folder.text("in")).env("LAKE", &self.folder.text("lake"))
    }

    fn run(&self, workers: usize) -> Call {
        self.call(&["run", &self.spec, "--workers", &workers.to_string()])
    }

    fn epochs(&self, baseline: &str, version: u64) -> u64 {
        let lake = self.folder.text("lake");
        let all = compare(baseline, version, &lake, ["rows", "all"], &[]);
        assert_eq!(compare(baseline, version, &lake, ["rows", "days"], &["days"]), all);
        assert_eq!(compare(baseline, version, &lake, ["now", "gone"], &[]), all);
        all
    }
}

#[test]
fn distances_are_as_recomputed_while_the_baseline_s_table_moves_on() {
    let mut case = Case::new("drift", "where: n <> 13");
    let steps = json!([append(0..400, false, &mut case.random), append(400..500, false, &mut case.random)]);
    let then = case.folder.text("then");
    write_table(&case.baseline, &steps);
    write_table(&then, &steps);
    case.lines(0, false);
    case.lines(1, false);
    case.run(1).killed_at("after-staging@2");
    // What was recorded holds, whatever is written since; also with other workers and after a kill.
    case.write(0..900, true);
    case.lines(2, true);
    case.run(3).ok();
    write_table(&case.baseline, &json!([{ "delete": null }, { "vacuum": true }]));
    case.lines(3, true);
    case.run(2).killed_at("after-commit:all_table@4");
    case.lines(4, true);
    case.run(2).ok();
    assert_eq!(case.epochs(&then, 1), 5);
}

#[test]
fn distances_to_an_older_version() {
    let mut case = Case::new("drift-version", "version: 1, where: n <> 13");
    case.write(0..400, false);
    case.write(400..500, false);
    case.write(0..900, true);
    for file in 0..5 {
        case.lines(file, file > 2);
    }
    case.run(1).killed_at("after-staging@2");
    case.run(3).killed_at("after-commit:all_table@4");
    case.run(2).ok();
    assert_eq!(case.epochs(&case.baseline, 1), 5);
    assert!(case.folder.path("lake/_state/resolved/all/00000000000000000001.json").exists());

    // Windows that are closed keep what they were compared to; what comes later for them is told.
    let lake = case.folder.text("lake");
    let taken = read(&format!("{lake}/late")).select(&["rows"]);
    let taken: usize = taken.iter().map(|row| row[0].as_u64().unwrap() as usize).sum();
    let late = read(&format!("{lake}/too_late")).rows.len();
    assert!(late > 0);
    assert_eq!(taken + late, read(&format!("{lake}/rows")).rows.len());

    // Another baseline is another stage: the state does not fit, and that is told beforehand. What was, is found again.
    let before = std::fs::read_to_string(&case.spec).unwrap();
    case.folder.write("spec.yaml", &before.replace("version: 1", "version: 2"));
    let state = case.folder.text("lake/_state");
    let against = case.call(&["explain", &case.spec, "--against", &state]).ok();
    for line in ["  all         rebuild: changed", "  last        keeps its state"] {
        assert!(against.contains(line), "{against}");
    }
    let refused = case.run(1).run();
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("the old state does not fit"), "{}", refused.err);
    case.folder.write("spec.yaml", &before);
    case.lines(5, true);
    case.run(2).ok();
    assert_eq!(case.epochs(&case.baseline, 1), 6);
}

#[test]
fn a_baseline_in_a_bucket() {
    let bucket = Bucket::new("drift");
    let baseline = bucket.url("baseline");
    let folder = Folder::new("drift-bucket");
    let spec =
        folder.write("spec.yaml", &spec(&format!("{{ table: \"{baseline}\", where: n <> 13 }}"))).display().to_string();
    let mut random = ChaCha8Rng::seed_from_u64(1);
    write_table(&baseline, &json!([append(0..200, false, &mut random)]));
    let lines: Vec<String> = (0..100).map(|n| format!("{}\n", row(n, true, &mut random))).collect();
    folder.write("in/0.json", &lines.concat());
    let lake = bucket.url("lake");
    alluvium(&["run", &spec]).env("IN", &folder.text("in")).env("LAKE", &lake).s3(&bucket.endpoint).ok();
    assert_eq!(compare(&baseline, 0, &lake, ["rows", "all"], &[]), 1);
}

#[test]
fn what_is_wrong_with_a_baseline_is_told_with_its_place() {
    let check = |name: &str, steps: Value, baseline: &str, told: &[&str]| {
        let mut case = Case::new(name, baseline);
        if steps.is_array() {
            write_table(&case.baseline, &steps);
        }
        case.lines(0, false);
        let done = case.call(&["check", &case.spec]).run();
        assert_eq!(done.code, Some(2), "{name}: {}{}", done.err, done.out);
        for told in told.iter().chain(&["spec.yaml:", "help: "]) {
            assert!(done.err.contains(told), "{name}: no `{told}` in\n{}", done.err);
        }
    };
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let good = append(0..20, false, &mut random);
    check("missing", Value::Null, "", &["there is no table at", "no table"]);
    check("version", json!([good]), "version: 7", &["the table has no version 7: the newest is 0", "not there"]);
    check("none", json!([good]), "where: n > 1000", &["the baseline has no rows in version 0", "no rows"]);
    check("where", json!([good]), "where: nn > 1", &["in the baseline: there is no column `nn`", "did you mean `n`?"]);
    check("condition", json!([good]), "where: n + 1", &["in the baseline: a condition is true or false"]);
    let less = json!([{ "append": [{ "n": 1, "score": "x" }], "schema": { "n": "int64", "score": "string" } }]);
    check(
        "columns",
        less,
        "",
        &["in the baseline: there is no column `label`", "in the baseline: there is no column `text`"],
    );
    let other = json!([{ "append": [{ "n": 1, "label": 5, "score": "x", "good": true, "text": "a" }],
        "schema": { "n": "int64", "label": "int64", "score": "string", "good": "bool", "text": "string" } }]);
    let told = [
        "`label` is string here, and the baseline has numbers",
        "`score` is double here, and the baseline has categories",
    ];
    check("types", other, "", &told);
    let log = json!([{ "append": [{ "n": 1, "_diff": 1 }], "schema": { "n": "int64", "_diff": "int64" } }]);
    check("log", log, "", &["the table has a column `_diff`: it is a log of changes"]);
}
