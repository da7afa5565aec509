/**
 * The golden vectors of objectives, checked one by one: our result beside the file's. Inputs come from the file too, so
 * any file of the same form can be checked (`OARLOCK_GOLDEN=FILE npm run golden`).
 */
import { gradients } from "@oarlock/autodiff";
import { createGraph, evaluate, type Graph, type Value } from "@oarlock/onnx";
import {
  type Aggregation,
  type CorrectionSettings,
  type ClipBounds,
  generalisedAdvantages,
  groupAdvantages,
  grpoLoss,
  importanceWeights,
  klEstimate,
  type KlEstimator,
  mismatchMetrics,
  nextKlCoefficient,
  passAtK,
  penalisedReward,
  policyRatio,
  surrogateLoss,
  tokenRewards,
  tokenWeights,
  whiten,
} from "@oarlock/rl";
import { flat, type GoldenCheck, type GoldenFile, type GoldenSequence } from "./file.ts";
import { preferenceChecks, valueChecks } from "./score-checks.ts";

/** L_max of the fixture (algorithms.md §7). */
const MAX_LENGTH = 16;
const CLIP: ClipBounds = { low: 0.2, high: 0.2 };

/** The checks of this file, family by family; entries that the file does not have are not checked. */
export function goldenChecks(file: GoldenFile): GoldenCheck[] {
  const { advantage, policy, preference, misc } = file;
  const checks = [
    ...(advantage ? advantageChecks(file) : []),
    ...(policy
      ? [...policyChecks(file), ...mismatchChecks(file), ...graphChecks(file), ...correctionChecks(file)]
      : []),
    ...(preference ? preferenceChecks(preference) : []),
    ...(misc ? miscChecks(file) : []),
  ];
  return checks.filter(({ expected }) => expected.length > 0);
}

function advantageChecks({ advantage }: GoldenFile): GoldenCheck[] {
  const { rewards } = advantage.input;
  const check = (key: string, name: "grpo" | "dr-grpo"): GoldenCheck => ({
    name: `advantage.${key}`,
    form: "reference",
    actual: flat(groupAdvantages(name, rewards)),
    expected: flat(advantage[key]),
  });
  return [
    check("grpo_ddof1_eps1e-6", "grpo"),
    check("dr_grpo", "dr-grpo"),
    ...whitened(advantage),
    ...gaeChecks(advantage),
    ...klInReward(advantage),
  ];
}

/** REINFORCE++ with a group baseline is R − mean, whitened over the tokens of the batch. */
function whitened({ input, ...entries }: GoldenFile["advantage"]): GoldenCheck[] {
  const key = "reinforcepp_baseline_ddof1_eps1e-8(verl,slime)";
  const { rewards } = input;
  const lengths = flat((input as { lengths?: unknown }).lengths);
  const mean = rewards.reduce((total, reward) => total + reward, 0) / rewards.length;
  const tokens = rewards.map((reward, i) => Array.from({ length: lengths[i] ?? 0 }, () => reward - mean));
  const all = whiten(tokens.flat());
  const firsts = lengths.map((_, i) => lengths.slice(0, i).reduce((total, length) => total + length, 0));
  const actual = firsts.map((first) => all[first] ?? Number.NaN);
  return [{ name: `advantage.${key}`, form: "reference", actual, expected: flat(entries[key]) }];
}

function gaeChecks({ gae }: GoldenFile["advantage"]): GoldenCheck[] {
  const entry = gae as ({ rewards: number[]; values: number[] } & Record<string, number[][]>) | undefined;
  if (!entry) return [];
  return Object.keys(entry).flatMap((key): GoldenCheck[] => {
    const [, gamma, lambda] = /^g([\d.]+)_l([\d.]+)$/.exec(key) ?? [];
    if (gamma === undefined) return [];
    const settings = { gamma: Number(gamma), lambda: Number(lambda) };
    const { advantages, returns } = generalisedAdvantages(entry.rewards, entry.values, settings);
    const actual = [...advantages, ...returns];
    return [{ name: `advantage.gae.${key}`, form: "reference", actual, expected: flat(entry[key]) }];
  });
}

