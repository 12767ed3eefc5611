"""What Hugging Face transformers says: checkpoints, texts, and the logits that it computes for them.

    python tests/reference/checkpoints.py OUTPUT_DIRECTORY

For each architecture a small checkpoint with random weights (seeded), as `save_pretrained` writes it, and beside it the
reference: `logits.json`, computed in float32. For the built-in model only the reference. The texts are in `texts.json`.
Texts of the same number of tokens are computed together, so that nothing is padded.

Needs the packages of requirements.txt.
"""
import json
import random
import sys
import warnings
from collections import defaultdict
from pathlib import Path

import torch
import transformers as t

HERE = Path(__file__).resolve().parent
BUILTIN = HERE.parents[1] / "stages" / "classify" / "model"
COUNT = 1000

EDGES = [
    "",
    " ",
    "\n\t  \r\n",
    "a",
    ".",
    "\U0001f600",
    "\U0001f600\U0001f600\U0001f622 \u2764\ufe0f",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 at the zoo \U0001f1eb\U0001f1f7",
    "@",
    "#",
    "@user",
    "@user @user @user",
    "http://t.co/abc123",
    "see https://example.com/a/b?c=d&e=f#g now, please!",
    "#MondayMotivation #nofilter",
    "RT @user: this is GREAT news!!! http://t.co/xyz #win",
    "caf\u00e9 na\u00efve r\u00e9sum\u00e9 \u00e0 la carte",
    "cafe\u0301 nai\u0308ve with combining marks",
    "stra\u00dfe \u0130stanbul \ufb01ne \u01c5ungla",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645",
    "\u202eright to left override\u202c and back",
    "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd, it is a good day",
    "\u6211\u5f88\u9ad8\u5174 today",
    "\u304a\u306f\u3088\u3046\u3054\u3056\u3044\u307e\u3059",
    "\ud55c\uad6d\uc5b4 \ud14d\uc2a4\ud2b8",
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e",
    "null \x00 byte",
    "bell \x07 escape \x1b[31mred\x1b[0m delete \x7f",
    "\x01\x02\x03\x04",
    "zero\u200bwidth\u200cjoiner\u200d and \ufeffbyte order mark",
    "replacement \ufffd character",
    "non\u00a0breaking\u2003em\u2009thin spaces",
    "[CLS] is not a token here [SEP] [PAD] [MASK] [UNK]",
    "<s> nor is this </s> <pad> <pad> a <unk> <mask> b",
    "\u201ccurly\u201d \u2018quotes\u2019 \u2014 dash \u2026 dots",
    "100% of 3.14159 and $5,000,000.00 or 1e-12",
    "&lt;b&gt;html&lt;/b&gt; &amp; <i>tags</i>",
    "\\u00e9 and \\n are not escapes",
    "C:\\Users\\name\\file.txt ~/home/$USER",
    "x" * 99,
    "x" * 101,
    "x" * 5000,
    "good " * 1000,
    "bad. " * 126,
    "hate " * 125,
    "hate " * 126,
    "hate " * 127,
    "hate " * 128,
    "".join(chr(0x20 + i % 0x5F) for i in range(5000)),
    "\U0001f600" * 5000,
    "\u0627\u0644\u0633\u0644\u0627\u0645 " * 700,
    "I love it :) :( :D <3 ;-)",
    "sooooooo goooooood",
    "NOT GOOD. NOT BAD. JUST NOT.",
    "this is bad",
    "this is fine",
    "this is wonderful",
]

OPENINGS = ["@user", "RT @user:", "ugh,", "omg", "BREAKING:", "Good morning", "so", "honestly", "@user @user", "lol"]
SUBJECTS = ["my phone", "the new album", "this game", "Monday", "the train", "our team", "the movie", "that speech"]
VERBS = ["is", "was", "makes me feel", "may be", "will never be", "has always been", "isn't", "sounds"]
JUDGEMENTS = ["great", "terrible", "so boring", "the best thing ever", "ok I guess", "a total disaster", "lovely", "late"]
TAILS = ["!!!", "...", " #fail", " #blessed", " http://t.co/a1B2c3", " \U0001f602\U0001f602", " ?", " tomorrow at 7pm", ""]
WORDS = (
    "the a to and you it in of for on my that at with me do have just this be so are not was out up what now we all "
    "may going see day tomorrow night sun time get like back game new can one good from will his but its they if"
).split()


def tweets(count):
    """`count` tweet-like texts, from three words to beyond the model's maximum, the same in every run."""
    rng = random.Random(20261)
    for number in range(count):
        parts = [rng.choice(OPENINGS), rng.choice(SUBJECTS), rng.choice(VERBS), rng.choice(JUDGEMENTS)]
        filler = [0, 0, 3, 8, 15, 30, 60, 110, 160][number % 9]
        parts += [rng.choice(WORDS) for _ in range(filler)]
        yield " ".join(parts[number % 2 :]) + rng.choice(TAILS)


