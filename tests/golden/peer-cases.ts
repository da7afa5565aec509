/**
 * What is held against the loss functions of other libraries: their function with its settings and tensors, and beside it our
 * reference form in float64 and the nodes of our training graph. A case whose difference is more than rounding says why.
 */
import {
  bradleyTerryLoss,
  criticLoss,
  generalisedAdvantages,
  groupAdvantages,
  initialNormals,
  type KlPenalty,
  nextKlCoefficient,
  pairLoss,
  sftLoss,
  tokenRewards,
  valueLoss,
  whiten,
} from "@oarlock/rl";
import { completions, tensorsOf } from "./peer-batch.ts";
import { batch, inputsOf, type PeerCase, SEED, sum, weightsOf } from "./peer-case.ts";
import { policyCases } from "./peer-policies.ts";

/** The critic's loss; `clip` 0: none. */
function valueCase(clip: number): PeerCase {
  const { values, oldValues, returns } = batch;
  const weight = weightsOf(batch, "token-mean-global");
  const feeds = { values, returns, weight, ...(clip > 0 ? { oldValues } : {}) };
  const { graph, input } = inputsOf(feeds);
  const variable = input("values");
  const old = clip > 0 ? input("oldValues") : variable;
  const { loss } = criticLoss(
    { values: variable, oldValues: old, returns: input("returns"), weight: input("weight") },
    clip,
  );
  const reference = sum(weight, (one, i) => {
    const token = { value: values[i] ?? 0, oldValue: oldValues[i] ?? 0, return: returns[i] ?? 0 };
    return one * valueLoss(token, clip);
  });
  return {
    library: "openrlhf",
    name: clip > 0 ? `ValueLoss, clip ${clip}` : "ValueLoss, no clip",
    call: "value",
    settings: clip > 0 ? { clip_eps: clip } : {},
    tensors: tensorsOf(batch, ["values", "oldValues", "returns", "mask"]),
    variable: "values",
    reference: [reference],
    graph: { graph, loss, variable, feeds },
  };
}

function sftCase(): PeerCase {
  const { logprobs } = batch;
  const weight = weightsOf(batch, "token-mean-global");
  const feeds = { logprobs, weight };
  const { graph, input } = inputsOf(feeds);
  const variable = input("logprobs");
  return {
    library: "openrlhf",
    name: "SFTLoss",
    call: "sft",
    settings: {},
    tensors: tensorsOf(batch, ["logprobs", "mask"]),
    variable: "logprobs",
    reference: [sum(weight, (one, i) => -one * (logprobs[i] ?? 0))],
    graph: { graph, loss: sftLoss({ logprobs: variable, weight: input("weight") }), variable, feeds },
  };
}

const PAIRS = 16;
/** Bradley–Terry over pairs with margins; `scores` are [2P], the preferred one of a pair first. */
function pairCase(library: PeerCase["library"], name: string, centering: number): PeerCase {
  const scores = initialNormals(SEED, 20, 2 * PAIRS).map((one) => 2 * one);
  const margins = initialNormals(SEED, 21, PAIRS).map(Math.abs);
  const preferred = scores.filter((_, i) => i % 2 === 0);
  const rejected = scores.filter((_, i) => i % 2 === 1);
  const feeds = { preferred, rejected, margins, weight: new Float32Array(PAIRS).fill(1 / PAIRS) };
  const { graph, input } = inputsOf(feeds);
  const variable = input("preferred");
  const weight = input("weight");
  const sides = { preferred: variable, rejected: input("rejected"), margin: input("margins"), weight };
  const { loss } = pairLoss(sides, centering);
  const reference = sum(margins, (margin, i) =>
    bradleyTerryLoss(preferred[i] ?? 0, rejected[i] ?? 0, { margin, centering }),
  );
  return {
    library,
    name,
    call: "pairs",
    settings: { centering },
    tensors: {
      preferred: { shape: [PAIRS], data: preferred },
      rejected: { shape: [PAIRS], data: rejected },
      margins: { shape: [PAIRS], data: margins },
    },
    variable: "preferred",
    reference: [reference / PAIRS],
    graph: { graph, loss, variable, feeds },
  };
}

