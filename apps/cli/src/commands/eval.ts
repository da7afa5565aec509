/** `oarlock eval`: mean@k, pass@k and greedy scores of a model, with the evaluation of a run file or a run folder. */
import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { Command } from "commander";
import { OarlockError } from "@oarlock/errors";
import { evaluationValues, safeText } from "@oarlock/report";
import type { Plan, ResolvedRun, ResolvedSpec } from "@oarlock/runfile";
import { openScorerSet } from "@oarlock/workload";
import type { CommandContext } from "../context.ts";
import { evaluate, type Evaluated, type EvaluationPlace } from "../inference/evaluate.ts";
import { keptRewardModels } from "../inference/kept-reward-models.ts";
import { openPolicy } from "../inference/policy.ts";
import { listenForInterrupt } from "../interrupt.ts";
import { openNamedModel } from "../model-argument.ts";
import { setOption } from "../options.ts";
import { loadingLine } from "../render/loading.ts";
import type { Terminal } from "../terminal.ts";
import { prepare, prepareAgain, refuseProblems } from "../prepare.ts";
import { renderTable } from "../render/table.ts";
import { readPlan, readRecords, runPaths } from "../run-folder.ts";

interface EvalOptions {
  readonly model?: string;
  readonly set: readonly string[];
  readonly json?: boolean;
}

export function evalCommand(context: CommandContext): Command {
  return new Command("eval")
    .description("Evaluate a model: mean@k, pass@k and greedy scores with 95 % confidence intervals.")
    .argument("<run>", "run folder, or run file whose evaluation to use")
    .option("--model <model>", "model to evaluate (default: the run's final model, or the run file's)")
    .addOption(setOption())
    .option("--json", "print the metrics as JSON")
    .addHelpText("after", EXAMPLES)
    .action(async (named: string, options: EvalOptions) => runEval(context, named, options));
}

async function runEval({ terminal }: CommandContext, named: string, options: EvalOptions): Promise<void> {
  const { run, folder, baseDir, model, place } = await subjectOf(named, options, terminal);
  const { evaluation, compute, seed } = run.spec;
  if (evaluation === undefined) {
    throw new OarlockError(
      "EVALUATION_MISSING",
      `${named} has no evaluation block; accepted: spec.evaluation: {data, samples, …}`,
    );
  }
  using interrupt = listenForInterrupt(terminal, "\nstopping");
  const opened = await openNamedModel(model, { signal: interrupt.signal, onProgress: loadingLine(terminal) });
  const maxLength = Math.min(
    opened.config.maxPositions,
    evaluation.maxPromptLength + evaluation.maxNewTokens,
  );
  const { slots, generationWorkers: workers, generationThreads: threads, generationLayout: layout } = compute;
  const engine = { compute, slots, workers, threads, layout, maxLength };
  const { config, tokenizer } = opened;
  const rewardModels = keptRewardModels(run, { named, folder, baseDir, place, policy: opened });
  const scored = { baseDir, config, tokenizer, rewardModels };
  await using scorers = await openScorerSet(run, evaluation.rewards, scored);
  await using policy = await openPolicy(opened, engine);
  const onProgress = (done: number, total: number) => terminal.live(`${done}/${total} prompts`);
  const { signal } = interrupt;
  const asked = { evaluation, scorers: scorers.set, baseDir, seed, place, signal, onProgress };
  const evaluated = await evaluate(policy, asked);
  const { metrics } = evaluated;
  for (const line of missing(evaluated)) terminal.note(terminal.style.bad(`warning: ${line}`));
  terminal.print(options.json === true ? JSON.stringify({ model, metrics }) : renderMetrics(metrics));
}

/** What the numbers say nothing of. */
function missing({ overlong, prompts, failures, completions }: Evaluated): readonly string[] {
  const [first] = failures;
  return [
    ...(overlong === 0
      ? []
      : [`${overlong} of ${prompts} prompts are longer than evaluation.maxPromptLength and left out`]),
    ...(first === undefined
      ? []
      : [
          `${failures.length} of ${completions} completions could not be scored; the first: ${safeText(first)}`,
        ]),
  ];
}

