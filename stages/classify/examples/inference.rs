//! Computes what tests/bench/inference asks for, as long as it asks: that script measures from outside.
//!
//! Arguments: a model directory and a precision. Reads one JSON object a line, and answers each with one:
//! `{"ids": [[..], ..], "seconds": S}` computes the sequences again and again for so long and gives how often, and the
//! logits; `{"texts": [..]}` classifies the texts in pieces of 1,024, as the stage does.

use std::io::{BufRead, Write, stdin, stdout};
use std::path::Path;
use std::time::{Duration, Instant};

use alluvium_classify::{Model, Options, Precision, Usage};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().ok_or("expected a model directory")?;
    let precision: Precision = serde_json::from_value(arguments.next().unwrap_or("float32".into()).into())?;
    let model = Model::open(Path::new(&directory), Options { precision, ..Options::default() })?;
    let say = |answer: Value| {
        let mut out = stdout().lock();
        writeln!(out, "{answer}").and_then(|()| out.flush())
    };
    say(json!({ "instructions": model.info.instructions }))?;
    for line in stdin().lock().lines() {
        let mut asked: Value = serde_json::from_str(&line?)?;
        if asked["texts"].is_array() {
            let texts: Vec<String> = serde_json::from_value(asked["texts"].take())?;
            let texts: Vec<Option<&str>> = texts.iter().map(|text| Some(text.as_str())).collect();
            let mut used = Usage::default();
            let mut labels = Vec::with_capacity(texts.len());
            for piece in texts.chunks(1_024) {
                let (predictions, usage) = model.classify(piece)?;
                labels.extend(predictions.into_iter().flatten().map(|prediction| prediction.label));
                used += usage;
            }
            say(json!({ "labels": labels, "computed": used.computed, "tokens": used.tokens,
                "tokenizing": used.tokenizing.as_secs_f64(), "computing": used.computing.as_secs_f64() }))?;
        } else {
            let sequences: Vec<Vec<u32>> = serde_json::from_value(asked["ids"].take())?;
            let limit = Duration::from_secs_f64(asked["seconds"].as_f64().unwrap_or(1.0));
            let started = Instant::now();
            let mut runs = 0;
            let logits = loop {
                let logits = model.forward(&sequences)?;
                runs += 1;
                if started.elapsed() >= limit {
                    break logits;
                }
            };
            say(json!({ "runs": runs, "seconds": started.elapsed().as_secs_f64(), "logits": logits }))?;
        }
    }
    Ok(())
}
