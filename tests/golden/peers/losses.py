"""What the loss functions of OpenRLHF or TRL say of tensors that are read from standard input; prints one JSON object.

usage: losses.py openrlhf|trl < cases.json
needs: pip install torch; for OpenRLHF `pip install --no-deps openrlhf` (only its loss functions are loaded, by their
files: the whole package wants deepspeed, ray and vllm); for TRL `pip install trl transformers datasets accelerate`

A case is {"call", "settings", "tensors": {name: {"shape", "data"}}, "variable"}; the answer to one is {"values", "gradient"}:
the result's numbers, and where there is a variable the gradient of that result with respect to it.
"""

import collections
import contextlib
import importlib
import importlib.metadata
import importlib.util
import json
import sys
import types

import torch

torch.set_num_threads(1)


class Anything:
    """Stands for a class of a package that is not installed and that no loss function touches."""


def openrlhf_calls():
    """Its modules are loaded without the `__init__` files of their packages, which import every trainer."""
    folder = importlib.util.find_spec("openrlhf").submodule_search_locations[0]
    for package in ("", ".models", ".utils", ".trainer", ".trainer.ppo_utils", ".trainer.ray"):
        module = types.ModuleType(f"openrlhf{package}")
        module.__path__ = [folder + package.replace(".", "/")]
        sys.modules[module.__name__] = module
    for absent, names in (("deepspeed", ()), ("ray", ()), ("openrlhf.trainer.ray.launcher", ("RayActorGroup",))):
        module = types.ModuleType(absent)
        for name in names:
            setattr(module, name, Anything)
        sys.modules[absent] = module
    loss = importlib.import_module("openrlhf.models.loss")
    utils = importlib.import_module("openrlhf.models.utils")
    maker = importlib.import_module("openrlhf.trainer.ppo_utils.experience_maker")
    controllers = importlib.import_module("openrlhf.trainer.ppo_utils.kl_controller")

    def policy(settings, tensors):
        settings = dict(settings)
        kl = settings.pop("kl", None)
        found, *_ = loss.PolicyLoss(**settings)(
            tensors["logprobs"], tensors["oldLogprobs"], tensors["advantages"], tensors["mask"], tensors.get("rolloutLogprobs")
        )
        if kl is None:
            return found
        estimate = utils.compute_approx_kl(tensors["logprobs"], tensors["refLogprobs"], kl_estimator=kl["estimator"])
        return found + kl["coefficient"] * loss.aggregate_loss(estimate, tensors["mask"])  # as in ppo_actor.py

    def value(settings, tensors):
        return loss.ValueLoss(**settings)(tensors["values"], tensors["oldValues"], tensors["returns"], tensors["mask"])

    def sft(settings, tensors):
        return loss.SFTLoss(**settings)(tensors["logprobs"], tensors["mask"])

    def pairs(_, tensors):
        return loss.PairWiseLoss()(tensors["preferred"], tensors["rejected"], tensors["margins"])

    def advantages(settings, tensors):
        """`compute_advantages_and_returns` on one experience: the batch as the trainer would hand it in."""
        kl = torch.zeros_like(tensors["values"])
        if settings["beta"] > 0:
            kl = utils.compute_approx_kl(tensors["oldLogprobs"], tensors["refLogprobs"], kl_estimator=settings["estimator"])
        rows = len(tensors["rewards"])
        experience = types.SimpleNamespace(
            rewards=tensors["rewards"], index=list(range(rows)), info={}, kl=kl, action_mask=tensors["mask"],
            values=tensors["values"], response_length=tensors["mask"].sum(-1), truncated=None,
        )
        name = types.SimpleNamespace
        bound = settings["rewardClip"]
        args = name(
            rollout=name(n_samples_per_prompt=settings["groupSize"], max_new_tokens=None),
            algo=name(advantage=name(estimator=settings["advantage"], gamma=settings["gamma"], lambd=settings["lambda"], no_std_norm=False)),
            reward=name(clip_range=(-bound, bound), overlong_buffer_len=None, stop_properly_penalty_coef=None),
        )
        self = maker.RemoteExperienceMaker.__new__(maker.RemoteExperienceMaker)
        self.strategy, self.advantage_estimator = name(args=args), settings["advantage"]
        self.kl_ctl = name(value=settings["beta"])
        self.compute_advantages_and_returns([experience])
        return (getattr(experience, settings["part"]) * tensors["mask"]).flatten()

    def kl_controller(settings, tensors):
        controller = controllers.AdaptiveKLController(settings["beta"], settings["target"], settings["horizon"])
        values = []
        for kl in tensors["kl"].tolist():
            controller.update(kl, settings["samples"])
            values.append(controller.value)
        return torch.tensor(values, dtype=torch.float64)

    return {
        "policy": policy, "value": value, "sft": sft, "pairs": pairs, "advantages": advantages, "klController": kl_controller,
    }