interface Subject {
  readonly run: ResolvedRun;
  /** Where the run's reward models are kept; undefined of a run file. */
  readonly folder: string | undefined;
  readonly baseDir: string;
  readonly model: string;
  readonly place: EvaluationPlace;
}

/** Where a run evaluates its initial policy. */
const FIRST: EvaluationPlace = { stage: 0, step: 0 };

/** The run's last evaluation: of its final policy, where it completed. */
async function lastEvaluation(folder: string, { stages }: ResolvedSpec): Promise<EvaluationPlace> {
  const records = await readRecords(runPaths(folder));
  const last = records.findLast(({ kind }) => kind === "evaluation");
  const stage = stages.findIndex(({ name }) => name === last?.stage);
  return last === undefined || stage < 0 ? FIRST : { stage, step: last.step };
}

async function subjectOf(named: string, options: EvalOptions, terminal: Terminal): Promise<Subject> {
  const info = await stat(named).catch(() => undefined);
  if (info?.isDirectory() === true) {
    const document = await readPlan(named);
    const { run, baseDir } = document;
    const model = options.model ?? named;
    const place = await lastEvaluation(named, run.spec);
    if (options.set.length === 0) return { run, folder: named, baseDir, model, place };
    const set = [...document.set, ...options.set];
    const { plan } = await prepareAgain(
      runPaths(named),
      { ...document, set },
      { onProgress: loadingLine(terminal) },
    );
    refuseProblems(ofEvaluation(plan), terminal);
    return { run: plan.run, folder: named, baseDir, model, place };
  }
  if (info === undefined) {
    throw new OarlockError(
      "RUN_FILE_MISSING",
      `${named}: does not exist; expected a run folder, or a run file whose evaluation to use`,
    );
  }
  const { source, plan } = await prepare(named, options.set, { onProgress: loadingLine(terminal) });
  refuseProblems(ofEvaluation(plan), terminal);
  const { spec } = plan.run;
  const model =
    options.model ?? ("from" in spec.model ? modelBeside(spec.model.from, source.baseDir) : undefined);
  if (model === undefined) {
    throw new OarlockError(
      "EVAL_MODEL_MISSING",
      `${named} starts from a new model; name the one to evaluate with --model`,
    );
  }
  return { run: plan.run, folder: undefined, baseDir: source.baseDir, model, place: FIRST };
}

/** What a run file names is beside it, wherever the command is given. */
const modelBeside = (from: string, baseDir: string): string =>
  from.startsWith("hf://") ? from : resolve(baseDir, from);

/** Traps of an evaluation that lies between trainings: here nothing is trained, and stages have left what they make. */
const OF_TRAINING: ReadonlySet<string> = new Set(["EVALUATION_ON_TRAINING_DATA", "EVALUATION_BEFORE_MODEL"]);

/** The plan with the other traps of its evaluation alone. */
const ofEvaluation = (plan: Plan): Plan => ({
  ...plan,
  problems: plan.problems.filter(
    ({ code, field }) => field.startsWith("spec.evaluation") && !OF_TRAINING.has(code),
  ),
});

function renderMetrics(metrics: Readonly<Record<string, number>>): string {
  const right = (title: string) => ({ title, align: "right" as const });
  const rows = evaluationValues(metrics).map(({ name, value, low, high }) => [
    name.replace("val-core/", ""),
    value.toFixed(4),
    low?.toFixed(4) ?? "",
    high?.toFixed(4) ?? "",
  ]);
  return renderTable([{ title: "held-out" }, right("value"), right("low"), right("high")], rows);
}

const EXAMPLES = `
Examples:
  oarlock eval runs/addition
  oarlock eval runs/addition --set evaluation.samples=16
  oarlock eval runs/addition --model ./other-model
  oarlock eval run.yaml --model hf://org/name

Of a run folder, the samples are drawn as in the run's last evaluation: the numbers are those of its summary.json.`;
