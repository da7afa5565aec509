/** A plan as text: every value with its origin, what it will take, what is wrong with it. Pure. */
import type { PlanRow, TextStyle } from "@oarlock/report";
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatProblem,
  type MemoryEstimate,
  type Origin,
  type Origins,
  parameterCount,
  type Plan,
  type ResolvedReward,
  type ResolvedRun,
  type ResolvedStage,
  rewardsOf,
  rolloutWindow,
  type StageDecision,
  type TimeEstimate,
  untilOf,
  usefulActors,
} from "@oarlock/runfile";
import { renderTable } from "./table.ts";

/** Longest value shown in a plan, in characters. */
const SHOWN_CHARACTERS = 60;

/** Every value of the resolved spec with its origin, in reading order. */
export function planRows(spec: ResolvedRun["spec"], origins: Origins): PlanRow[] {
  return rowsBelow(spec, "spec", origins);
}

function rowsBelow(value: unknown, path: string, origins: Origins): PlanRow[] {
  const origin = origins.get(path);
  const isBlock = typeof value === "object" && value !== null;
  const entries = isBlock ? Object.entries(value) : [];
  if (!isBlock || entries.length === 0 || origin?.type === "derived") {
    if (isBlock && origin === undefined) return [];
    return [{ path: path.replace(/^spec\./, ""), value: shown(value), origin: originText(origin) }];
  }
  return entries.flatMap(([key, child]) => rowsBelow(child, `${path}.${key}`, origins));
}

function shown(value: unknown): string {
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? "");
  const quoted = text === "" ? '""' : text;
  return quoted.length <= SHOWN_CHARACTERS ? quoted : `${quoted.slice(0, SHOWN_CHARACTERS - 1)}…`;
}

/** Where a value comes from, in words. */
export function originText(origin: Origin | undefined): string {
  switch (origin?.type) {
    case undefined:
      return "";
    case "file":
      return `${origin.file}:${origin.line}:${origin.column}`;
    case "set":
      return `--set ${origin.text}`;
    case "default":
      return "default";
    case "derived":
      return `from ${origin.why}`;
  }
}

/** The resolved configuration as a table. */
export function renderPlanRows(rows: readonly PlanRow[], style: TextStyle): string {
  const table = renderTable(
    [{ title: "field" }, { title: "value" }, { title: "from" }],
    rows.map(({ path, value, origin }) => [path, value, origin]),
  );
  const [head = "", ...body] = table.split("\n");
  return [style.dim(head), ...body].join("\n");
}

/** Size, work and cost of a run in a few lines. */
export function renderCost(plan: Plan, time: TimeEstimate | undefined, style: TextStyle): string {
  const { run, tokens, memory } = plan;
  const stages = tokens.map(({ stage, steps, sequences, generatedTokens, trainedTokens }) => {
    const generated = generatedTokens === 0 ? "" : `, up to ${formatCount(generatedTokens)} generated`;
    const work = `${formatCount(sequences)} sequences a step, up to ${formatCount(trainedTokens)} tokens trained${generated}`;
    const cost = time?.stages.find((estimate) => estimate.stage === stage);
    const seconds =
      cost === undefined
        ? ""
        : `; ${formatDuration(cost.stepSeconds)} a step, ${formatDuration(cost.seconds)}`;
    const end = endOf(run.spec.stages.find(({ name }) => name === stage));
    return [`stage ${stage}`, `${formatCount(steps)} steps${end}; ${work}${seconds}`];
  });
  const rows = [
    ["parameters", formatCount(run.inputs.model.parameters)],
    ...scorerRows(run),
    ...stages,
    ...plan.overlong.map(({ path, rows, of, maxLength }) => [
      "left out",
      `${formatCount(rows)} of ${formatCount(of)} rows of ${path}: longer than its maxLength, ${formatCount(maxLength)} tokens`,
    ]),
    ["peak memory", `about ${formatBytes(memory.total)} (${memoryParts(memory)})`],
    ...(time === undefined
      ? []
      : [
          [
            "time",
            `about ${formatDuration(time.totalSeconds)} where every answer is at its longest${beside(run)}, evaluations ${formatDuration(time.evaluationSeconds)} of it`,
          ],
        ]),
    ...actorRows(run, time),
    ["plan", run.digest],
  ];
  const width = Math.max(...rows.map(([label = ""]) => label.length));
  return rows.map(([label = "", value = ""]) => `${style.dim(label.padEnd(width))}  ${value}`).join("\n");
}

/** What may end a stage before its last step. */
function endOf(stage: ResolvedStage | undefined): string {
  const until = stage && untilOf(stage);
  return until === undefined ? "" : ` at most, until ${until.score} is ${until.atLeast}`;
}

/** The reward models that the run reads. */
function scorerRows({ inputs: { scorers = [] } }: ResolvedRun): string[][] {
  return scorers.map(({ from, shape, digest }) => [
    "reward model",
    `${from}: ${formatCount(parameterCount(shape))} parameters, ${digest}`,
  ]);
}

/** Scorers that take a time which nobody has measured. */
const UNTIMED: ReadonlySet<ResolvedReward["type"]> = new Set([
  "model",
  "ensemble",
  "function",
  "http",
  "grpc",
  "judge",
]);

function beside({ spec }: ResolvedRun): string {
  const untimed = rewardsOf(spec).filter(({ type }) => UNTIMED.has(type));
  const names = [...new Set(untimed.map(({ name }) => name))].join(", ");
  return names === "" ? "" : ` beside what scoring by ${names} takes`;
}

/** How many actors a run can use on a cluster. */
function actorRows({ spec }: ResolvedRun, time: TimeEstimate | undefined): string[][] {
  const window = rolloutWindow(spec);
  if (window === undefined) return [];
  const keepUp = time?.stages.map(({ actorsToKeepUp }) => actorsToKeepUp).filter(Number.isFinite) ?? [];
  const { most, why } = usefulActors(window, keepUp.length === 0 ? undefined : Math.max(...keepUp));
  return [["useful actors", `at most ${formatCount(most)}: ${why}`]];
}

/** Parts of the memory that matter, largest first. */
function memoryParts(memory: MemoryEstimate): string {
  return Object.entries(memory)
    .filter(([part, bytes]) => part !== "total" && bytes > memory.total / 50)
    .toSorted(([, left], [, right]) => right - left)
    .map(([part, bytes]) => `${part} ${formatBytes(bytes)}`)
    .join(", ");
}

/** Which stages run over what an earlier run made, and why. */
export function renderDecisions(decisions: readonly StageDecision[], style: TextStyle): string {
  const rows = decisions.map(({ name, runs, why }) => [name, runs ? "runs" : "is kept", why]);
  const table = renderTable([{ title: "stage" }, { title: "" }, { title: "because" }], rows);
  const [head = "", ...body] = table.split("\n");
  return [style.dim(head), ...body].join("\n");
}

/** What is wrong, one line each; and what was allowed. */
export function renderPlanProblems(plan: Plan, style: TextStyle): string {
  return [
    ...plan.allowed.map((problem) => style.dim(`allowed ${problem.code}: ${formatProblem(problem)}`)),
    ...plan.problems.map((problem) => `${style.bad(problem.code)} ${formatProblem(problem)}`),
  ].join("\n");
}
