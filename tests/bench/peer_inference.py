"""A peer of tests/bench/inference: ENGINE MODEL_DIRECTORY WORK_DIRECTORY THREADS.

Engines: onnxruntime (float32), onnxruntime-int8 (dynamic), pytorch. Answers one JSON object a line, see
stages/classify/examples/inference.rs. Texts are computed in batches of 32 as they come, padded to the longest.
"""
import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np

warnings.filterwarnings("ignore")
BATCH = 32


def session(name: str, model: Path, work: Path, threads: int):
    """ONNX Runtime over the exported model, fused as its own optimizer for transformers does it."""
    import onnxruntime as ort

    file = export(model, work)
    if name == "onnxruntime-int8":
        from onnxruntime.quantization import QuantType, quantize_dynamic

        plain, file = file, work / "int8.onnx"
        if not file.exists():
            quantize_dynamic(plain, work / "int8.partial", weight_type=QuantType.QInt8, per_channel=True,
                             extra_options={"DefaultTensorType": 1})  # float, for the fused operators
            (work / "int8.partial").rename(file)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads would be counted as work.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    running = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return lambda ids, mask: running.run(None, {"ids": ids, "mask": mask})[0]


def export(model: Path, work: Path) -> Path:
    """The model as ONNX, with the fused operators of onnxruntime.transformers; made once."""
    file = work / "fused.onnx"
    if file.exists():
        return file
    import torch
    from onnxruntime.transformers import optimizer
    from transformers import AutoModelForSequenceClassification

    network = AutoModelForSequenceClassification.from_pretrained(
        model, dtype=torch.float32, attn_implementation="eager").eval()

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, ids, mask):
            return self.network(input_ids=ids, attention_mask=mask).logits

    ids = torch.ones((2, 8), dtype=torch.int64)
    axes = {0: "batch", 1: "width"}
    torch.onnx.export(
        Logits(), (ids, torch.ones_like(ids)), work / "plain.onnx", input_names=["ids", "mask"], output_names=["logits"],
        dynamic_axes={"ids": axes, "mask": axes, "logits": {0: "batch"}}, opset_version=17, dynamo=False)
    config = network.config
    heads = getattr(config, "num_attention_heads", None) or config.n_heads
    hidden = getattr(config, "hidden_size", None) or config.dim
    fused = optimizer.optimize_model(str(work / "plain.onnx"), model_type="bert", num_heads=heads, hidden_size=hidden,
                                     opt_level=1)
    print({k: v for k, v in fused.get_fused_operator_statistics().items() if v}, file=sys.stderr)
    fused.save_model_to_file(str(work / "partial.onnx"))
    (work / "partial.onnx").rename(file)
    return file


def network(model: Path, threads: int):
    """PyTorch with its fused attention."""
    import torch
    from transformers import AutoModelForSequenceClassification

    torch.set_num_threads(threads)
    running = AutoModelForSequenceClassification.from_pretrained(
        model, dtype=torch.float32, attn_implementation="sdpa").eval()

    def run(ids, mask):
        with torch.inference_mode():
            return running(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).logits.numpy()

    return run


def main() -> None:
    name, model, work, threads = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    config = json.loads((model / "config.json").read_text())
    longest = config["max_position_embeddings"] - (2 if "roberta" in config["model_type"] else 0)
    tokenizer.enable_truncation(longest)
    tokenizer.enable_padding(pad_id=config.get("pad_token_id") or 0)
    run = network(model, threads) if name == "pytorch" else session(name, model, work, threads)
    print(json.dumps({"ready": name}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        if "texts" in asked:
            texts, labels, tokens = asked["texts"], [], 0
            for at in range(0, len(texts), BATCH):
                encoded = tokenizer.encode_batch_fast(texts[at:at + BATCH])
                ids = np.array([e.ids for e in encoded], dtype=np.int64)
                mask = np.array([e.attention_mask for e in encoded], dtype=np.int64)
                labels += run(ids, mask).argmax(axis=1).tolist()
                tokens += ids.size
            print(json.dumps({"labels": labels, "computed": len(texts), "tokens": tokens}), flush=True)
        else:
            ids = np.array(asked["ids"], dtype=np.int64)
            mask, runs, started = np.ones_like(ids), 0, time.perf_counter()
            while True:
                logits = run(ids, mask)
                runs += 1
                seconds = time.perf_counter() - started
                if seconds >= asked["seconds"]:
                    break
            print(json.dumps({"runs": runs, "seconds": seconds, "logits": logits.tolist()}), flush=True)


if __name__ == "__main__":
    main()
