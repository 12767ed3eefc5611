//! Directories that do not open, and what is said about them.

use std::fs;
use std::path::Path;

use alluvium_classify::{Model, ModelError, Options, TensorProblem};
use safetensors::tensor::Dtype;
use serde_json::{Value, json};

use crate::checkpoint::{Checkpoint, Owned, WEIGHTS, open};

const RESAVE: &str =
    "expected the weights that `BertForSequenceClassification.save_pretrained` writes for this config.json";
const RESAVE_TOKENIZER: &str = "save it again with `AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)`";

#[test]
fn files_that_are_not_there() {
    let missing = Model::open(Path::new("/no/such/model"), Options::default()).err().unwrap();
    assert_eq!(
        missing.to_string(),
        "/no/such/model: no such directory; expected a directory with config.json, tokenizer.json and model.safetensors, \
         the URL of one, or `builtin`"
    );
    for file in ["config.json", "tokenizer.json", WEIGHTS] {
        let expected = format!(
            "DIR/{file}: no such file; expected a Hugging Face model directory with config.json, tokenizer.json and model.safetensors"
        );
        assert_eq!(Checkpoint::copy().remove(file).message(), expected);
    }
    let vocabulary = Checkpoint::copy().remove("tokenizer.json").write("vocab.txt", "[PAD]\n");
    assert_eq!(
        vocabulary.message(),
        "DIR/tokenizer.json: no such file; make it from vocab.txt with `python3 -c \"from transformers import \
         AutoTokenizer as T; d = 'DIR'; T.from_pretrained(d).save_pretrained(d)\"`"
    );
}