const GROUP = 4;
const BETA = 0.05;
const GAE = { gamma: 0.99, lambda: 0.95 };
const REWARD_CLIP = 1;
const rewards = initialNormals(SEED, 30, batch.rows).map((one) => 2 * one);

/** What `compute_advantages_and_returns` leaves of a batch, beside ours: the reference forms alone make it. */
function advantageCases(): PeerCase[] {
  const kl: KlPenalty = { estimator: "k1", coefficient: BETA };
  const references = completions(batch, batch.refLogprobs);
  const values = completions(batch, batch.values);
  const found = completions(batch, batch.oldLogprobs).map((old, row) => {
    const gaps = old.map((one, t) => one - (references[row]?.[t] ?? 0));
    const tokens = tokenRewards(rewards[row] ?? 0, gaps, { kl, clip: REWARD_CLIP });
    return generalisedAdvantages(tokens, values[row] ?? [], GAE);
  });
  const whitened = whiten(found.flatMap(({ advantages }) => [...advantages]));
  const grouped = (name: "grpo" | "dr-grpo"): number[] =>
    Array.from({ length: batch.rows / GROUP }, (_, group) =>
      groupAdvantages(name, Array.from(rewards.slice(group * GROUP, (group + 1) * GROUP))).map(
        (one) => one ?? Number.NaN,
      ),
    ).flat();
  const ofTokens = (perRow: readonly number[]): number[] =>
    perRow.flatMap((one, row) => Array.from({ length: batch.lengths[row] ?? 0 }, () => one));
  const gae = {
    advantage: "gae",
    estimator: "k1",
    beta: BETA,
    groupSize: 1,
    rewardClip: REWARD_CLIP,
    ...GAE,
  };
  const group = { ...gae, beta: 0, gamma: 1, groupSize: GROUP, rewardClip: 10, part: "advantages" };
  const rows: readonly Pick<PeerCase, "name" | "settings" | "reference" | "reason">[] = [
    {
      name: "compute_advantages_and_returns: returns of PPO, KL k1 in the reward",
      settings: { ...gae, part: "returns" },
      reference: found.flatMap(({ returns }) => [...returns]),
    },
    {
      name: "compute_advantages_and_returns: whitened advantages of PPO",
      settings: { ...gae, part: "advantages" },
      reference: [...whitened],
      reason: "OpenRLHF divides the variance by n, we by n − 1 as verl does",
    },
    {
      name: "compute_advantages_and_returns: group_norm",
      settings: { ...group, advantage: "group_norm" },
      reference: ofTokens(grouped("grpo")),
      reason: "OpenRLHF adds 1e-9 to a group's deviation, we 1e-6 as verl does",
    },
    {
      name: "compute_advantages_and_returns: dr_grpo",
      settings: { ...group, advantage: "dr_grpo" },
      reference: ofTokens(grouped("dr-grpo")),
    },
  ];
  const tensors = {
    ...tensorsOf(batch, ["oldLogprobs", "refLogprobs", "values", "mask"]),
    rewards: { shape: [batch.rows], data: rewards },
  };
  return rows.map((row) => ({ ...row, library: "openrlhf", call: "advantages", tensors }));
}

function controllerCase(): PeerCase {
  const kl = initialNormals(SEED, 40, 12).map((one) => Math.abs(6 + 4 * one));
  const adaptive = { type: "adaptive", target: 6, horizon: 10_000 } as const;
  let beta = 0.2;
  const reference = Array.from(
    kl,
    (one) => (beta = nextKlCoefficient(beta, adaptive, { kl: one, samples: 256 })),
  );
  return {
    library: "openrlhf",
    name: "AdaptiveKLController, 12 steps",
    call: "klController",
    settings: { beta: 0.2, target: 6, horizon: 10_000, samples: 256 },
    tensors: { kl: { shape: [kl.length], data: kl } },
    reference,
  };
}

export const peerCases: readonly PeerCase[] = [
  ...policyCases,
  valueCase(0.2),
  valueCase(0),
  ...advantageCases(),
  controllerCase(),
  pairCase("openrlhf", "PairWiseLoss, margins", 0),
  sftCase(),
  pairCase("trl", "RewardTrainer, margins, centring 0.01", 0.01),
];
