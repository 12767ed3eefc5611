//! Directories that open, and what is known about them then.

use alluvium_classify::{Model, Options};
use half::{bf16, f16};
use safetensors::tensor::Dtype;
use serde_json::{Value, json};

use crate::checkpoint::{Checkpoint, Owned, builtin, builtin_directory, open};

const TEXTS: [&str; 4] = ["", "what a lovely day", "@user I hate this http://t.co/x", "the train leaves at nine"];

fn halves(tensor: &Owned) -> Vec<f16> {
    tensor.data.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]])).collect()
}

#[test]
fn the_builtin_model_says_what_it_is() {
    let info = builtin().info.clone();
    assert_eq!(
        (info.name.as_str(), info.architecture.as_str()),
        ("tweet-sentiment-mini", "BertForSequenceClassification")
    );
    assert_eq!((info.layers, info.hidden, info.heads), (4, 384, 12));
    assert_eq!((info.vocabulary, info.max_tokens), (12_288, 128));
    assert_eq!(info.labels, ["negative", "neutral", "positive"]);
    assert_eq!(info.hash, "6813d5d52ebc45b05534edebce73bcf01a66415fa3c25babb6658aa3d87c2419");
    assert_eq!(info.version, info.hash[..12]);
    assert_eq!((info.parameters, info.bytes), (12_016_131, 24_232_661));
}

#[test]
fn a_directory_with_the_same_files_is_the_same_model_by_another_name() {
    let (builtin, opened) = (builtin(), open(&builtin_directory()));
    assert_eq!(opened.info.name, "model");
    assert_eq!(opened.info.hash, builtin.info.hash);
    assert_eq!(opened.logits(&TEXTS).unwrap(), builtin.logits(&TEXTS).unwrap());
}

#[test]
fn float32_weights_with_the_same_values_give_the_same_logits() {
    let checkpoint = Checkpoint::copy().tensors(|tensors| {
        for tensor in tensors {
            tensor.data = halves(tensor).iter().flat_map(|value| value.to_f32().to_le_bytes()).collect();
            tensor.dtype = Dtype::F32;
        }
    });
    let opened = open(&checkpoint.path);
    assert_eq!(opened.logits(&TEXTS).unwrap(), builtin().logits(&TEXTS).unwrap());
    assert_ne!(opened.info.hash, builtin().info.hash);
}

#[test]
fn bfloat16_weights_give_nearly_the_same_logits() {
    let checkpoint = Checkpoint::copy().tensors(|tensors| {
        for tensor in tensors {
            let values = halves(tensor);
            tensor.data = values.iter().flat_map(|value| bf16::from_f32(value.to_f32()).to_le_bytes()).collect();
            tensor.dtype = Dtype::BF16;
        }
    });
    let (opened, builtin) = (open(&checkpoint.path), builtin());
    let pairs = opened.logits(&TEXTS).unwrap().concat().into_iter().zip(builtin.logits(&TEXTS).unwrap().concat());
    let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst > 0.0 && worst < 0.1, "{worst}");
}

#[test]
fn keys_with_a_default_may_be_left_out_and_a_version_is_told() {
    let checkpoint = Checkpoint::copy().config(|config| {
        let keys = config.as_object_mut().unwrap();
        for key in ["hidden_act", "position_embedding_type", "is_decoder", "layer_norm_eps"] {
            keys.remove(key);
        }
        config["version"] = "2026.1".into();
    });
    let opened = open(&checkpoint.path);
    assert_eq!(opened.info.version, "2026.1");
    assert_eq!(opened.logits(&TEXTS).unwrap(), builtin().logits(&TEXTS).unwrap());
}

#[test]
fn labels_that_are_left_out_are_numbered() {
    let checkpoint = Checkpoint::copy().config(|config| {
        config.as_object_mut().unwrap().remove("id2label");
        config["num_labels"] = 3.into();
    });
    assert_eq!(open(&checkpoint.path).info.labels, ["LABEL_0", "LABEL_1", "LABEL_2"]);
}

#[test]
fn labels_are_ordered_by_number_not_by_text() {
    let names: Value = (0..12).map(|id| (id.to_string(), json!(format!("label {id}")))).collect();
    let checkpoint = Checkpoint::copy().key("id2label", names).tensors(|tensors| {
        for tensor in tensors.iter_mut().filter(|tensor| tensor.name.starts_with("classifier")) {
            tensor.data = tensor.data.repeat(4);
            tensor.shape[0] = 12;
        }
    });
    let opened = open(&checkpoint.path);
    assert_eq!(opened.info.labels[10], "label 10");
    let logits = opened.logits(&TEXTS).unwrap();
    assert!(logits.iter().all(|logits| logits.len() == 12 && logits[0] == logits[9]));
}

#[test]
fn a_buffer_of_older_transformers_versions_is_no_surprise() {
    let checkpoint = Checkpoint::copy().tensors(|tensors| {
        let data = (0..128_i64).flat_map(i64::to_le_bytes).collect();
        let name = "bert.embeddings.position_ids".to_owned();
        tensors.push(Owned { name, dtype: Dtype::I64, shape: vec![1, 128], data });
    });
    assert!(Model::open(&checkpoint.path, Options::default()).is_ok());
}

#[test]
fn truncation_and_padding_in_the_tokenizer_file_are_replaced() {
    let checkpoint = Checkpoint::copy().edit("tokenizer.json", |tokenizer| {
        tokenizer["truncation"] =
            json!({"direction": "Left", "max_length": 4, "strategy": "LongestFirst", "stride": 0});
        tokenizer["padding"] = json!({"strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": null,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"});
    });
    let opened = open(&checkpoint.path);
    assert_eq!(opened.logits(&TEXTS).unwrap(), builtin().logits(&TEXTS).unwrap());
}