LABELS = ["negative", "neutral", "positive"]
SIZES = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 80}
DISTILBERT_SIZES = {"dim": 40, "n_layers": 3, "n_heads": 4, "hidden_dim": 100}


def labels(names):
    return {"id2label": dict(enumerate(names)), "label2id": {name: number for number, name in enumerate(names)}}


# Name of the directory: tokenizer, configuration, model, what is special about it, arguments of `save_pretrained`.
CHECKPOINTS = {
    "bert": (t.BertTokenizer, t.BertConfig, t.BertForSequenceClassification,
             SIZES | {"max_position_embeddings": 96} | labels(LABELS), {}),
    "bert-tanh-sharded-bfloat16": (t.BertTokenizer, t.BertConfig, t.BertForSequenceClassification,
             SIZES | {"max_position_embeddings": 40, "hidden_act": "gelu_new", "layer_norm_eps": 1e-3},
             {"max_shard_size": "60KB", "dtype": torch.bfloat16}),
    "roberta": (t.RobertaTokenizer, t.RobertaConfig, t.RobertaForSequenceClassification,
             SIZES | {"max_position_embeddings": 130, "type_vocab_size": 1, "layer_norm_eps": 1e-5} | labels(LABELS), {}),
    "xlm-roberta-float16": (t.XLMRobertaTokenizer, t.XLMRobertaConfig, t.XLMRobertaForSequenceClassification,
             SIZES | {"max_position_embeddings": 66, "type_vocab_size": 1} | labels(LABELS), {"dtype": torch.float16}),
    "distilbert-multi-label": (t.DistilBertTokenizer, t.DistilBertConfig, t.DistilBertForSequenceClassification,
             DISTILBERT_SIZES | {"max_position_embeddings": 64, "problem_type": "multi_label_classification"}
             | labels(["joy", "anger", "fear", "trust", "surprise"]), {}),
    "distilbert-relu": (t.DistilBertTokenizer, t.DistilBertConfig, t.DistilBertForSequenceClassification,
             DISTILBERT_SIZES | {"max_position_embeddings": 64, "activation": "relu"}, {}),
}


def make(directory, texts, tokenizer, config, model, special, saving):
    """Writes a checkpoint with random weights, large enough that texts differ in their logits."""
    tokenizer = tokenizer().train_new_from_iterator(texts, 1200, show_progress=False)
    config = config(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **special)
    network = model(config)
    saving = dict(saving)
    dtype = saving.pop("dtype", torch.float32)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.normal_(1.0 if "orm.weight" in name else 0.0, 0.15)
    network.to(dtype).save_pretrained(directory, **saving)
    tokenizer.save_pretrained(directory)


def reference(directory, texts):
    """The logits of each text by the checkpoint as it lies there."""
    network = t.AutoModelForSequenceClassification.from_pretrained(directory, dtype=torch.float32).eval()
    tokenizer = t.AutoTokenizer.from_pretrained(directory)
    reserved = network.config.pad_token_id + 1 if "roberta" in network.config.model_type else 0
    longest = network.config.max_position_embeddings - reserved
    by_length, logits, truncated = defaultdict(list), [None] * len(texts), 0
    for number, text in enumerate(texts):
        ids = tokenizer(text, truncation=True, max_length=longest)["input_ids"]
        by_length[len(ids)].append((number, ids))
        truncated += len(tokenizer(text)["input_ids"]) > longest
    with torch.inference_mode():
        for group in by_length.values():
            ids = torch.tensor([ids for _, ids in group])
            for (number, _), row in zip(group, network(input_ids=ids, attention_mask=torch.ones_like(ids)).logits):
                logits[number] = row.tolist()
    return {"labels": [network.config.id2label[n] for n in range(network.config.num_labels)], "logits": logits,
            "truncated": truncated, "parameters": network.num_parameters()}


def main():
    warnings.filterwarnings("ignore")
    t.logging.set_verbosity_error()
    t.logging.disable_progress_bar()
    output = Path(sys.argv[1])
    output.mkdir(parents=True, exist_ok=True)
    texts = EDGES + list(tweets(COUNT - len(EDGES)))
    (output / "texts.json").write_text(json.dumps(texts))
    for name, recipe in CHECKPOINTS.items():
        torch.manual_seed(20261)
        make(output / name, texts, *recipe)
        (output / name / "logits.json").write_text(json.dumps(reference(output / name, texts)))
    (output / "builtin").mkdir(exist_ok=True)
    (output / "builtin" / "logits.json").write_text(json.dumps(reference(BUILTIN, texts)))


if __name__ == "__main__":
    main()
