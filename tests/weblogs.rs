//! The second shipped pipeline, against an independent computation of what it must give.

use serde_json::{Value, json};

use crate::files::python;
use crate::support::{Folder, alluvium, history, read, root};

/// All tables as Python's own csv, gzip and datetime modules compute them from a folder of logs.
const EXPECTED: &str = r#"
import collections, csv, datetime as dt, glob, gzip, json, os, sys
log, requests, groups = [], [], collections.defaultdict(list)
for path in sorted(glob.glob(sys.argv[1] + "/*.csv*")):
    with (gzip.open if path.endswith(".gz") else open)(path, "rt", newline="") as file:
        for row in csv.DictReader(file):
            time = dt.datetime.fromisoformat(row["time"]).astimezone(dt.timezone.utc)
            status, size, ms = int(row["status"]), int(row["bytes"]) if row["bytes"] else None, float(row["duration_ms"])
            where, _, query = row["path"].partition("?")
            log.append([time.isoformat(), row["host"], row["method"], row["path"], status, size, ms, row["agent"], "file://" + os.path.abspath(path)])
            kind = f"{status // 100}xx"
            crawler = "Bot/" in row["agent"]
            requests.append([str(time.date()), time.isoformat(), row["host"], row["method"], where, query or None, status, kind, size, ms, row["agent"], crawler])
            groups[row["host"], kind].append((size, ms, time, crawler))
traffic = []
for (host, kind), rows in groups.items():
    sizes = [size for size, _, _, _ in rows if size is not None]
    times = [time for _, _, time, _ in rows]
    mean = sum(ms for _, ms, _, _ in rows) / len(rows)
    traffic.append([host, kind, len(rows), sum(c for *_, c in rows), sum(sizes) if sizes else None, mean,
                    max(ms for _, ms, _, _ in rows), min(times).isoformat(), max(times).isoformat()])
json.dump({"log": log, "requests": requests, "traffic": traffic}, sys.stdout)
"#;

const LOG: [&str; 9] = ["time", "host", "method", "path", "status", "bytes", "duration_ms", "agent", "source_file"];
const REQUESTS: [&str; 12] = [
    "day",
    "time",
    "host",
    "method",
    "path",
    "query",
    "status",
    "status_class",
    "bytes",
    "duration_ms",
    "agent",
    "crawler",
];
const TRAFFIC: [&str; 9] =
    ["host", "status_class", "requests", "crawled", "bytes", "mean_ms", "slowest_ms", "first_at", "last_at"];

/// Sums of floating point numbers depend on their order; everything else is exact.
fn rounded(rows: Vec<Vec<Value>>) -> Vec<Vec<Value>> {
    let round = |mut row: Vec<Value>| {
        row[5] = json!((row[5].as_f64().unwrap() * 1e6).round());
        row
    };
    sorted(rows.into_iter().map(round).collect())
}

fn sorted(mut rows: Vec<Vec<Value>>) -> Vec<Vec<Value>> {
    rows.sort_by_key(|row| serde_json::to_string(row).unwrap());
    rows
}

#[track_caller]
fn assert_tables(logs: &str, lake: &str) {
    let expected: Value = serde_json::from_str(&python(EXPECTED, &[logs])).unwrap();
    let rows = |name: &str| serde_json::from_value::<Vec<Vec<Value>>>(expected[name].clone()).unwrap();
    let table = |name: &str| read(&format!("{lake}/weblogs/{name}"));
    assert!(rows("log").len() > 3_000 && rows("traffic").len() > 10);
    assert!(table("log").select(&LOG) == sorted(rows("log")), "log");
    assert!(table("requests").select(&REQUESTS) == sorted(rows("requests")), "requests");
    assert_eq!(rounded(table("traffic").select(&TRAFFIC)), rounded(rows("traffic")));
}

#[test]
fn the_shipped_pipeline_gives_exactly_its_tables() {
    let folder = Folder::new("weblogs");
    let lake = folder.text("lake");
    let out = alluvium(&["run", "pipelines/weblogs.yaml", "--workers", "2"]).env("LAKE", &lake).ok();
    assert!(out.contains("3,060 rows in 1 epoch"), "{out}");
    assert_tables("pipelines/data/weblogs", &lake);
    assert_eq!(read(&format!("{lake}/weblogs/quarantine")).rows.len(), 0);
    let requests = read(&format!("{lake}/weblogs/requests"));
    assert_eq!((requests.columns["day"].as_str(), requests.columns["status"].as_str()), ("date32[day]", "int32"));
    for day in ["2026-03-02", "2026-03-03", "2026-03-04"] {
        assert!(folder.path(&format!("lake/weblogs/requests/day={day}")).is_dir(), "{day}");
    }
}

#[test]
fn days_that_arrive_later_and_bad_lines() {
    let folder = Folder::new("weblogs-later");
    let (logs, lake) = (folder.text("logs"), folder.text("lake"));
    std::fs::create_dir_all(&logs).unwrap();
    let run = || {
        alluvium(&["run", "pipelines/weblogs.yaml", "--set", &format!("LOGS={logs}"), "--set", &format!("LAKE={lake}")])
            .ok()
    };
    for file in ["access-2026-03-02.csv", "access-2026-03-03.csv", "access-2026-03-04.csv.gz"] {
        std::fs::copy(root().join("pipelines/data/weblogs").join(file), format!("{logs}/{file}")).unwrap();
        run();
    }
    assert_tables(&logs, &lake);
    assert_eq!(history(&format!("{lake}/weblogs/traffic")).iter().filter(|c| c.get("epoch").is_some()).count(), 3);
    let header = "time,host,method,path,status,bytes,duration_ms,agent";
    folder.write(
        "logs/bad.log",
        &format!("{header}\n2026-03-05T00:00:00Z,h,GET,/,OK,,1.0,x\n2026-03-05 noon,h,GET,/,200,,1.0,x\n"),
    );
    run();
    assert_tables(&logs, &lake);
    let bad = read(&format!("{lake}/weblogs/quarantine")).select(&["line", "reason", "epoch", "object"]);
    let object = format!("file://{logs}/bad.log");
    let expected = [
        vec![json!(2), json!("column `status`: `OK` is not a 32-bit whole number"), json!(4), json!(object)],
        vec![json!(3), json!("column `time`: `2026-03-05 noon` is not a timestamp"), json!(4), json!(object)],
    ];
    assert_eq!(bad, expected);
}