/** The total that a group's advantages are made from is the return from the first token; PPO's are one a token. */
function klInReward(advantage: GoldenFile["advantage"]): GoldenCheck[] {
  const key = "kl_in_reward(beta0.1,k1,R=1)";
  const entry = advantage[key] as
    | { old: number[]; ref: number[]; returns_g1: number[]; token_rewards: number[] }
    | undefined;
  if (!entry) return [];
  const gaps = entry.old.map((value, t) => value - (entry.ref[t] ?? 0));
  const kl = { estimator: "k1", coefficient: 0.1 } as const;
  const tokens = tokenRewards(1, gaps, { kl, clip: 10 });
  const { returns } = generalisedAdvantages(
    tokens,
    gaps.map(() => 0),
    { gamma: 1, lambda: 1 },
  );
  const check = (part: string, actual: ArrayLike<number>, expected: unknown): GoldenCheck => ({
    name: `advantage.${key}${part}`,
    form: "reference",
    actual: Array.from(actual),
    expected: flat(expected),
  });
  return [
    check(".total", [penalisedReward(1, gaps, kl)], entry.returns_g1.slice(0, 1)),
    check(".token_rewards", tokens, entry.token_rewards),
    check(".returns_g1", returns, entry.returns_g1),
  ];
}

const aggregations: Readonly<Record<string, Aggregation>> = {
  "token-mean": "token-mean-global",
  "seq-mean-token-mean": "seq-mean-token-mean",
  "seq-mean-token-sum": "seq-mean-token-sum",
  "dr_grpo(sum/(B*Lmax))": "dr-grpo",
};

interface TokenRow {
  readonly logprob: number;
  readonly oldLogprob: number;
  readonly refLogprob: number;
  readonly advantage: number;
}

const rows = (sequence: GoldenSequence): TokenRow[] =>
  sequence.th.map((logprob, t) => ({
    logprob,
    oldLogprob: sequence.old[t] ?? 0,
    refLogprob: sequence.ref[t] ?? 0,
    advantage: sequence.A,
  }));

function weightsOf(sequences: readonly GoldenSequence[], aggregation: Aggregation): number[] {
  const batch = sequences.map(({ th }) => ({ mask: new Uint8Array(th.length).fill(1) }));
  return tokenWeights(aggregation, batch, { maxLength: MAX_LENGTH }).flatMap((row) => [...row]);
}

const dot = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, value, i) => sum + value * (b[i] ?? 0), 0);

function policyChecks({ policy }: GoldenFile): GoldenCheck[] {
  const tokens = policy.input.flatMap(rows);
  const perToken = tokens.map((token) => surrogateLoss(token, CLIP));
  const check = (name: string, actual: readonly number[], expected: unknown): GoldenCheck => ({
    name: `policy.${name}`,
    form: "reference",
    actual,
    expected: flat(expected),
  });
  const aggregated = (policy["ppo_clip_0.2_agg"] ?? {}) as Record<string, number>;
  const kl = (policy["kl_theta_ref"] ?? {}) as Partial<Record<KlEstimator, number[][]>>;
  const dapo = tokens.map((token) => surrogateLoss(token, { low: 0.2, high: 0.28 }));
  return [
    check("ratio_theta_old", tokens.map(policyRatio), policy["ratio_theta_old"]),
    check("ppo_clip_0.2_per_token_loss", perToken, policy["ppo_clip_0.2_per_token_loss"]),
    ...Object.entries(aggregations).map(([key, aggregation]) =>
      check(
        `ppo_clip_0.2_agg.${key}`,
        [dot(perToken, weightsOf(policy.input, aggregation))],
        aggregated[key],
      ),
    ),
    check(
      "dapo_0.2_0.28_token-mean",
      [dot(dapo, weightsOf(policy.input, "token-mean-global"))],
      policy["dapo_0.2_0.28_token-mean"],
    ),
    ...valueChecks(policy),
    dualClipCheck(policy, "dual_clip_cases(eps.2,c3)", 3),
    dualClipCheck(policy, "two_sided_clip_delta4(INTELLECT-2)", 4),
    ...(["k1", "k2", "k3"] as const).map((estimator) =>
      check(
        `kl_theta_ref.${estimator}`,
        tokens.map(({ logprob, refLogprob }) => klEstimate(estimator, logprob - refLogprob)),
        kl[estimator],
      ),
    ),
  ];
}

function dualClipCheck(policy: GoldenFile["policy"], key: string, dual: number): GoldenCheck {
  const cases = (policy[key] ?? []) as { ratio: number; A: number; loss: number }[];
  const actual = cases.map(({ ratio, A }) =>
    surrogateLoss({ logprob: Math.log(ratio), oldLogprob: 0, advantage: A }, { ...CLIP, dual }),
  );
  return { name: `policy.${key}`, form: "reference", actual, expected: cases.map(({ loss }) => loss) };
}

