//! `kind: files`: real objects in every format, and every way in which they can be bad.

mod choice;
mod csv;
mod evolution;
mod infer;
mod json;
mod layout;
mod parquet;
mod partitions;
mod replay;

use std::process::Command;

use serde_json::Value;

use crate::support::{Call, Done, Folder, Table, alluvium, history, read};

/// A pipeline that reads the folder `in` into the table `rows`; bad rows go to the table `bad`, if they go anywhere.
struct Case {
    folder: Folder,
    spec: String,
}

impl Case {
    /// `source` is what the stage's YAML says besides kind and place.
    fn new(name: &str, source: &str) -> Self {
        Self::with(name, source, "")
    }

    /// The same with something beside the stages.
    fn with(name: &str, source: &str, header: &str) -> Self {
        let folder = Folder::new(name);
        std::fs::create_dir_all(folder.path("in")).unwrap();
        let rejects = source.contains("quarantine");
        let bad = if rejects { "bad: { kind: delta, input: objects.rejects, table: \"${LAKE}/bad\" }" } else { "" };
        let spec = format!(
            r#"
pipeline: files
state: ${{LAKE}}/_state
{header}
stages:
  objects: {{ kind: files, url: "${{IN}}", {source} }}
  rows: {{ kind: delta, input: objects, table: "${{LAKE}}/rows" }}
  {bad}
"#
        );
        let spec = folder.write("spec.yaml", &spec).display().to_string();
        Self { folder, spec }
    }

    /// Puts an object.
    fn put(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.folder.path("in").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    fn call(&self) -> Call {
        alluvium(&["run", &self.spec]).env("IN", &self.folder.text("in")).env("LAKE", &self.folder.text("lake"))
    }

    /// Runs to its good end and gives the table.
    #[track_caller]
    fn rows(&self) -> Table {
        self.call().ok();
        read(&self.folder.text("lake/rows"))
    }

    /// Runs into a fault: the message says all of this, and no table holds anything of it.
    #[track_caller]
    fn fault(&self, says: &[&str]) -> Done {
        let done = self.call().run();
        assert_eq!(done.code, Some(1), "{}{}", done.out, done.err);
        for part in says {
            assert!(done.err.contains(part), "no `{part}` in:\n{}", done.err);
        }
        for table in ["rows", "bad"] {
            let url = self.folder.text(&format!("lake/{table}"));
            if std::path::Path::new(&url).join("_delta_log").exists() {
                assert_eq!(read(&url).rows.len(), 0, "rows of {table}");
                assert!(history(&url).iter().all(|commit| commit.get("epoch").is_none()), "{table}");
            }
        }
        done
    }

    /// An object's URL, as it stands in tables and messages.
    fn url(&self, name: &str) -> String {
        format!("file://{}", self.folder.path("in").join(name).display())
    }

    /// Line, raw text and reason of what is in quarantine, in the order of the lines; all of this object.
    #[track_caller]
    fn bad(&self, object: &str) -> Vec<(i64, String, String)> {
        let table = read(&self.folder.text("lake/bad"));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let mut bad = Vec::new();
        for row in table.select(&["stage", "epoch", "object", "line", "raw", "reason"]) {
            assert_eq!((text(&row[0]).as_str(), row[1].as_i64()), ("objects", Some(1)));
            assert_eq!(text(&row[2]), self.url(object));
            bad.push((row[3].as_i64().unwrap(), text(&row[4]), text(&row[5])));
        }
        bad.sort();
        bad
    }
}

/// Runs a piece of Python with the packages of the independent reader.
#[track_caller]
pub(crate) fn python(code: &str, arguments: &[&str]) -> String {
    let python =
        std::env::var("ALLUVIUM_TEST_PYTHON").expect("run the tests with `tests/run`, which installs what they need");
    let done =
        Command::new(python).args(["-c", code]).args(arguments).current_dir(crate::support::root()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// Packs a file as `gzip` or `zstd`.
#[track_caller]
fn pack(from: &str, to: &str, how: &str) {
    let code = "import sys, pyarrow as pa\n\
                data = open(sys.argv[1], 'rb').read()\n\
                with pa.output_stream(sys.argv[2], compression=sys.argv[3]) as out: out.write(data)";
    python(code, &[from, to, how]);
}

/// The same number of rows as JSON lines; each about this many bytes long.
fn numbered(rows: std::ops::Range<usize>, width: usize) -> String {
    rows.map(|id| format!("{{\"id\":{id},\"text\":\"{:x>width$}\"}}\n", id)).collect()
}
