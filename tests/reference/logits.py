"""Reference logits of the built-in classifier, computed with Hugging Face transformers.

Writes builtin-logits.json beside this file: the texts below and the logits that transformers computes for them in
float32, one text at a time, without padding. The Rust tests of stages/classify compare themselves with that file.

    python3 -m venv /tmp/reference
    /tmp/reference/bin/pip install torch transformers
    /tmp/reference/bin/python tests/reference/logits.py [MODEL_DIRECTORY [OUTPUT_FILE]]
"""

import json
import random
import sys
from pathlib import Path

import torch
import transformers
from transformers import BertForSequenceClassification, PreTrainedTokenizerFast

HERE = Path(__file__).resolve().parent
MODEL = HERE.parents[1] / "stages" / "classify" / "model"
OUTPUT = HERE / "builtin-logits.json"

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


def main():
    model_directory = Path(sys.argv[1]) if len(sys.argv) > 1 else MODEL
    output = Path(sys.argv[2]) if len(sys.argv) > 2 else OUTPUT
    model = BertForSequenceClassification.from_pretrained(model_directory, dtype=torch.float32).eval()
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(model_directory / "tokenizer.json"))
    cases = []
    with torch.no_grad():
        for text in EDGES + list(tweets(200 - len(EDGES))):
            tokens = tokenizer(text, truncation=True, max_length=model.config.max_position_embeddings, return_tensors="pt")
            logits = model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).logits[0]
            cases.append({"text": text, "logits": [round(value, 6) for value in logits.tolist()]})
    head = {
        "transformers": transformers.__version__,
        "torch": torch.__version__.split("+")[0],
        "model": "tweet-sentiment-mini" if model_directory == MODEL else model_directory.name,
    }
    lines = ",\n".join(json.dumps(case) for case in cases)
    output.write_text(json.dumps(head)[:-1] + ', "cases": [\n' + lines + "\n]}\n")
    print(f"{len(cases)} cases, {output}")


if __name__ == "__main__":
    main()