/** Distances between the policy that sampled and the one that trains; the file has some per sequence, we report means. */
function mismatchChecks({ policy }: GoldenFile): GoldenCheck[] {
  const metrics = mismatchMetrics(policy.input.map(({ ro, old }) => ({ rollout: ro, training: old })));
  const stats = (policy["rho_stats"] ?? {}) as Record<string, unknown>;
  const mean = (values: readonly number[]): number[] =>
    values.length === 0 ? [] : [values.reduce((total, value) => total + value, 0) / values.length];
  const check = (key: string, metric: string): GoldenCheck => ({
    name: `policy.rho_stats.${key}`,
    form: "reference",
    actual: [metrics[metric] ?? Number.NaN],
    expected: mean(flat(stats[key])),
  });
  return [
    check("kl_k1(rollout||old)", "rollout_corr/kl"),
    check("chi2_token", "rollout_corr/chi2_token"),
    check("chi2_seq", "rollout_corr/chi2_seq"),
    check("ppl_ratio", "rollout_corr/ppl_ratio"),
  ];
}

/** The objective as a graph over one vector of tokens, with its gradient with respect to the log-probs. */
export function objectiveGraph(tokens: number, clip: ClipBounds): Graph {
  const graph = createGraph("grpo-objective");
  const input = (name: string): Value => graph.input(name, "float32", [tokens]);
  const logprobs = input("logprobs");
  const { loss, sums } = grpoLoss(
    {
      logprobs,
      oldLogprobs: input("oldLogprobs"),
      refLogprobs: input("refLogprobs"),
      advantages: input("advantages"),
      importance: input("importance"),
      weight: input("weight"),
    },
    { clip },
  );
  const [gradient] = gradients(loss, [logprobs]);
  graph.output("loss", loss);
  if (sums.refKl) graph.output("refKl", sums.refKl);
  if (gradient) graph.output("gradient", gradient);
  return graph;
}

/** What the objective graph is fed for the fixture. */
export function objectiveFeeds(
  file: GoldenFile,
  aggregation: Aggregation,
  correction: CorrectionSettings = { level: "none", minRatio: 0, maxRatio: 1 },
): Record<string, number[]> {
  const tokens = file.policy.input.flatMap(rows);
  return {
    logprobs: tokens.map(({ logprob }) => logprob),
    oldLogprobs: tokens.map(({ oldLogprob }) => oldLogprob),
    refLogprobs: tokens.map(({ refLogprob }) => refLogprob),
    advantages: tokens.map(({ advantage }) => advantage),
    importance: file.policy.input.flatMap(({ ro, old }) =>
      importanceWeights({ rollout: ro, training: old }, correction),
    ),
    weight: weightsOf(file.policy.input, aggregation),
  };
}

function graphChecks(file: GoldenFile): GoldenCheck[] {
  const { policy } = file;
  const aggregated = (policy["ppo_clip_0.2_agg"] ?? {}) as Record<string, number>;
  const run = (clip: ClipBounds, aggregation: Aggregation): Record<string, { data: ArrayLike<number> }> => {
    const feeds = objectiveFeeds(file, aggregation);
    const size = feeds["weight"]?.length ?? 0;
    const shaped = Object.entries(feeds).map(([name, data]) => [name, { shape: [size], data }]);
    return evaluate(objectiveGraph(size, clip), Object.fromEntries(shaped));
  };
  const check = (name: string, actual: ArrayLike<number> | undefined, expected: unknown): GoldenCheck => ({
    name: `policy.${name}`,
    form: "graph",
    actual: Array.from(actual ?? []),
    expected: flat(expected),
  });
  const tokenMean = run(CLIP, "token-mean-global");
  const kl = (policy["kl_theta_ref"] ?? {}) as Partial<Record<KlEstimator, number[][]>>;
  const k3 = kl.k3 && dot(flat(kl.k3), weightsOf(policy.input, "token-mean-global"));
  return [
    ...Object.entries(aggregations).map(([key, aggregation]) =>
      check(`ppo_clip_0.2_agg.${key}`, run(CLIP, aggregation)["loss"]?.data, aggregated[key]),
    ),
    check(
      "ppo_clip_0.2_grad_token-mean",
      tokenMean["gradient"]?.data,
      policy["ppo_clip_0.2_grad_token-mean"],
    ),
    check(
      "dapo_0.2_0.28_token-mean",
      run({ low: 0.2, high: 0.28 }, "token-mean-global")["loss"]?.data,
      policy["dapo_0.2_0.28_token-mean"],
    ),
    check("kl_theta_ref.k3 (token-mean)", tokenMean["refKl"]?.data, k3),
  ];
}

