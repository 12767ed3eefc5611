//! Refreshes that are refused, asked about, or killed.

use serde_json::Value;

use super::{Case, TABLES, without_lease};
use crate::support::{python, until};

#[test]
fn nobody_is_there_to_be_asked() {
    let case = Case::new("unasked", 0..2);
    case.call("run", &[]).ok();
    let lake = case.lake();
    let done = case.call("refresh", &["--stage", "second"]).run();
    assert_eq!(done.code, Some(2));
    assert!(done.out.contains("  table second  deleted: version 2, 20 rows  "), "{}", done.out);
    assert!(done.out.contains("  table third   deleted: version 2, 4 rows  "), "{}", done.out);
    assert!(done.err.contains("nothing was changed") && done.err.contains("`--yes`"), "{}", done.err);
    let done = case.call("refresh", &["--stage", "nothing", "--yes"]).run();
    assert_eq!(done.code, Some(2));
    assert!(done.err.contains("there is no stage `nothing`; there are: numbers, first,"), "{}", done.err);
    let done = case.call("refresh", &["--stage", "second", "--full", "--yes"]).run();
    assert_eq!(done.code, Some(2));
    assert!(done.err.contains("--full"), "{}", done.err);
    assert!(lake == case.lake(), "something was changed");
}

#[test]
fn a_terminal_is_asked() {
    let case = Case::new("asked", 0..2);
    case.call("run", &[]).ok();
    let (before, lake) = (case.told(), case.lake());
    let command = case.call("refresh", &["--stage", "words"]).command();
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|w| w.to_str().unwrap().to_owned())
        .collect();
    // Answers on a terminal when it is asked; prints the exit code in the end.
    let code = "import os, pty, sys\n\
                pid, terminal = pty.fork()\n\
                if pid == 0:\n\
                \x20   os.environ.update(IN=sys.argv[1], LAKE=sys.argv[2])\n\
                \x20   os.execv(sys.argv[4], sys.argv[4:])\n\
                seen = b''\n\
                while True:\n\
                \x20   try:\n\
                \x20       part = os.read(terminal, 4096)\n\
                \x20   except OSError:\n\
                \x20       break\n\
                \x20   if not part:\n\
                \x20       break\n\
                \x20   asked = b'go on?' in seen\n\
                \x20   seen += part\n\
                \x20   if b'go on?' in seen and not asked:\n\
                \x20       os.write(terminal, sys.argv[3].encode() + b'\\n')\n\
                print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))";
    let answer = |text: &str| {
        let mut arguments =
            vec!["-c".to_owned(), code.to_owned(), case.folder.text("in"), case.url(""), text.to_owned()];
        arguments.extend(words.clone());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        String::from_utf8(python(&arguments)).unwrap()
    };
    assert_eq!(answer("n"), "130\n");
    assert!(without_lease(case.lake()) == without_lease(lake.clone()), "something was changed");
    assert_eq!(answer("y"), "0\n");
    assert!(without_lease(case.lake()) != without_lease(lake), "nothing was changed");
    assert_eq!(case.told(), before);
}

#[test]
fn a_run_that_watches_is_left_alone() {
    let case = Case::new("watched", 0..2);
    let mut run = case.call("run", &["--watch", "--interval", "50ms"]).start();
    let second = case.folder.path(&format!("lake/_state/complete/{:020}.json", 2));
    until("two epochs are complete", || second.exists());
    for arguments in [&["--yes"][..], &["--full", "--yes"]] {
        let done = case.call("refresh", arguments).run();
        assert_eq!(done.code, Some(1), "{}", done.out);
        let holder = format!("another instance of this pipeline is running: process {} on ", run.id());
        assert!(done.err.contains(&holder), "{}", done.err);
    }
    assert!(run.is_running());
    case.put(2..3);
    let third = case.folder.path(&format!("lake/_state/complete/{:020}.json", 3));
    until("it goes on", || third.exists());
    run.signal("TERM");
    assert_eq!(run.end().code, Some(130));
    assert!(TABLES.iter().all(|table| case.told()[table].len() == 3));
}

