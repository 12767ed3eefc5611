//! The stage `classify` and the command `model` as their users meet them.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Act, Bucket, Folder, Proxy, alluvium, history, read, root};

/// Runs a pipeline over texts (`None` is NULL) and gives the table's rows by text, with what the run has said.
fn classified(folder: &Folder, texts: &[Option<&str>], stage: &str) -> (Vec<Value>, String) {
    let lines: Vec<String> =
        texts.iter().enumerate().map(|(id, text)| json!({"id": id, "text": text}).to_string() + "\n").collect();
    folder.write("in/texts.json", &lines.concat());
    let spec = format!(
        "pipeline: moods\nstate: {0}/state\nstages:\n  \
         texts: {{ kind: files, url: {0}/in, format: json, schema: {{ id: int, text: string }} }}\n  \
         moods: {{ kind: classify, input: texts, text: text, {stage} }}\n  \
         table: {{ kind: delta, input: moods, table: {0}/table }}\n",
        folder.text("")
    );
    let spec = folder.write("spec.yaml", &spec);
    let done = alluvium(&["run", spec.to_str().unwrap()]).env("ALLUVIUM_LOG", "info").run();
    assert_eq!(done.code, Some(0), "{}", done.err);
    let table = read(&folder.text("table"));
    let mut rows: Vec<Value> = table
        .rows
        .iter()
        .map(|row| table.names.iter().cloned().zip(row.iter().cloned()).collect::<serde_json::Map<_, _>>().into())
        .collect();
    rows.sort_by_key(|row: &Value| row["id"].as_i64());
    (rows, done.err)
}

#[test]
fn scores_go_into_columns_of_their_own_and_nulls_stay_null() {
    let folder = Folder::new("classify");
    let texts = [Some("I love this"), None, Some("I hate this"), Some("I love this"), Some("")];
    let stage = "label: mood, score: sure, scores: { negative: p_negative, positive: p_positive, neutral: p_neutral }";
    let (rows, said) = classified(&folder, &texts, stage);
    assert_eq!(rows.len(), 5);
    for name in ["mood", "sure", "p_negative", "p_positive", "p_neutral"] {
        assert!(rows[1][name].is_null(), "{name}");
    }
    assert_eq!((&rows[0]["mood"], &rows[2]["mood"]), (&json!("positive"), &json!("negative")));
    for row in [&rows[0], &rows[2], &rows[4]] {
        let mood = row["mood"].as_str().unwrap();
        assert_eq!(row["sure"], row[format!("p_{mood}")], "{row}");
        let sum: f64 = ["p_negative", "p_positive", "p_neutral"].iter().map(|name| row[name].as_f64().unwrap()).sum();
        assert!((sum - 100.0).abs() < 1e-3, "{row}");
    }
    assert_eq!(rows[0]["p_positive"], rows[3]["p_positive"]);
    assert!(said.contains("texts=4") && said.contains("computed=3"), "{said}");
    assert!(history(&folder.text("table"))[0].get("modelPrecision").is_none());
}

#[test]
fn labels_can_be_renamed_and_other_precisions_are_told_in_the_commit() {
    let folder = Folder::new("classify");
    let texts = [Some("I love this"), Some("I hate this")];
    let (rows, _) = classified(&folder, &texts, "labels: [bad, so-so, good], precision: int8, scores: { bad: p_bad }");
    assert_eq!((&rows[0]["label"], &rows[1]["label"]), (&json!("good"), &json!("bad")));
    assert_eq!(rows[1]["score"], rows[1]["p_bad"]);
    assert_eq!(history(&folder.text("table"))[0]["modelPrecision"], "int8");
}

#[test]
fn users_and_links_are_made_one_as_twitter_models_expect() {
    let folder = Folder::new("classify");
    let texts = [Some("@ann http://a.b/c is it?"), Some("@bob http://d.e is it?"), Some("@user http is it?")];
    let (rows, said) = classified(&folder, &texts, "preprocess: tweet");
    assert!(rows.iter().all(|row| row["score"] == rows[0]["score"]), "{rows:?}");
    assert!(said.contains("computed=1"), "{said}");
    assert_eq!(rows[0]["text"], "@ann http://a.b/c is it?");
}

#[test]
fn texts_that_are_too_long_are_counted() {
    let folder = Folder::new("classify");
    let long = "good ".repeat(500);
    let (_, said) = classified(&folder, &[Some("short"), Some(&long), Some(&long)], "label: mood");
    assert!(said.contains("truncated=2"), "{said}");
}