#[test]
fn weights_in_other_forms() {
    let pickle = Checkpoint::copy().remove(WEIGHTS).write("pytorch_model.bin", "pickle");
    assert_eq!(
        pickle.message(),
        "DIR/model.safetensors: no such file; pytorch_model.bin is a pickle, which can run any code when it is opened, so it \
         is refused: convert it once with `python3 -c \"from transformers import AutoModelForSequenceClassification as M; \
         d = 'DIR'; M.from_pretrained(d).save_pretrained(d)\"`"
    );
    let pointer =
        Checkpoint::copy().write(WEIGHTS, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 24\n");
    assert_eq!(
        pointer.message(),
        "DIR/model.safetensors: is a Git LFS pointer, not the file itself; run `git lfs pull` in its repository"
    );
    let unreadable = Checkpoint::copy().remove(WEIGHTS);
    fs::create_dir(unreadable.path.join(WEIGHTS)).unwrap();
    assert_eq!(unreadable.message(), "DIR/model.safetensors: cannot be read: is a directory");
}

#[test]
fn damaged_weights() {
    let whole = Checkpoint::copy();
    let bytes = whole.bytes(WEIGHTS);
    let half = whole.write(WEIGHTS, &bytes[..bytes.len() / 2]);
    assert_eq!(
        half.message(),
        "DIR/model.safetensors: not a complete safetensors file (12020279 bytes): its header tells of 24040558 bytes; \
         copy or download it again"
    );
    let damaged =
        |content: &[u8]| matches!(Checkpoint::copy().write(WEIGHTS, content).error(), ModelError::Safetensors { .. });
    assert!(damaged(b""));
    assert!(damaged(b"1234567"));
    assert!(damaged(&[0xff; 64]));
    assert!(damaged(&bytes[..100]));
    assert!(damaged(&[&bytes[..], b"more"].concat()));
}

#[test]
fn a_configuration_that_is_not_json() {
    let cut = Checkpoint::copy().write("config.json", "{\"hidden_size\": 384,\n");
    assert_eq!(
        cut.message(),
        "DIR/config.json: not a JSON object: EOF while parsing a value at line 2 column 0; copy the file again"
    );
    assert_eq!(
        Checkpoint::copy().write("config.json", "[]").message(),
        "DIR/config.json: not a JSON object: invalid type: sequence, expected a map at line 1 column 0; copy the file again"
    );
}

#[test]
fn configurations_of_other_models() {
    let cases: &[(&str, Value, &str)] = &[
        (
            "architectures",
            json!(["BertModel"]),
            "`architectures` is [\"BertModel\"], expected one of BertForSequenceClassification, \
             RobertaForSequenceClassification, XLMRobertaForSequenceClassification, DistilBertForSequenceClassification",
        ),
        (
            "architectures",
            Value::Null,
            "`architectures` is null, expected one of BertForSequenceClassification, \
             RobertaForSequenceClassification, XLMRobertaForSequenceClassification, DistilBertForSequenceClassification",
        ),
        ("model_type", json!("roberta"), "`model_type` is \"roberta\", expected \"bert\""),
        ("model_type", Value::Null, "`model_type` is missing, expected \"bert\""),
        (
            "hidden_act",
            json!("silu"),
            "`hidden_act` is \"silu\", expected \"gelu\" or \"gelu_python\" or \"gelu_new\" or \"gelu_pytorch_tanh\" or \
             \"gelu_fast\" or \"relu\"",
        ),
        (
            "position_embedding_type",
            json!("relative_key"),
            "`position_embedding_type` is \"relative_key\", expected \"absolute\"",
        ),
        (
            "problem_type",
            json!("regression"),
            "`problem_type` is \"regression\", expected \"single_label_classification\" or \"multi_label_classification\"",
        ),
        ("is_decoder", json!(true), "`is_decoder` is true, expected false"),
    ];
    for (key, value, message) in cases {
        assert_eq!(Checkpoint::copy().key(key, value.clone()).message(), format!("DIR/config.json: {message}"));
    }
}

#[test]
fn configurations_with_impossible_sizes() {
    let whole = "a whole number from 1 to 10000000";
    let cases: &[(&str, Value, String)] = &[
        ("hidden_size", json!(0), format!("`hidden_size` is 0, expected {whole}")),
        ("hidden_size", json!("384"), format!("`hidden_size` is \"384\", expected {whole}")),
        ("vocab_size", json!(-1), format!("`vocab_size` is -1, expected {whole}")),
        ("intermediate_size", json!(1.5), format!("`intermediate_size` is 1.5, expected {whole}")),
        (
            "num_hidden_layers",
            json!(1_001),
            "`num_hidden_layers` is 1001, expected a whole number from 1 to 1000".to_owned(),
        ),
        (
            "num_attention_heads",
            json!(7),
            "`num_attention_heads` is 7, expected a divisor of `hidden_size` (384)".to_owned(),
        ),
        ("layer_norm_eps", json!(0), "`layer_norm_eps` is 0, expected a number above 0 and at most 1".to_owned()),
    ];
    for (key, value, message) in cases {
        assert_eq!(Checkpoint::copy().key(key, value.clone()).message(), format!("DIR/config.json: {message}"));
    }
    let missing = Checkpoint::copy().config(|config| drop(config.as_object_mut().unwrap().remove("hidden_size")));
    assert_eq!(missing.message(), format!("DIR/config.json: `hidden_size` is missing, expected {whole}"));
}

#[test]
fn labels_that_do_not_work() {
    let cases: &[(Value, &str)] = &[
        (json!({"0": "a", "2": "b"}), "`id2label.1` is missing, expected a label: ids count from \"0\" without gaps"),
        (json!({"0": "a", "1": ""}), "`id2label.1` is \"\", expected a label: ids count from \"0\" without gaps"),
        (json!({"0": "a", "1": "a"}), "`id2label` is using \"a\" twice, expected labels that differ"),
        (
            json!({"0": "a"}),
            "`id2label` is {\"0\":\"a\"}, expected two labels or more: a model with one output is a regression",
        ),
        (json!(["a", "b"]), "`id2label` is [\"a\",\"b\"], expected an object from id to label"),
    ];
    for (labels, message) in cases {
        assert_eq!(Checkpoint::copy().key("id2label", labels.clone()).message(), format!("DIR/config.json: {message}"));
    }
    let four = Checkpoint::copy().config(|config| config["id2label"]["3"] = "mixed".into());
    assert_eq!(
        four.message(),
        format!(
            "DIR/model.safetensors: tensor classifier.weight has shape [3, 384], expected [4, 384] by id2label and hidden_size \
             of config.json; tensor classifier.bias has shape [3], expected [4] by id2label and hidden_size of config.json; {RESAVE}"
        )
    );
}

#[test]
fn tensors_that_are_missing_or_too_many() {
    let checkpoint = Checkpoint::copy().tensors(|tensors| {
        tensors.retain(|tensor| tensor.name != "bert.pooler.dense.bias");
        let name = "cls.predictions.bias".to_owned();
        tensors.push(Owned { name, dtype: Dtype::F32, shape: vec![1], data: vec![0; 4] });
    });
    assert_eq!(
        checkpoint.message(),
        format!(
            "DIR/model.safetensors: tensor bert.pooler.dense.bias is missing; tensor cls.predictions.bias is not part of the model; \
             {RESAVE}"
        )
    );
    let deeper = Checkpoint::copy().key("num_hidden_layers", 6);
    let message = deeper.message();
    assert!(
        message
            .starts_with("DIR/model.safetensors: tensor bert.encoder.layer.4.attention.self.query.weight is missing; ")
    );
    assert!(message.ends_with(&format!("; and 28 more; {RESAVE}")), "{message}");
    let shallower = Checkpoint::copy().key("num_hidden_layers", 3).error();
    let ModelError::Tensors { problems, .. } = shallower else { panic!("{shallower}") };
    assert_eq!(problems.len(), 16);
    assert!(
        problems.iter().all(|problem| matches!(problem, TensorProblem::Unexpected(name) if name.contains(".layer.3.")))
    );
}

#[test]
fn tensors_of_other_shapes_and_types() {
    let rows = Checkpoint::copy().key("max_position_embeddings", 512);
    assert_eq!(
        rows.message(),
        format!(
            "DIR/model.safetensors: tensor bert.embeddings.position_embeddings.weight has shape [128, 384], expected [512, 384] \
             by max_position_embeddings and hidden_size of config.json; {RESAVE}"
        )
    );
    let flat = Checkpoint::copy().tensor("classifier.weight", |tensor| tensor.shape = vec![1_152]);
    assert_eq!(
        flat.message(),
        format!(
            "DIR/model.safetensors: tensor classifier.weight has shape [1152], expected [3, 384] by id2label and hidden_size \
             of config.json; {RESAVE}"
        )
    );
    let double = Checkpoint::copy().tensor("classifier.bias", |tensor| {
        tensor.dtype = Dtype::F64;
        tensor.data = vec![0; 24];
    });
    assert_eq!(
        double.message(),
        format!("DIR/model.safetensors: tensor classifier.bias has type F64, expected F32, F16 or BF16; {RESAVE}")
    );
}

#[test]
fn weights_that_are_not_numbers() {
    let name = "bert.encoder.layer.2.output.dense.weight";
    let checkpoint = Checkpoint::copy().tensor(name, |tensor| {
        tensor.data[20..22].copy_from_slice(&half::f16::NAN.to_le_bytes());
        tensor.data[400..402].copy_from_slice(&half::f16::NEG_INFINITY.to_le_bytes());
    });
    assert_eq!(
        checkpoint.message(),
        format!(
            "DIR/model.safetensors: tensor {name} has 2 values that are NaN or infinite, the first at position 10; the weights \
             are damaged: copy or download them again"
        )
    );
}

#[test]
fn weights_that_overflow_name_the_text() {
    let checkpoint = Checkpoint::copy().tensor("classifier.weight", |tensor| {
        tensor.dtype = Dtype::F32;
        tensor.data = 3e38_f32.to_le_bytes().repeat(1_152);
    });
    let model = open(&checkpoint.path);
    let error = model.classify(&[None, Some("what a day")]).unwrap_err();
    assert!(matches!(&error, ModelError::NotFinite { text: 1, label, .. } if label == "negative"), "{error}");
}

#[test]
fn tokenizers_that_do_not_fit() {
    let cut = Checkpoint::copy().write("tokenizer.json", "{\"version\": ");
    assert_eq!(
        cut.message(),
        format!(
            "DIR/tokenizer.json: not a tokenizer of the `tokenizers` library: EOF while parsing a value at line 1 column 12; \
             {RESAVE_TOKENIZER}"
        )
    );
    let larger =
        Checkpoint::copy().edit("tokenizer.json", |tokenizer| tokenizer["model"]["vocab"]["##zzyzx"] = 12_288.into());
    assert_eq!(
        larger.message(),
        "DIR/tokenizer.json: token \"##zzyzx\" has id 12288, but the model has embeddings for 12288 ids (`vocab_size` in \
         config.json); tokenizer and weights are of different models"
    );
    let bare = Checkpoint::copy().edit("tokenizer.json", |tokenizer| tokenizer["post_processor"] = Value::Null);
    assert_eq!(
        bare.message(),
        format!(
            "DIR/tokenizer.json: adds no special tokens, expected a `post_processor` that adds one before and one after \
             the text ([CLS] and [SEP], or <s> and </s>); {RESAVE_TOKENIZER}"
        )
    );
    let typed = Checkpoint::copy().edit("tokenizer.json", |tokenizer| {
        tokenizer["post_processor"]["single"][1]["Sequence"]["type_id"] = 2.into();
    });
    assert_eq!(
        typed.message(),
        format!(
            "DIR/tokenizer.json: gives token type 2, expected less than `type_vocab_size` in config.json (2); {RESAVE_TOKENIZER}"
        )
    );
    let short = Checkpoint::copy().key("max_position_embeddings", 2);
    assert_eq!(
        short.message(),
        format!(
            "DIR/tokenizer.json: adds 2 special tokens, but the model takes 2 tokens by `max_position_embeddings` in \
             config.json; {RESAVE_TOKENIZER}"
        )
    );
}
