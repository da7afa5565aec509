"""Loads model folders that Oarlock wrote in transformers and compares logits, or a reward model's scores, with Oarlock's own.

    python tests/interop/check_transformers.py FOLDER [FOLDER ...]

Needs torch and transformers (CPU is enough) and an installed checkout (`npm ci`). Prints one line a folder; fails where
a weight is missing or left over, or numbers differ by more than 1e-3. docs/interop.md records the results.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

ROOT = Path(__file__).resolve().parents[2]
TEXTS = [
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park.",
    "One day, a big dog named Max found a red ball near the river and he was very happy.",
]
TOLERANCE = 1e-3


def ours(folder: str, ids: list[list[int]], shape: tuple[int, ...]) -> np.ndarray:
    command = ["npx", "tsx", "--conditions=@oarlock/source", "tests/interop/logits.ts", str(Path(folder).resolve())]
    done = subprocess.run(command, input=json.dumps(ids).encode(), capture_output=True, cwd=ROOT, check=False)
    if done.returncode != 0:
        sys.exit(done.stderr.decode())
    return np.frombuffer(done.stdout, np.float32).reshape(shape)


def check(folder: str) -> bool:
    [architecture] = AutoConfig.from_pretrained(folder).architectures
    scores = architecture.endswith("ForSequenceClassification")
    kind = AutoModelForSequenceClassification if scores else AutoModelForCausalLM
    model, info = kind.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = [tokenizer(text)["input_ids"] for text in TEXTS]
    length = min(map(len, rows))
    ids = [row[:length] for row in rows]
    with torch.no_grad():
        # A reward model reads its score at the last token that is no padding; one row at a time has none.
        theirs = torch.cat([model(torch.tensor([row])).logits.float() for row in ids]).numpy()
    logits = ours(folder, ids, theirs.shape)
    difference = float(np.abs(theirs - logits).max())
    wrong = {name: sorted(keys) for name, keys in info.items() if keys}
    same_token = bool((theirs.argmax(-1) == logits.argmax(-1)).all())
    print(
        f"{folder}: max |logit difference| {difference:.2e} of max |logit| {np.abs(theirs).max():.1f}, "
        f"same likeliest tokens: {same_token}, loading: {wrong or 'clean'}"
    )
    return difference <= TOLERANCE and not wrong


if __name__ == "__main__":
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    if not all([check(folder) for folder in sys.argv[1:]]):
        sys.exit(1)
