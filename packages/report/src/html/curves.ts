/** Which curves a stage shows: a table of titles and the metric names that may feed them. Pure. */
import { evaluationValues } from "../evaluation-metrics.ts";
import type { MetricsRecord } from "../records.ts";
import type { EvaluationSummary } from "../summary.ts";
import type { Chart } from "./chart.ts";

interface Curve {
  readonly title: string;
  /** The first name that a stage has is drawn. */
  readonly names: readonly string[];
  readonly exact?: boolean;
}

/** In the order of interest: does it learn, does it stay sane, what does it cost. */
const CURVES: readonly Curve[] = [
  { title: "Reward", names: ["critic/score/mean", "critic/rewards/mean"] },
  { title: "KL to the reference (per token)", names: ["actor/kl_loss", "actor/reward_kl_penalty"] },
  { title: "Entropy (nats per token)", names: ["actor/entropy"] },
  { title: "Loss", names: ["train/loss", "actor/loss", "actor/pg_loss"] },
  { title: "Completion length (tokens)", names: ["response_length/mean"] },
  { title: "Accuracy on trained tokens", names: ["train/token_accuracy", "train/accuracy"] },
  { title: "Clipped at the length limit", names: ["response_length/clip_ratio"] },
  { title: "Pairs ordered as people did", names: ["reward_model/accuracy"] },
  { title: "Lead of the preferred answer", names: ["reward_model/margin"] },
  { title: "Value loss", names: ["critic/vf_loss"] },
  { title: "Variance that values explain", names: ["critic/vf_explained_var"] },
  { title: "Gradient norm", names: ["actor/grad_norm", "train/grad_norm", "reward_model/grad_norm"] },
  { title: "Clip fraction", names: ["actor/pg_clipfrac"] },
  { title: "KL old to new policy", names: ["actor/ppo_kl"] },
  { title: "Sampler and trainer disagree (probability)", names: ["training/rollout_probs_diff_mean"] },
  { title: "Learning rate", names: ["actor/lr", "train/lr", "reward_model/lr"], exact: true },
  { title: "Tokens per second", names: ["perf/throughput"] },
  { title: "Seconds per step", names: ["timing_s/step", "perf/time_per_step"] },
];

/** Curves of one stage: those of its evaluations, then those of its steps. `before`: what it started from. */
export function stageCharts(records: readonly MetricsRecord[], before?: EvaluationSummary): Chart[] {
  const steps = records.filter(({ kind }) => kind === "step");
  const known = new Set(steps.flatMap(({ metrics }) => Object.keys(metrics)));
  const ofSteps = CURVES.flatMap(({ title, names, exact = false }) => {
    const name = names.find((candidate) => known.has(candidate));
    if (name === undefined) return [];
    const points = steps.flatMap(({ step, metrics }) =>
      metrics[name] === undefined ? [] : [{ x: step, y: metrics[name] }],
    );
    return [{ title, points, exact }];
  });
  const scorers = [...known].filter((name) => /^reward\/.+\/mean$/.test(name));
  const ofScorers = scorers.length < 2 ? [] : scorers.map((name) => scorerChart(name, steps));
  return [...evaluationCharts(records, before), ...goldCharts(steps), ...ofSteps, ...ofScorers];
}

/**
 * Over-optimisation as Gao et al. draw it (arXiv:2210.10760): what is trained on and what was meant, against the distance
 * from the stage's start, √KL in nats a completion. One pair of charts for each held-out scorer.
 */
function goldCharts(steps: readonly MetricsRecord[]): Chart[] {
  const gold = [...new Set(steps.flatMap(({ metrics }) => Object.keys(metrics)))].filter((name) =>
    /^gold\/.+\/mean$/.test(name),
  );
  if (gold.length === 0) return [];
  const against = (name: string) =>
    steps
      .map(({ metrics }) => ({
        x: Math.sqrt(Math.max(0, metrics["actor/kl_per_sample"] ?? Number.NaN)),
        y: metrics[name] ?? Number.NaN,
      }))
      .filter(({ x }) => Number.isFinite(x))
      .toSorted((left, right) => left.x - right.x);
  const chart = (title: string, name: string): Chart => ({ title, points: against(name) });
  const charts = [
    chart("Reward against √KL", "critic/score/mean"),
    ...gold.map((name) => chart(`Gold ${scorerOf(name)} against √KL`, name)),
  ].filter(({ points }) => points.length > 0);
  return [
    ...gold.map((name) => ({ ...scorerChart(name, steps), title: `Gold ${scorerOf(name)}` })),
    ...charts,
  ];
}

const scorerOf = (name: string): string => name.replace(/^(reward|gold)\//, "").replace(/\/mean$/, "");

function scorerChart(name: string, steps: readonly MetricsRecord[]): Chart {
  const points = steps.map(({ step, metrics }) => ({ x: step, y: metrics[name] ?? Number.NaN }));
  return { title: `Reward ${scorerOf(name)}`, points };
}

function evaluationCharts(records: readonly MetricsRecord[], before: EvaluationSummary | undefined): Chart[] {
  const own = records.filter(({ kind }) => kind === "evaluation");
  const isCovered = before === undefined || own.some(({ when }) => when === "before");
  const evaluations = isCovered ? own : [before, ...own];
  const names = [
    ...new Set(evaluations.flatMap(({ metrics }) => evaluationValues(metrics).map(({ name }) => name))),
  ];
  const charts = names.map((name) => ({
    title: `Held-out ${name.replace("val-core/", "")}`,
    points: evaluations.flatMap(({ step, metrics }) =>
      metrics[name] === undefined ? [] : [{ x: step, y: metrics[name] }],
    ),
    marks: true,
  }));
  return charts.filter(({ points }) => points.length > 1);
}
