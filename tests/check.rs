//! What a person is told about a bad spec: the whole text, compared with the golden files.
//!
//! `UPDATE=1 tests/run check` rewrites the golden files; read the difference before it is kept.

use std::collections::BTreeSet;
use std::path::Path;

use crate::golden;
use crate::support::{Folder, alluvium, root};

const SPECS: &str = "tests/specs/bad";

/// The names of all bad specs.
fn bad_specs() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(root().join(SPECS))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

/// Runs `check`, which must find problems, and gives what it says.
fn refused(path: &str) -> String {
    let done = alluvium(&["check", path]).run();
    assert_eq!(done.code, Some(2), "{path}: {}{}", done.err, done.out);
    assert_eq!(done.out, "", "{path}: problems belong on standard error");
    done.err
}

#[test]
fn check_tells_what_is_wrong_with_each_bad_spec() {
    let names = bad_specs();
    assert!(names.len() >= 80, "only {} bad specs: was a folder lost?", names.len());
    let different: Vec<String> = names
        .iter()
        .filter_map(|name| {
            golden::compare(&format!("tests/golden/check/{name}.txt"), &refused(&format!("{SPECS}/{name}.yaml"))).err()
        })
        .collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn check_has_no_golden_file_without_its_spec() {
    let specs: BTreeSet<String> = bad_specs().into_iter().collect();
    for entry in std::fs::read_dir(root().join("tests/golden/check")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(specs.contains(name), "{} has no spec", path.display());
    }
}

/// What holds for every problem, whatever it is.
#[test]
fn check_shows_place_snippet_and_what_to_do() {
    let mut complaints = Vec::new();
    for name in bad_specs() {
        let path = format!("{SPECS}/{name}.yaml");
        let text = std::fs::read_to_string(root().join(&path)).unwrap();
        let shown = refused(&path);
        let problems: Vec<&str> = shown.split("  × ").skip(1).collect();
        let (n, s) = (problems.len(), if problems.len() == 1 { "" } else { "s" });
        assert!(shown.ends_with(&format!("\n{n} problem{s} in {path}\n")), "{name}: {shown}");
        let mut last = (0, 0);
        for problem in problems {
            let (_, place) =
                problem.split_once(&format!("╭─[{path}:")).unwrap_or_else(|| panic!("{name}: no place\n{problem}"));
            let (line, column) = place.split_once(']').unwrap().0.split_once(':').unwrap();
            let place: (usize, usize) = (line.parse().unwrap(), column.parse().unwrap());
            assert!(last <= place, "{name}: not in the order of the file\n{shown}");
            last = place;
            let written = text.lines().nth(place.0 - 1).unwrap_or_default().replace('\t', "    ");
            let mut complain = |what: &str| complaints.push(format!("{name}: {what}\n  × {}", problem.trim_end()));
            if !problem.contains(&format!("{line} │ {written}")) {
                complain("the snippet is not the line");
            }
            if !problem.contains("╰── ") {
                complain("nothing beside the place");
            }
            if !problem.contains("\n  help: ") {
                complain("it is not said what to do");
            }
            // Words of Rust and of libraries mean nothing to the author of a pipeline.
            for word in [
                "Utf8",
                "Int32",
                "Int64",
                "Float64",
                "u64",
                "i64",
                "usize",
                "Option",
                "Error(",
                "struct ",
                "enum ",
                "datafusion",
                "serde",
            ] {
                if problem.contains(word) {
                    complain(&format!("`{word}` means nothing to a user"));
                }
            }
        }
    }
    assert!(complaints.is_empty(), "{} complaints\n{}", complaints.len(), complaints.join("\n\n"));
}

#[test]
fn check_of_a_file_that_is_not_there() {
    let shown = refused("no/such/spec.yaml");
    assert!(shown.contains("`no/such/spec.yaml` cannot be read: No such file or directory"), "{shown}");
    assert!(shown.contains("help: give the path of a pipeline spec"), "{shown}");
    let shown = refused("tests/specs");
    assert!(shown.contains("`tests/specs` cannot be read: Is a directory"), "{shown}");
}

#[test]
fn check_of_files_with_unusual_bytes() {
    let folder = Folder::new("bytes");
    let good = "pipeline: odd\nstate: lake/state\nstages:\n  numbers: { kind: generate, rows: 1e1, columns: { id: { sequence: 1 } } }\n  out: { kind: blackhole, input: numbers }\n";
    let text = |name: &str, content: &str| folder.write(name, content).display().to_string();
    for (name, content) in
        [("dos", good.replace('\n', "\r\n")), ("mark", format!("\u{feff}{good}")), ("end", good.trim_end().to_owned())]
    {
        assert!(alluvium(&["check", &text(name, &content)]).ok().contains("odd: ok, 2 stages, 0 tables"));
    }
    let shown = refused(&text("bad-dos", &good.replace("numbers }", "nmbers }").replace('\n', "\r\n")));
    assert!(shown.contains("bad-dos:5:34]") && shown.contains("did you mean `numbers`?"), "{shown}");
    std::fs::write(folder.path("latin"), b"pipeline: gr\xfc\xdfe\n").unwrap();
    assert!(refused(&folder.text("latin")).contains("valid UTF-8"));
    let deep = refused(&text("deep", &"[".repeat(100_000)));
    assert!(deep.contains("not valid YAML: recursion limit exceeded"), "{deep}");
}

#[test]
fn check_of_a_variable_that_the_spec_does_not_have() {
    let done = alluvium(&["check", "pipelines/tweets.yaml", "--set", "LAK=/data"]).run();
    assert_eq!(done.code, Some(2));
    assert!(done.err.contains("`--set LAK=…` sets a variable that the spec does not use"), "{}", done.err);
    assert!(done.err.contains("help: did you mean `LAKE`? variables: `LAKE`, `MODEL`, `TWEETS`"), "{}", done.err);
}

/// Variables of bad specs come from nowhere else, and a good spec stays good.
#[test]
fn check_takes_values_from_variables() {
    let path = format!("{SPECS}/variable-undefined.yaml");
    let ok = alluvium(&["check", &path, "--set", "NO_SUCH_FOLDER=x"]).ok();
    assert!(ok.contains("bad: ok, 2 stages, 1 tables"), "{ok}");
    let ok = alluvium(&["check", &path]).env("NO_SUCH_FOLDER", "x").ok();
    assert!(ok.contains("bad: ok"), "{ok}");
    // As in a shell, an empty variable is as good as none where there is a default.
    let empty = alluvium(&["check", &path, "--set", "NO_SUCH_FOLDER=x", "--set", "NO_SUCH_TABLE="]).ok();
    assert!(empty.contains("bad: ok"), "{empty}");
}

#[test]
fn check_touches_nothing() {
    let folder = Folder::new("touch");
    for command in ["check", "explain", "graph"] {
        alluvium(&[command, "pipelines/tweets.yaml"]).env("LAKE", &folder.text("lake")).ok();
    }
    assert!(!Path::new(&folder.text("lake")).exists());
}
