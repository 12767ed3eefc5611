//! Objects whose reading takes longer than a request may, and longer than the client is patient with one.

use std::time::Duration;

use super::{Case, lines};
use crate::support::{Act, Bucket, Folder, Proxy, alluvium, python, root, until};

/// A request may take a second, and all tries of one two.
const TIMEOUT: (&str, &str) = ("TIMEOUT", "1s");
const PATIENCE: (&str, &str) = ("PATIENCE", "2s");

fn gzip(folder: &Folder, text: &str) -> Vec<u8> {
    let path = folder.write("plain", text);
    let code = "import gzip, sys; sys.stdout.buffer.write(gzip.compress(open(sys.argv[1], 'rb').read()))";
    python(&["-c", code, path.to_str().unwrap()])
}

#[test]
fn an_object_may_take_longer_than_the_client_is_patient() {
    for name in ["slow.json", "slow.json.gz"] {
        let case = Case::new("slow", "format: json");
        let mut content = lines(0..1_000, 1_024).into_bytes();
        if name.ends_with(".gz") {
            content = gzip(&case.folder, &lines(0..2_000, 1_024));
        }
        let pieces = content.len() / (64 << 10);
        case.bucket.put(&format!("in/{name}"), content);
        let proxy = Proxy::start(&case.bucket.endpoint);
        proxy.rule("GET", &format!("/in/{name}"), Act::Slow(Duration::from_millis(300)), usize::MAX);
        assert!(pieces * 300 > 4_000, "{pieces} pieces are not enough to take long");
        let done = case.through(&proxy.url()).env(TIMEOUT.0, TIMEOUT.1).env(PATIENCE.0, PATIENCE.1).run();
        assert_eq!(done.code, Some(0), "{}", done.err);
        assert!(proxy.hits() > 3, "one request was enough: {}", proxy.hits());
        case.assert_ids(0..if name.ends_with(".gz") { 2_000 } else { 1_000 });
    }
}

/// Whoever takes the bytes may be busy with something else for longer than the client is patient.
#[test]
fn a_reader_may_pause() {
    let case = Case::new("pause", "format: json");
    case.bucket.put("in/pause.json", lines(0..1_000, 1_024));
    let proxy = Proxy::start(&case.bucket.endpoint);
    proxy.rule("GET", "/in/pause.json", Act::Slow(Duration::from_millis(300)), usize::MAX);
    let run = case.through(&proxy.url()).env(TIMEOUT.0, TIMEOUT.1).env(PATIENCE.0, PATIENCE.1).start();
    until("some of the object has come", || proxy.hits() > 1);
    run.signal("STOP");
    std::thread::sleep(Duration::from_secs(4));
    run.signal("CONT");
    let done = run.end();
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(proxy.hits() > 2, "the pause was not noticed");
    case.assert_ids(0..1_000);
}

#[test]
fn a_slow_object_that_is_written_again_meanwhile_is_a_fault_and_then_read_as_a_whole() {
    let case = Case::new("torn", "format: json");
    case.bucket.put("in/torn.json", lines(0..1_000, 1_024));
    let proxy = Proxy::start(&case.bucket.endpoint);
    proxy.rule("GET", "/in/torn.json", Act::Slow(Duration::from_millis(300)), usize::MAX);
    let run = case.through(&proxy.url()).env(TIMEOUT.0, TIMEOUT.1).env(PATIENCE.0, PATIENCE.1).start();
    until("the object is asked for a second time", || proxy.hits() > 1);
    case.bucket.put("in/torn.json", lines(5_000..6_000, 1_024));
    let done = run.end();
    assert_eq!(done.code, Some(1), "{}", done.err);
    for part in [
        "the object has changed since it was bound to the epoch: while it was read",
        &format!("object: {}", case.bucket.url("in/torn.json")),
    ] {
        assert!(done.err.contains(part), "no `{part}` in:\n{}", done.err);
    }
    case.call().ok();
    case.assert_ids(5_000..6_000);
}

#[test]
fn a_model_may_take_longer_than_the_client_is_patient() {
    let (folder, bucket) = (Folder::new("slow-model"), Bucket::new("slow-model"));
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        bucket.put(&format!("model/{file}"), std::fs::read(root().join("stages/classify/model").join(file)).unwrap());
    }
    let spec = format!(
        "pipeline: p\nstate: {0}/state\nstorage: {{ timeout: 1s, retry_timeout: 2s }}\nstages:\n  \
         rows: {{ kind: generate, rows: 1, columns: {{ text: {{ choice: [good] }} }} }}\n  \
         moods: {{ kind: classify, input: rows, text: text, model: \"{1}\" }}\n  \
         table: {{ kind: delta, input: moods, table: {0}/table }}\n",
        folder.text(""),
        bucket.url("model")
    );
    let spec = folder.write("spec.yaml", &spec).display().to_string();
    let proxy = Proxy::start(&bucket.endpoint);
    proxy.rule("GET", "/model/model.safetensors", Act::Slow(Duration::from_millis(15)), usize::MAX);
    alluvium(&["check", &spec]).s3(&proxy.url()).env("ALLUVIUM_CACHE", &folder.text("cache")).ok();
    assert!(proxy.hits() > 3, "one request was enough: {}", proxy.hits());
}