def trl_calls():
    """`GRPOTrainer._compute_loss` and `RewardTrainer.compute_loss` on an object that has what they read, and no model."""
    from trl import GRPOTrainer, RewardTrainer

    class Accelerator:
        num_processes, sync_gradients = 1, True
        gather = gather_for_metrics = staticmethod(lambda tensor: tensor)
        reduce = staticmethod(lambda tensor, reduction: tensor)

    training = types.SimpleNamespace(training=True)

    def metrics():
        return {"train": collections.defaultdict(list)}

    def grpo(settings, tensors):
        mask, logprobs = tensors["mask"], tensors["logprobs"]
        self = types.SimpleNamespace(
            _get_per_token_logps_and_entropies=lambda *_, **__: (logprobs, torch.zeros_like(logprobs), None),
            model=training, accelerator=Accelerator(), _metrics=metrics(),
            aux_loss_enabled=False, top_entropy_quantile=1.0, off_policy_mask_threshold=None, use_vllm=False,
            importance_sampling_level="token", current_gradient_accumulation_steps=1, _entropy_bonus_enabled=False,
            loss_type=settings["lossType"], beta=settings["beta"], max_completion_length=settings.get("maxLength"),
            epsilon_low=settings["low"], epsilon_high=settings["high"],
            args=types.SimpleNamespace(delta=settings.get("delta"), use_bias_correction_kl=False, steps_per_generation=1),
        )
        ids = torch.zeros_like(mask, dtype=torch.long)
        return GRPOTrainer._compute_loss(self, None, {
            "prompt_ids": ids[:, :1], "prompt_mask": ids[:, :1], "completion_ids": ids, "completion_mask": mask,
            "advantages": tensors["advantages"], "old_per_token_logps": tensors["oldLogprobs"],
            "ref_per_token_logps": tensors["refLogprobs"], "num_items_in_batch": mask.sum(),
        })

    def pairs(settings, tensors):
        scores = torch.cat([tensors["preferred"], tensors["rejected"]]).unsqueeze(-1)
        self = types.SimpleNamespace(
            model=training, accelerator=Accelerator(), _metrics=metrics(), _total_train_tokens=0, _tp_size=1,
            args=types.SimpleNamespace(center_rewards_coefficient=settings["centering"]),
        )
        inputs = {"margin": tensors["margins"], "attention_mask": torch.ones(1)}
        return RewardTrainer.compute_loss(self, lambda **_: types.SimpleNamespace(logits=scores), inputs)

    return {"grpo": grpo, "pairs": pairs}


def answer(calls, case):
    tensors = {name: torch.tensor(one["data"], dtype=torch.float32).reshape(one["shape"]) for name, one in case["tensors"].items()}
    variable = case.get("variable")
    if variable is None:
        return {"values": calls[case["call"]](case["settings"], tensors).tolist(), "gradient": []}
    tensors[variable].requires_grad_(True)
    loss = calls[case["call"]](case["settings"], tensors)
    loss.backward()
    return {"values": [loss.item()], "gradient": tensors[variable].grad.flatten().tolist()}


library = sys.argv[1]
cases = json.load(sys.stdin)
with contextlib.redirect_stdout(sys.stderr):  # what a library says of itself is no part of the answer
    calls = {"openrlhf": openrlhf_calls, "trl": trl_calls}[library]()
    answers = [answer(calls, case) for case in cases]
    versions = {name: importlib.metadata.version(name) for name in (library, "torch")}
print(json.dumps({"versions": versions, "answers": answers}))