/// A safetensors file whose classifier has weights so large that logits overflow.
fn overflowing(file: &Path) -> Vec<u8> {
    let bytes = std::fs::read(file).unwrap();
    let start = 8 + usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    let mut tensors: serde_json::Map<String, Value> = serde_json::from_slice(&bytes[8..start]).unwrap();
    tensors.remove("__metadata__");
    let offset = |tensor: &Value, end: usize| tensor["data_offsets"][end].as_u64().unwrap() as usize;
    let mut names: Vec<String> = tensors.keys().cloned().collect();
    names.sort_by_key(|name| offset(&tensors[name], 0));
    let mut data: Vec<u8> = Vec::new();
    for name in names {
        let tensor = tensors.get_mut(&name).unwrap();
        let from = data.len();
        let own = &bytes[start + offset(tensor, 0)..start + offset(tensor, 1)];
        if name == "classifier.weight" {
            tensor["dtype"] = "F32".into();
            data.extend(3e38_f32.to_le_bytes().repeat(own.len() / 2));
        } else {
            data.extend(own);
        }
        tensor["data_offsets"] = json!([from, data.len()]);
    }
    let header = serde_json::to_vec(&tensors).unwrap();
    [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat()
}

#[test]
fn a_logit_that_is_not_finite_stops_the_run_and_names_the_text() {
    let folder = Folder::new("classify");
    let model = root().join("stages/classify/model");
    for file in ["config.json", "tokenizer.json"] {
        folder.write(&format!("model/{file}"), &std::fs::read_to_string(model.join(file)).unwrap());
    }
    std::fs::write(folder.path("model/model.safetensors"), overflowing(&model.join("model.safetensors"))).unwrap();
    folder.write("in/texts.json", "{\"text\": \"what a day\"}\n");
    let spec = format!(
        "pipeline: moods\nstate: {0}/state\nstages:\n  \
         texts: {{ kind: files, url: {0}/in, format: json, schema: {{ text: string }} }}\n  \
         moods: {{ kind: classify, input: texts, text: text, model: {0}/model }}\n  \
         table: {{ kind: delta, input: moods, table: {0}/table }}\n",
        folder.text("")
    );
    let spec = folder.write("spec.yaml", &spec);
    let done = alluvium(&["run", spec.to_str().unwrap()]).run();
    assert_eq!(done.code, Some(1), "{}", done.out);
    for part in ["`moods`", "\"what a day\"", "expected a finite number", "epoch 1"] {
        assert!(done.err.contains(part), "{part}: {}", done.err);
    }
}

#[test]
fn inspect_shows_what_a_model_is_and_says() {
    let out = alluvium(&["model", "inspect", "builtin", "--text", "I love @you"]).ok();
    for line in [
        "model         tweet-sentiment-mini, version 6813d5d52ebc",
        "architecture  BertForSequenceClassification: 4 layers, hidden 384, 12 heads, feed-forward 1536",
        "labels        negative, neutral, positive (one of them)",
        "tokenizer     WordPiece, 12288 tokens, 128 at most in a text",
        "weights       12016131 numbers, 23 MiB on disk",
        "hash          6813d5d52ebc45b05534edebce73bcf01a66415fa3c25babb6658aa3d87c2419",
    ] {
        assert!(out.contains(line), "{line}\n{out}");
    }
    assert!(out.contains("positive") && out.contains("%  <-") && out.contains("tokens)"), "{out}");
    let plain = alluvium(&["model", "inspect", "builtin"]).env("ALLUVIUM_CPU", "plain").ok();
    assert!(plain.contains("computes      in float32 with plain"), "{plain}");
}

#[test]
fn inspect_tells_what_is_wrong() {
    let missing = alluvium(&["model", "inspect", "cardiffnlp/twitter-roberta"]).run();
    assert_eq!(missing.code, Some(1));
    assert!(
        missing.err.contains("hf download cardiffnlp/twitter-roberta --local-dir twitter-roberta"),
        "{}",
        missing.err
    );
    let pickle = alluvium(&["model", "inspect", "tests/specs/models/pickle"]).run();
    assert!(pickle.err.contains("is a pickle"), "{}", pickle.err);
    let choice = alluvium(&["model", "inspect", "builtin", "--precision", "float16"]).run();
    assert_eq!(choice.code, Some(2));
    assert!(choice.err.contains("float32") && choice.err.contains("int8"), "{}", choice.err);
    let instructions = alluvium(&["model", "inspect", "builtin"]).env("ALLUVIUM_CPU", "mmx").run();
    assert_eq!(instructions.code, Some(1));
    assert!(instructions.err.contains("ALLUVIUM_CPU is \"mmx\", but this processor has "), "{}", instructions.err);
    let cuda = alluvium(&["model", "inspect", "builtin", "--device", "cuda"]).run();
    assert!(cuda.err.contains("built without the feature `cuda`"), "{}", cuda.err);
}

#[test]
fn a_model_in_a_bucket_is_fetched_once_and_whole() {
    let (folder, bucket) = (Folder::new("fetched"), Bucket::new("fetched"));
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        let content = std::fs::read(root().join("stages/classify/model").join(name)).unwrap();
        bucket.put(&format!("models/mine/{name}"), content);
    }
    let (cache, url) = (folder.text("cache"), bucket.url("models/mine"));
    let inspect = |endpoint: &str| {
        let arguments = ["model", "inspect", &url, "--text", "what a lovely day"];
        alluvium(&arguments).s3(endpoint).env("ALLUVIUM_CACHE", &cache).run()
    };
    let proxy = Proxy::start(&bucket.endpoint);
    // A body that is cut is asked for again, not kept.
    proxy.rule("GET", "models/mine/model.safetensors", Act::CutBody, 1);
    let first = inspect(&proxy.url());
    assert_eq!(first.code, Some(0), "{}", first.err);
    assert_eq!(proxy.hits(), 1);
    assert!(first.out.contains("positive"), "{}", first.out);
    // The second time its content comes from the cache.
    let proxy = Proxy::start(&bucket.endpoint);
    proxy.rule("GET", "models/mine/model.safetensors", Act::Answer(500), 1000);
    let second = inspect(&proxy.url());
    assert_eq!((second.code, proxy.hits()), (Some(0), 0), "{}", second.err);
    assert_eq!(second.out, first.out);
}
