/** The experiments behind the tables of the docs: which run files, with which values, and which numbers of a run. Knows no process. */
import type { MetricsRecord, RunSummary } from "@oarlock/report";

export interface FinishedRun {
  readonly summary: RunSummary;
  readonly records: readonly MetricsRecord[];
}

/** A run file, from the root of the project, with `--set` on top. */
interface Variant {
  readonly name: string;
  readonly file: string;
  readonly set?: readonly string[];
}

export interface Experiment {
  readonly title: string;
  /** What an installation does not have, by name: `--NAME PATH` gives it. */
  readonly needs: readonly Need[];
  readonly cases: readonly Variant[];
  /** Each case is run with each of them. */
  readonly columns: readonly { readonly name: string; readonly set: readonly string[] }[];
  /** Numbers of one run, by the name of their row. */
  readonly read: (run: FinishedRun) => Readonly<Record<string, number>>;
}

export type Need = keyof typeof NEEDS;

/** What each is, and which value of a run file it becomes. */
export const NEEDS = {
  model: { what: "stories260K in Hugging Face layout", set: (path: string) => `model.from=${path}` },
  pairs: {
    what: "preference pairs, e.g. hh-rlhf's harmless-base/test.jsonl",
    set: (path: string) => `stages.rm.reward-model.data={type: file, file: {path: ${path}}}`,
  },
} as const;

/** As a guard sees it by default. */
const WINDOW_STEPS = 5;
/** One training thread: faster here, and other bits than two. */
const ONE_THREAD = "compute.trainingThreads=1";
const seeds = (first: number) =>
  [0, 1, 2].map((i) => ({ name: `seed ${first + i}`, set: [`seed=${first + i}`] }));

/** A held-out value by the end of its name, after a stage: the last by default. */
function heldOut({ summary }: FinishedRun, ending: string, stage?: string): number {
  const found = summary.stages.find(({ name }) => name === stage) ?? summary.stages.at(-1);
  return valueOf(found?.after?.metrics, ending);
}

const heldOutBefore = ({ summary }: FinishedRun, ending: string): number =>
  valueOf(summary.stages[0]?.before?.metrics, ending);

function valueOf(metrics: Readonly<Record<string, number>> = {}, ending: string): number {
  const found = Object.entries(metrics).filter(([name]) => name.endsWith(ending));
  if (found.length > 1)
    throw new Error(`${ending} is the end of ${found.map(([name]) => name).join(" and of ")}`);
  return found[0]?.[1] ?? Number.NaN;
}

/** Means of a metric over each window of a stage's steps, the first of them whole. */
function windows({ records }: FinishedRun, stage: string, metric: string): number[] {
  const steps = records.filter((record) => record.kind === "step" && record.stage === stage);
  const values = steps.map(({ metrics }) => metrics[metric] ?? Number.NaN);
  return values.slice(WINDOW_STEPS - 1).map((_, i) => {
    const seen = values.slice(i, i + WINDOW_STEPS);
    return seen.reduce((sum, value) => sum + value, 0) / seen.length;
  });
}

/** Proxy, gold and KL of the stage `please` at its first and last window, and where gold is highest. */
function proxyAndGold(run: FinishedRun): Record<string, number> {
  const [proxy, gold, kl] = ["critic/score/mean", "gold/gold/mean", "actor/kl_per_sample"].map((metric) =>
    windows(run, "please", metric),
  ) as [number[], number[], number[]];
  const best = gold.indexOf(Math.max(...gold));
  const at = (values: readonly number[], index: number): number => values.at(index) ?? Number.NaN;
  return {
    steps: gold.length + WINDOW_STEPS - 1,
    "reward, first": at(proxy, 0),
    "reward, last": at(proxy, -1),
    "gold, first": at(gold, 0),
    "gold, highest": at(gold, best),
    "gold, last": at(gold, -1),
    "KL where gold is highest": at(kl, best),
    "KL, last": at(kl, -1),
  };
}

const rlhf = (name: string, set: readonly string[]): Variant => ({
  name,
  file: "examples/rlhf-stories.yaml",
  set,
});
/** A guard that never fires: without any, a KL that holds nothing is not measured. */
const UNGUARDED = "stages.please.ppo.guards=[{name: never, watch: kl, reaction: stop, limit: 1000000}]";
const WITHOUT_KL = "stages.please.ppo.kl={placement: loss, coefficient: 0}";

export const EXPERIMENTS: Readonly<Record<string, Experiment>> = {
  happy: {
    title: 'held-out " happy", mean of 8 samples',
    needs: ["model"],
    cases: [
      { name: "GRPO", file: "examples/stories.yaml", set: [ONE_THREAD] },
      { name: "PPO", file: "tests/controls/happy-ppo.yaml", set: [ONE_THREAD] },
      {
        name: "each the reward of its neighbour",
        file: "examples/stories.yaml",
        set: [
          "stages.happy.rewards=[{name: happy, type: function, function: {file: ../tests/controls/shuffled-happy.ts}}]",
          'evaluation.rewards=[{name: happy, type: contains, contains: {text: " happy"}}]',
        ],
      },
    ],
    columns: seeds(0),
    read: (run) => ({ before: heldOutBefore(run, "/mean@8"), after: heldOut(run, "/mean@8") }),
  },
  sums: {
    title: "held-out sums, mean of 4 samples",
    needs: [],
    cases: [
      { name: "GRPO", file: "examples/addition.yaml", set: [ONE_THREAD] },
      { name: "PPO", file: "tests/controls/sums-ppo.yaml", set: [ONE_THREAD] },
    ],
    columns: seeds(7),
    read: (run) => ({
      "after the supervised stage": heldOut(run, "/mean@4", "sft"),
      after: heldOut(run, "/mean@4"),
    }),
  },
  "learned-reward": {
    title: "PPO against a learned reward",
    needs: ["model"],
    cases: [rlhf("KL in the reward, β = .05", [])],
    columns: seeds(0),
    read: (run) => ({
      "joy, held out, before": heldOutBefore(run, "/joy/mean@8"),
      "joy, held out, after": heldOut(run, "/joy/mean@8"),
      ...proxyAndGold(run),
    }),
  },
  "over-optimisation": {
    title: "PPO against a learned reward, without KL, 100 steps",
    needs: ["model"],
    cases: [
      rlhf("unguarded", [WITHOUT_KL, "stages.please.ppo.steps=100", UNGUARDED]),
      rlhf("guarded", [WITHOUT_KL, "stages.please.ppo.steps=100"]),
    ],
    columns: seeds(0),
    read: proxyAndGold,
  },
  "hh-rlhf": {
    title: "pairwise accuracy, held out",
    needs: ["model", "pairs"],
    cases: [
      {
        name: "reward model",
        file: "examples/hh-reward-model.yaml",
        set: ["stages.rm.reward-model.minimumAccuracy=0"],
      },
    ],
    columns: [0, 1, 2, 3, 4].map((fold) => ({
      name: `fold ${fold}`,
      set: [`stages.rm.reward-model.fold=${fold}`],
    })),
    read: (run) => ({
      accuracy: heldOut(run, "/held-out/rm/accuracy"),
      pairs: heldOut(run, "/pairs"),
      "too long": heldOut(run, "/pairs_overlong"),
    }),
  },
};