/** Decoupled PPO, in both forms; the file's names of the corrections that we have. */
const corrections: Readonly<Record<string, CorrectionSettings>> = {
  no_IS: { level: "none", minRatio: 0, maxRatio: 1 },
  token_TIS_C2: { level: "token", minRatio: 0, maxRatio: 2 },
  "token_TIS_C1.05": { level: "token", minRatio: 0, maxRatio: 1.05 },
  "icepop_[0.95,1.05]": { level: "token-mask", minRatio: 0.95, maxRatio: 1.05 },
  seq_TIS_C2: { level: "sequence", minRatio: 0, maxRatio: 2 },
};

function correctionChecks(file: GoldenFile): GoldenCheck[] {
  const expected = (file.policy["decoupled_ppo_token-mean"] ?? {}) as Record<string, number>;
  return Object.entries(corrections).flatMap(([key, settings]): GoldenCheck[] => {
    const feeds = objectiveFeeds(file, "token-mean-global", settings);
    const { importance = [], weight = [] } = feeds;
    const shaped = Object.entries(feeds).map(([name, data]) => [name, { shape: [data.length], data }]);
    const graph = evaluate(objectiveGraph(weight.length, CLIP), Object.fromEntries(shaped));
    const plain = file.policy.input
      .flatMap(rows)
      .map((token, t) => (importance[t] ?? Number.NaN) * surrogateLoss(token, CLIP));
    const check = { name: `policy.decoupled_ppo_token-mean.${key}`, expected: flat(expected[key]) };
    return [
      { ...check, form: "reference", actual: [dot(plain, weight)] },
      { ...check, form: "graph", actual: Array.from(graph["loss"]?.data ?? []) },
    ];
  });
}

function miscChecks({ misc }: GoldenFile): GoldenCheck[] {
  const expected = (misc["pass@k(n16,c4)"] ?? {}) as Record<string, number>;
  return [
    {
      name: "misc.pass@k(n16,c4)",
      form: "reference",
      actual: Object.keys(expected).map((k) => passAtK(16, 4, Number(k))),
      expected: Object.values(expected),
    },
    {
      name: "misc.kl_ctrl_ziegler(v.2,kl8,target6,n256,H10000)",
      form: "reference",
      actual: [
        nextKlCoefficient(0.2, { type: "adaptive", target: 6, horizon: 10_000 }, { kl: 8, samples: 256 }),
      ],
      expected: flat(misc["kl_ctrl_ziegler(v.2,kl8,target6,n256,H10000)"]),
    },
  ];
}

/**
 * Greatest difference of a check, in units of its largest expected value where that is above 1: weights and constants of
 * graphs are float32. Infinite where the lengths differ.
 */
export function greatestDifference({ actual, expected }: GoldenCheck): number {
  if (actual.length !== expected.length || actual.some(Number.isNaN)) return Number.POSITIVE_INFINITY;
  const scale = expected.reduce((largest, value) => Math.max(largest, Math.abs(value)), 1);
  const worst = actual.reduce((most, value, i) => Math.max(most, Math.abs(value - (expected[i] ?? NaN))), 0);
  return worst / scale;
}

/** Entries of the file that no check covers, by path; parts of an entry where some are covered. */
export function uncovered(file: GoldenFile, checks: readonly GoldenCheck[]): string[] {
  const isCovered = (path: string): boolean => checks.some(({ name }) => name.startsWith(path));
  const parts = (path: string, value: unknown): string[] =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? Object.entries(value).flatMap(([key, part]) => missing(`${path}.${key}`, part))
      : [];
  const missing = (path: string, value: unknown): string[] => {
    if (!isCovered(path)) return [path];
    const isWhole = checks.some(({ name }) => name === path);
    return isWhole ? [] : parts(path, value);
  };
  return Object.entries(file)
    .flatMap(([section, entries]) => parts(section, entries))
    .filter((path) => !path.endsWith(".input"));
}
