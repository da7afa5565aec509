"""Times a hand-written PyTorch GRPO loop on the bench's step; prints one JSON object.

usage: pytorch_grpo.py MODEL_DIR TEXT_FILE STEPS     (needs: pip install torch transformers)
What an engineer who knows PyTorch writes for speed on a CPU: a static key/value cache, fused AdamW, one forward and
backward a step, nothing computed twice. Same work as the row `grpo.step_seconds`.
"""

import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F
import transformers

from prompts import story_prompts

PROMPTS, GROUP, NEW_TOKENS, PROMPT_TOKENS, BETA = 8, 8, 48, 40, 0.1
torch.set_num_threads(2)
model_dir, text_file, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])

tokenizer = transformers.AutoTokenizer.from_pretrained(model_dir)
source = transformers.AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
config = source.config
LAYERS, HEADS, KV, WIDTH = config.num_hidden_layers, config.num_attention_heads, config.num_key_value_heads, config.hidden_size
HEAD = WIDTH // HEADS
frozen = {name: value.detach().clone() for name, value in source.state_dict().items() if name != "lm_head.weight"}
weights = {name: torch.nn.Parameter(value.clone()) for name, value in frozen.items()}
EMBED = "model.embed_tokens.weight"

LENGTH = PROMPT_TOKENS + NEW_TOKENS
angle = torch.outer(torch.arange(LENGTH).float(), 10000 ** (-torch.arange(0, HEAD, 2) / HEAD)).repeat(1, 2)
COS, SIN = angle.cos(), angle.sin()


def rotate(x, cos, sin):
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin


def hidden(w, ids, position, mask, cache=None, at=0):
    rows, length = ids.shape
    x = F.embedding(ids, w[EMBED])
    cos, sin = COS[position][:, None], SIN[position][:, None]
    for layer in range(LAYERS):
        name = f"model.layers.{layer}."
        normed = F.rms_norm(x, (WIDTH,), w[name + "input_layernorm.weight"], config.rms_norm_eps)
        split = lambda kind, heads: F.linear(normed, w[f"{name}self_attn.{kind}_proj.weight"]).view(rows, length, heads, HEAD).transpose(1, 2)
        q, k, v = rotate(split("q", HEADS), cos, sin), rotate(split("k", KV), cos, sin), split("v", KV)
        if cache is not None:
            keys, values = cache[layer]
            keys[:, :, at : at + length], values[:, :, at : at + length] = k, v
            k, v = keys[:, :, : at + length], values[:, :, : at + length]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
        x = x + F.linear(mixed.transpose(1, 2).reshape(rows, length, WIDTH), w[name + "self_attn.o_proj.weight"])
        normed = F.rms_norm(x, (WIDTH,), w[name + "post_attention_layernorm.weight"], config.rms_norm_eps)
        gate, up = F.linear(normed, w[name + "mlp.gate_proj.weight"]), F.linear(normed, w[name + "mlp.up_proj.weight"])
        x = x + F.linear(F.silu(gate) * up, w[name + "mlp.down_proj.weight"])
    return F.rms_norm(x, (WIDTH,), w["model.norm.weight"], config.rms_norm_eps)


def sample(ids, position, mask):
    cache = [[torch.zeros(len(ids), KV, LENGTH, HEAD) for _ in "kv"] for _ in range(LAYERS)]
    last = hidden(weights, ids[:, :PROMPT_TOKENS], position[:, :PROMPT_TOKENS], mask[:, :, :PROMPT_TOKENS, :PROMPT_TOKENS], cache)[:, -1]
    for at in range(PROMPT_TOKENS, LENGTH):
        ids[:, at] = torch.multinomial((last @ weights[EMBED].T).softmax(-1), 1)[:, 0]
        if at < LENGTH - 1:
            step = slice(at, at + 1)
            last = hidden(weights, ids[:, step], position[:, step], mask[:, :, step, : at + 1], cache, at)[:, 0]


def completion_logprobs(w, ids, position, mask):
    logits = hidden(w, ids, position, mask)[:, PROMPT_TOKENS - 1 : -1] @ w[EMBED].T
    return logits.log_softmax(-1).gather(-1, ids[:, PROMPT_TOKENS:, None])[..., 0]


optimizer = torch.optim.AdamW(weights.values(), lr=3e-4, fused=True, weight_decay=0)
prompts = story_prompts(text_file)
generation, training, rewards = [], [], []
for step in range(steps):
    started = time.perf_counter()
    encoded = [tokenizer.encode(prompts[(step * PROMPTS + i) % len(prompts)])[-PROMPT_TOKENS:] for i in range(PROMPTS)]
    ids = torch.zeros(PROMPTS, LENGTH, dtype=torch.long)
    for row, tokens in enumerate(encoded):
        ids[row, PROMPT_TOKENS - len(tokens) : PROMPT_TOKENS] = torch.tensor(tokens)
    ids = ids.repeat_interleave(GROUP, 0)
    start = torch.tensor([PROMPT_TOKENS - len(tokens) for tokens in encoded]).repeat_interleave(GROUP)[:, None]
    position = (torch.arange(LENGTH)[None] - start).clamp(min=0)
    real = torch.arange(LENGTH)[None] >= start
    causal = torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril()
    mask = (causal & real[:, None, None, :]) | torch.eye(LENGTH, dtype=torch.bool)
    with torch.inference_mode():
        sample(ids, position, mask)
    sampled = time.perf_counter()
    reward = torch.tensor([float(" happy" in text) for text in tokenizer.batch_decode(ids[:, PROMPT_TOKENS:])])
    groups = reward.view(PROMPTS, GROUP)
    advantage = ((groups - groups.mean(1, True)) / (groups.std(1, keepdim=True) + 1e-6)).view(-1, 1)
    with torch.no_grad():
        reference = completion_logprobs(frozen, ids, position, mask)
    logprobs = completion_logprobs(weights, ids, position, mask)
    gap = reference - logprobs
    loss = (BETA * (gap.exp() - gap - 1) - (logprobs - logprobs.detach()).exp() * advantage).mean()
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
    optimizer.step()
    generation.append(sampled - started)
    training.append(time.perf_counter() - sampled)
    rewards.append(reward.mean().item())

total = statistics.median(a + b for a, b in zip(generation, training))
print(json.dumps({
    "peer": f"torch {torch.__version__}",
    "step_seconds": total,
    "generation_seconds": statistics.median(generation),
    "training_seconds": statistics.median(training),
    "tokens_per_second": PROMPTS * GROUP * NEW_TOKENS / statistics.median(generation),
    "rewards": rewards,
}))
