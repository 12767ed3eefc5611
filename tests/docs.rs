//! What is written down stays true: generated files, sample data, and the rules of the source tree.

use std::path::{Path, PathBuf};

use crate::golden::assert_golden;
use crate::support::{alluvium, python, root};

#[test]
fn docs_schema_is_the_generated_one() {
    assert_golden("pipelines/schema.json", &alluvium(&["schema"]).ok());
}

#[test]
fn docs_reference_is_the_generated_one() {
    assert_golden("pipelines/README.md", &alluvium(&["stages", "--markdown"]).ok());
}

#[test]
fn docs_sample_data_is_the_generated_one() {
    for name in ["tweets", "weblogs"] {
        python(&[&format!("tests/data/{name}.py"), "--check"]);
    }
}

/// Files of the repository below a folder, built ones left out.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    fn walk(path: &Path, extension: &str, out: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && !["target", "lake"].contains(&name) && !name.starts_with('.') {
                walk(&path, extension, out);
            } else if path.extension().is_some_and(|e| e == extension) {
                out.push(path);
            }
        }
    }
    let mut out = Vec::new();
    walk(&root().join(folder), extension, &mut out);
    out.sort();
    assert!(!out.is_empty(), "no {extension} files in {folder}");
    out
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// Code of libraries, without their tests: these end each file, or have a file of their own.
fn library_code() -> Vec<(PathBuf, String)> {
    let mut out = Vec::new();
    for folder in ["engine", "stages"] {
        for path in files(folder, "rs") {
            let place = path.strip_prefix(root()).unwrap().display().to_string();
            if place.contains("/tests/") || place.contains("/examples/") || place.ends_with("/tests.rs") {
                continue;
            }
            let text = read(&path);
            let code = text.split_once("#[cfg(test)]\nmod tests {").map_or(text.as_str(), |(code, _)| code).to_owned();
            out.push((path, code));
        }
    }
    out
}

#[test]
fn tidy_no_file_is_too_long_to_read() {
    for path in files(".", "rs") {
        let lines = read(&path).lines().count();
        assert!(lines <= 500, "{} has {lines} lines: split it by concern", path.display());
    }
}

#[test]
fn tidy_libraries_do_not_panic() {
    for (path, code) in library_code() {
        for (number, line) in code.lines().enumerate() {
            let said = line.trim_start();
            if said.starts_with("//") {
                continue;
            }
            for word in [".unwrap()", ".expect(", "panic!(", "unreachable!(", "todo!(", "unimplemented!("] {
                assert!(!line.contains(word), "{}:{}: `{word}` in library code", path.display(), number + 1);
            }
        }
    }
}

#[test]
fn tidy_engine_depends_on_no_stage() {
    let manifest = read(&root().join("engine/Cargo.toml"));
    for word in ["deltalake", "burn", "datafusion", "differential", "alluvium-"] {
        let named = manifest.lines().filter(|l| l.trim_start().starts_with(word)).collect::<Vec<_>>();
        assert!(named.is_empty(), "engine/Cargo.toml names {named:?}");
    }
}

/// The engine learns kinds from the registry only. In help texts, between backticks, it may name one.
#[test]
fn tidy_engine_names_no_kind() {
    let list = alluvium(&["stages"]).ok();
    let kinds: Vec<&str> =
        list.split("\n\n").next().unwrap().lines().filter_map(|l| l.split_whitespace().next()).collect();
    assert!(kinds.contains(&"delta") && kinds.len() >= 8, "{kinds:?}");
    for (path, code) in library_code().iter().filter(|(path, _)| path.starts_with(root().join("engine"))) {
        for kind in &kinds {
            assert!(!code.contains(&format!("\"{kind}\"")), "{} names the kind \"{kind}\"", path.display());
        }
    }
}

/// One crate for each heavy dependency, so that touching one does not build the others again.
#[test]
fn tidy_stages_do_not_know_each_other() {
    for path in files("stages", "toml") {
        let manifest = read(&path);
        let name = manifest.lines().find_map(|l| l.strip_prefix("name = \"")).unwrap().trim_end_matches('"');
        let others = manifest.lines().filter(|l| l.starts_with("alluvium-") && !l.starts_with("alluvium-engine"));
        for other in others {
            // Aggregates take their expressions from SQL.
            assert!(
                (name, other.split('.').next().unwrap()) == ("alluvium-eda", "alluvium-sql"),
                "{name} depends on {other}"
            );
        }
    }
}
