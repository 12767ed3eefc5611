//! Objects of a real S3 server that are large, slow, written again, gone, or strangely named.

mod changed;
mod keys;
mod slow;

use serde_json::json;

use crate::support::{Bucket, Call, Folder, Table, alluvium, read};

/// A pipeline that reads the folder `in` of a bucket into the table `rows`.
struct Case {
    folder: Folder,
    bucket: Bucket,
    spec: String,
}

impl Case {
    /// `source` is what the stage's YAML says besides kind and place.
    fn new(name: &str, source: &str) -> Self {
        let folder = Folder::new(name);
        let spec = format!(
            r#"
pipeline: objects
state: ${{LAKE}}/_state
storage: {{ timeout: "${{TIMEOUT:-30s}}", retry_timeout: "${{PATIENCE:-180s}}" }}
stages:
  objects: {{ kind: files, url: "${{IN}}", schema: {{ id: bigint }}, {source} }}
  rows: {{ kind: delta, input: objects, table: "${{LAKE}}/rows" }}
"#
        );
        let spec = folder.write("spec.yaml", &spec).display().to_string();
        Self { folder, bucket: Bucket::new(name), spec }
    }

    fn call(&self) -> Call {
        self.through(&self.bucket.endpoint)
    }

    fn through(&self, endpoint: &str) -> Call {
        let call = alluvium(&["run", &self.spec]).s3(endpoint);
        call.env("IN", &self.bucket.url("in")).env("LAKE", &self.folder.text("lake"))
    }

    fn table(&self) -> Table {
        read(&self.folder.text("lake/rows"))
    }

    /// The table has these numbers, each once.
    #[track_caller]
    fn assert_ids(&self, ids: impl Iterator<Item = usize>) {
        let mut rows: Vec<i64> = self.table().rows.iter().map(|row| row[0].as_i64().unwrap()).collect();
        rows.sort_unstable();
        assert_eq!(rows, ids.map(|id| id as i64).collect::<Vec<_>>());
    }
}

/// JSON lines with these numbers; each about `width` bytes long, which cannot be packed well.
fn lines(ids: std::ops::Range<usize>, width: usize) -> String {
    let line = |id: usize| {
        let noise =
            (0..width / 16).map(|k| format!("{:016x}", (id * width + k + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        json!({ "id": id, "noise": noise.collect::<String>() }).to_string() + "\n"
    };
    ids.map(line).collect()
}
