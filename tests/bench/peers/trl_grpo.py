"""Times TRL's GRPOTrainer on the bench's GRPO step; prints one JSON object.

usage: trl_grpo.py MODEL_DIR TEXT_FILE STEPS     (needs: pip install torch transformers trl datasets)
Same work as the row `grpo.step_seconds`: 8 prompts x 8 samples x 48 new tokens, reward " happy", KL beta 0.1,
AdamW at 3e-4, float32, two threads.
"""

import json
import os
import statistics
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
import torch
import transformers
import trl
from datasets import Dataset

from prompts import story_prompts

torch.set_num_threads(2)
model_dir, text_file, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])


class StepClock(transformers.TrainerCallback):
    """Seconds from one step's begin to the next one's: generation, scoring and update together."""

    def __init__(self):
        self.marks = []

    def on_step_begin(self, *_, **__):
        self.marks.append(time.perf_counter())

    def on_train_end(self, *_, **__):
        self.marks.append(time.perf_counter())


def happy(completions, **_):
    return [1.0 if " happy" in text else 0.0 for text in completions]


clock = StepClock()
settings = trl.GRPOConfig(
    output_dir=tempfile.mkdtemp(),
    per_device_train_batch_size=64,
    num_generations=8,
    max_completion_length=48,
    learning_rate=3e-4,
    beta=0.1,
    max_steps=steps,
    logging_steps=1,
    save_strategy="no",
    report_to=[],
    use_cpu=True,
    bf16=False,
    fp16=False,
    gradient_checkpointing=False,
    lr_scheduler_type="constant",
    seed=0,
)
trainer = trl.GRPOTrainer(
    model=transformers.AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32),
    reward_funcs=happy,
    args=settings,
    train_dataset=Dataset.from_dict({"prompt": story_prompts(text_file) * 20}),
    processing_class=transformers.AutoTokenizer.from_pretrained(model_dir),
    callbacks=[clock],
)
trainer.train()
seconds = [after - before for before, after in zip(clock.marks, clock.marks[1:])]
rewards = [entry["reward"] for entry in trainer.state.log_history if "reward" in entry]
print(json.dumps({"peer": f"trl {trl.__version__}", "step_seconds": statistics.median(seconds[1:]), "rewards": rewards}))
