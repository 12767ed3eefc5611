//! `doctor`, and the refusal to write where two writers would not notice each other.

use std::time::{Duration, Instant};

use crate::s3::Case;
use crate::support::{Act, Done, Folder, Proxy, alluvium, python, read};

fn fails(out: &str) -> Vec<&str> {
    out.lines().filter(|line| line.starts_with("FAIL")).collect()
}

#[test]
fn all_is_well_and_nothing_is_left_behind() {
    let case = Case::new("doctor", 1);
    let before = case.bucket.list("");
    let done = case.call(&["doctor"], &case.bucket.endpoint).run();
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
    for line in ["spec", "state", "lease", "numbers objects", "first table", "second table"] {
        assert!(done.out.lines().any(|l| l.starts_with("ok    ") && l.contains(line)), "{line}: {}", done.out);
    }
    assert!(done.out.ends_with("cloud: a run would find what it needs\n"), "{}", done.out);
    assert_eq!(case.bucket.list(""), before);
    assert_eq!(case.run().code, Some(0));
    let out = case.call(&["doctor"], &case.bucket.endpoint).ok();
    assert!(out.contains("version 1, protocol reader 1, writer"), "{out}");
    assert!(out.contains("no instance of the pipeline is running"), "{out}");
}

#[test]
fn what_is_wrong_is_told_with_what_to_do() {
    let case = Case::new("doctor-wrong", 1);
    let wrong_key = case.call(&["doctor"], &case.bucket.endpoint).env("AWS_SECRET_ACCESS_KEY", "not-the-key").run();
    assert_eq!(wrong_key.code, Some(1));
    assert_eq!(fails(&wrong_key.out).len(), 4, "{}", wrong_key.out);
    assert!(wrong_key.out.contains("SignatureDoesNotMatch"), "{}", wrong_key.out);
    assert!(wrong_key.out.contains("check credentials and rights"), "{}", wrong_key.out);
    assert!(wrong_key.out.ends_with("4 things are wrong\n"), "{}", wrong_key.out);

    let nobody = case.call(&["doctor"], "http://127.0.0.1:9").run();
    assert_eq!(fails(&nobody.out).len(), 4, "{}", nobody.out);

    // The one right that is missing is named.
    for (method, part, act, word) in [
        ("GET", "_alluvium-probe", Act::Answer(403), "cannot read objects: Made403"),
        ("POST", "?delete", Act::Answer(403), "cannot be deleted: Made403"),
        ("GET", "_alluvium-probe", Act::Dated("Mon, 06 Apr 2009 22:19:45 GMT"), "set this machine's clock"),
    ] {
        let proxy = Proxy::start(&case.bucket.endpoint);
        proxy.rule(method, part, act, 1);
        let done = case.call(&["doctor"], &proxy.url()).run();
        let [line] = fails(&done.out)[..] else { panic!("{}", done.out) };
        assert!(line.contains("state") && line.contains(word), "{line}");
        assert!(done.out.ends_with("1 thing is wrong\n"), "{}", done.out);
    }
}

#[test]
fn a_bucket_that_is_not_there_and_a_right_to_list_that_is_missing() {
    let case = Case::new("doctor-bucket", 1);
    // The server of the tests makes buckets when they are written.
    let proxy = Proxy::start(&case.bucket.endpoint);
    proxy.rule("PUT", "_alluvium-probe", Act::Answer(404), usize::MAX);
    let done = case.call(&["doctor"], &proxy.url()).run();
    assert_eq!(fails(&done.out).len(), 3, "{}", done.out);
    for line in fails(&done.out) {
        assert!(
            line.ends_with("cannot write objects: Made404, made by the test; create the bucket, or correct the URL"),
            "{line}"
        );
    }

    let proxy = Proxy::start(&case.bucket.endpoint);
    proxy.rule("GET", "start-after", Act::Answer(403), 1);
    let done = case.call(&["doctor"], &proxy.url()).run();
    let [line] = fails(&done.out)[..] else { panic!("{}", done.out) };
    assert!(line.contains("state") && line.contains("cannot list objects: Made403"), "{line}");
    assert!(line.ends_with("check credentials and rights"), "{line}");
}

/// What a stage must know beforehand and cannot find out is one of the things that are wrong, not the end.
#[test]
fn what_cannot_be_resolved_is_one_line_among_others() {
    let folder = Folder::new("doctor-unresolved");
    std::fs::create_dir(folder.path("in")).unwrap();
    let spec = |source: &str| {
        let spec = format!(
            "pipeline: p\nstate: ${{LAKE}}/_state\nstages:\n  \
             rows: {{ kind: files, url: \"${{IN}}\", format: json, {source} }}\n  \
             moods: {{ kind: classify, input: rows, text: text, model: \"${{MODEL:-builtin}}\" }}\n  \
             table: {{ kind: delta, input: moods, table: \"${{LAKE}}/table\" }}\n"
        );
        folder.write("spec.yaml", &spec).display().to_string()
    };
    let doctor = |spec: &str| {
        let call = alluvium(&["doctor", spec]).env("IN", &folder.text("in")).env("LAKE", &folder.text("lake"));
        call.env("ALLUVIUM_CACHE", &folder.text("cache"))
    };
    let told = |done: &Done, fail: &[&str], well: &[&str]| {
        assert_eq!(done.code, Some(1), "{}{}", done.out, done.err);
        let [line] = fails(&done.out)[..] else { panic!("{}", done.out) };
        assert!(fail.iter().all(|part| line.contains(part)), "{line}");
        for line in well {
            assert!(done.out.lines().any(|l| l.starts_with("ok    ") && l.contains(line)), "{line}: {}", done.out);
        }
    };
    // Nothing to infer from.
    let done = doctor(&spec("schema: infer")).run();
    told(&done, &["rows", "there is no object with a row", "put objects at `url:` first"], &["state", "table table"]);
    // No model.
    let done = doctor(&spec("schema: { text: string }")).env("MODEL", &folder.text("nowhere")).run();
    told(&done, &["moods", "nowhere"], &["state", "rows objects", "table table"]);
    // A spec that is wrong in itself.
    let done = doctor(&spec("schema: infer, on_bad_row: whatever")).run();
    assert_eq!(done.code, Some(2), "{}", done.out);
    assert!(done.err.contains("whatever") && done.out.is_empty(), "{}{}", done.out, done.err);
    // Nobody is there.
    let begun = Instant::now();
    let nobody = doctor(&spec("schema: infer"))
        .s3("http://127.0.0.1:9")
        .env("IN", "s3://alluvium/in")
        .env("LAKE", "s3://alluvium/lake");
    let done = nobody.run();
    assert_eq!(done.code, Some(1), "{}{}", done.out, done.err);
    let lines = fails(&done.out);
    for (line, what) in lines.iter().zip(["rows", "state", "table table"]) {
        assert!(line.contains(what), "{line}");
    }
    assert_eq!(lines.len(), 3, "{}", done.out);
    let done =
        doctor(&spec("schema: { text: string }")).s3("http://127.0.0.1:9").env("MODEL", "s3://alluvium/model").run();
    told(&done, &["moods", "s3://alluvium/model"], &["state", "rows objects", "table table"]);
    assert!(begun.elapsed() < Duration::from_secs(100), "it was waited as long as a run waits");
}

