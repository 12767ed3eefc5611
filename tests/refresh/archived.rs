//! Epochs whose bindings are in the archive.

use super::{Case, TABLES};
use crate::support::python;

#[test]
fn archived_epochs_are_replayed() {
    let case = Case::new("archive", 0..70);
    case.call("run", &[]).ok();
    assert!(case.folder.path("lake/_state/ledger/segments").exists());
    let (before, commits) = (case.told(), case.all_commits());
    let ledger = case.call("ledger", &["--format", "csv"]).ok();
    case.call("refresh", &["--stage", "words", "--yes"]).killed_at("refresh-bindings@0");
    case.call("refresh", &["--stage", "words", "--yes"]).ok();
    assert_eq!(case.told(), before);
    case.assert_kept(&["first", "second", "fourth", "bad"], &commits);
    assert_eq!(sorted(&case.call("ledger", &["--format", "csv"]).ok()), sorted(&ledger));
    let bindings = std::fs::read_dir(case.folder.path("lake/_state/bindings")).unwrap().count();
    assert!(bindings < 70, "{bindings}: archived again as they are completed");
}

fn sorted(csv: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = csv.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn an_archive_of_an_older_version_cannot_be_replayed() {
    let case = Case::new("older", 0..66);
    case.call("run", &[]).ok();
    // Without the column that older versions did not write.
    let code = "import sys, pyarrow.parquet as parquet\n\
                for path in sys.argv[1:]:\n\
                \x20   parquet.write_table(parquet.read_table(path).drop_columns(['bound']), path)";
    let segments = case.folder.path("lake/_state/ledger/segments");
    let paths: Vec<String> =
        std::fs::read_dir(segments).unwrap().map(|e| e.unwrap().path().display().to_string()).collect();
    assert!(!paths.is_empty());
    python(&["-c", code].into_iter().chain(paths.iter().map(String::as_str)).collect::<Vec<_>>());
    let before = case.all_commits();
    let done = case.call("refresh", &["--yes"]).run();
    assert_eq!(done.code, Some(1));
    assert!(done.err.contains("archived by an older version of alluvium"), "{}", done.err);
    assert!(done.err.contains("`alluvium refresh SPEC --full`"), "{}", done.err);
    case.assert_kept(&TABLES, &before);
    // It is still read, and merged with what comes.
    case.put(66..130);
    case.call("run", &[]).ok();
    assert_eq!(case.call("ledger", &["--format", "csv"]).ok().lines().count(), 131);
    assert_eq!(case.told()["first"].len(), 130);
    case.call("refresh", &["--full", "--yes"]).ok();
    assert_eq!(case.told()["first"].len(), 130);
}