#[test]
fn a_table_of_others_is_not_deleted() {
    let case = Case::new("others", 0..2);
    case.call("run", &[]).ok();
    let renamed = super::SPEC.replace("pipeline: again", "pipeline: other").replace("/_state", "/_other");
    std::fs::write(&case.spec, renamed).unwrap();
    let lake = case.lake();
    let done = case.call("refresh", &["--yes"]).run();
    assert_eq!(done.code, Some(1));
    assert!(done.err.contains("holds no epoch of this pipeline"), "{}", done.err);
    let mut now = case.lake();
    now.retain(|path, _| !path.contains("/_other/"));
    assert!(now == lake, "something was changed");
}

/// Where a refresh of everything passes, and one of a stage.
const POINTS: [&str; 8] = [
    "refresh-recorded",
    "refresh-bindings",
    "refresh-archive",
    "refresh-completions",
    "refresh-state",
    "refresh-table:second",
    "refresh-table:third",
    "refresh-cleared",
];

#[test]
fn killed_anywhere_and_repeated() {
    for arguments in [&["--stage", "second", "--yes"][..], &["--yes"], &["--full", "--yes"]] {
        let case = Case::new("killed", 0..3);
        case.call("run", &[]).ok();
        let (before, commits) = (case.told(), case.all_commits());
        for point in POINTS {
            case.call("refresh", arguments).killed_at(&format!("{point}@0"));
            let run = case.call("run", &[]).run();
            if point == "refresh-cleared" {
                assert_eq!(run.code, Some(0), "{}", run.err);
            } else {
                assert_eq!(run.code, Some(1), "{point}: {}", run.out);
                assert!(run.err.contains("a refresh of this pipeline was interrupted"), "{}", run.err);
                assert!(run.err.contains("`alluvium refresh` again"), "{}", run.err);
                let doctor = case.call("doctor", &[]).run();
                assert!(doctor.code == Some(1) && doctor.out.contains("refresh"), "{}", doctor.out);
                let out = case.call("refresh", arguments).ok();
                assert!(out.contains("a refresh that was interrupted is finished"), "{out}");
            }
            compare(&case, &before, arguments.contains(&"--full"));
            assert!(case.call("run", &[]).ok().contains("nothing new to process"));
        }
        if arguments.len() == 3 {
            case.assert_kept(&["first", "fourth", "bad"], &commits);
        }
    }
}

/// With `--full` processing times are new ones.
#[track_caller]
fn compare(case: &Case, before: &std::collections::BTreeMap<&'static str, super::Told>, full: bool) {
    let plain = |told: &std::collections::BTreeMap<&'static str, super::Told>| -> Vec<Value> {
        let mut rows: Vec<Value> = told.values().flat_map(|t| t.values().flatten().cloned()).collect();
        for row in &mut rows {
            let row = row.as_object_mut().unwrap();
            row.retain(|name, _| !["at", "newest"].contains(&name.as_str()));
        }
        rows.sort_by_key(ToString::to_string);
        rows
    };
    let now = case.told();
    if full {
        assert_eq!(plain(&now), plain(before));
    } else {
        assert_eq!(&now, before);
    }
}

#[test]
fn killed_while_a_table_is_deleted_and_while_epochs_are_replayed() {
    let case = Case::new("half", 0..4);
    case.call("run", &[]).ok();
    let before = case.told();
    case.call("refresh", &["--stage", "second", "--yes"]).killed_at("refresh-state@0");
    // As if it had been killed later: files are gone first, then the log from its newest entry on.
    for path in case.lake().keys().filter(|path| path.contains("/lake/second/") && path.ends_with(".parquet")) {
        std::fs::remove_file(path).unwrap();
    }
    let log = case.folder.path("lake/second/_delta_log");
    for version in [4, 3] {
        std::fs::remove_file(log.join(format!("{version:020}.json"))).unwrap();
    }
    // Something else is asked for now: both are done.
    case.call("refresh", &["--stage", "fourth", "--yes"]).killed_at("after-commit:second@2");
    assert_eq!(case.told()["fourth"].len(), 2);
    case.call("run", &[]).ok();
    assert_eq!(case.told(), before);
}