#[test]
fn where_a_run_would_be_shown() {
    let folder = Folder::new("doctor-http");
    let spec = "pipeline: p\nstate: ${LAKE}/_state\nstages:\n  rows: { kind: generate, rows: 1, columns: { id: { sequence: 1 } } }\n  table: { kind: delta, input: rows, table: \"${LAKE}/table\" }\n";
    let spec = folder.write("spec.yaml", spec).display().to_string();
    let doctor = |arguments: &[&str]| {
        let all: Vec<&str> = ["doctor", &spec].iter().chain(arguments).copied().collect();
        alluvium(&all).env("LAKE", &folder.text("lake")).run()
    };
    let done = doctor(&["--http", "127.0.0.1:0"]);
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
    assert!(done.out.contains("ok    http") && done.out.contains("http://127.0.0.1:"), "{}", done.out);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    let short = folder.write("short", "xyzzy").display().to_string();
    let no_file = folder.text("nowhere");
    for (arguments, says) in [
        (vec!["--http", &taken], "in use"),
        (vec!["--http", "0.0.0.0:0"], "give a token"),
        (vec!["--http", "127.0.0.1:0", "--http-token-file", &no_file], "No such file"),
        (vec!["--http", "127.0.0.1:0", "--http-token-file", &short], "could be guessed"),
        (vec!["--http", "127.0.0.1:0", "--http-cert", &no_file, "--http-key", &no_file], "nowhere"),
    ] {
        let done = doctor(&arguments);
        assert_eq!(done.code, Some(1), "{arguments:?}: {}{}", done.out, done.err);
        let [line] = fails(&done.out)[..] else { panic!("{}", done.out) };
        assert!(line.contains("http") && line.contains(says), "{line}");
    }
    assert!(!doctor(&[]).out.contains("ok    http"));
}

#[test]
fn a_store_that_overwrites_is_not_written() {
    let case = Case::new("overwriting", 1);
    let proxy = Proxy::start(&case.bucket.endpoint);
    // The refusal of each second creation is turned into consent, as stores without conditional writes answer.
    proxy.rule("PUT", "_alluvium-probe", Act::CarryOutAndAnswer(200), 1000);
    let doctor = case.call(&["doctor"], &proxy.url()).run();
    assert_eq!(doctor.code, Some(1));
    assert!(
        fails(&doctor.out)[0].contains("overwrites an object although it was asked to create a new one"),
        "{}",
        doctor.out
    );
    let run = case.call(&["run"], &proxy.url()).run();
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert!(run.err.contains("use a store with conditional writes"), "{}", run.err);
    assert_eq!(case.bucket.list("lake"), Vec::<String>::new(), "something was written");
}

#[test]
fn a_table_of_a_newer_protocol_is_named() {
    let folder = Folder::new("doctor-protocol");
    let spec = "pipeline: p\nstate: ${LAKE}/_state\nstages:\n  numbers: { kind: files, url: \"${IN}\", format: json, schema: { id: bigint } }\n  table: { kind: delta, input: numbers, table: \"${LAKE}/table\" }\n";
    let spec = folder.write("spec.yaml", spec).display().to_string();
    folder.write("in/a.json", "{\"id\":1}\n");
    let call =
        |command: &str| alluvium(&[command, &spec]).env("IN", &folder.text("in")).env("LAKE", &folder.text("lake"));
    call("run").ok();
    assert_eq!(read(&folder.text("lake/table")).rows.len(), 1);
    let log = folder.text("lake/table/_delta_log");
    python(&[
        "-c",
        "import json, sys\n\
         entry = {'protocol': {'minReaderVersion': 3, 'minWriterVersion': 7, 'readerFeatures': ['fromTheFuture'], 'writerFeatures': ['fromTheFuture']}}\n\
         open(sys.argv[1] + f'/{len(__import__(\"os\").listdir(sys.argv[1])):020d}.json', 'x').write(json.dumps(entry))",
        &log,
    ]);
    let done = call("doctor").run();
    assert_eq!(done.code, Some(1), "{}", done.out);
    let [line] = fails(&done.out)[..] else { panic!("{}", done.out) };
    assert!(line.contains("table table") && done.out.contains("fromTheFuture"), "{}", done.out);
}
