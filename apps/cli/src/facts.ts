/** Looks at the world for a plan: models, data, functions, engine, machine. Effects at the edge; the plan is pure. */
import { existsSync } from "node:fs";
import { totalmem } from "node:os";
import { resolve } from "node:path";
import { isOarlockError, OarlockError } from "@oarlock/errors";
import type { LoadProgress } from "@oarlock/models";
import { probeDevice } from "@oarlock/ort";
import {
  type DataUse,
  dataUses,
  type EngineInput,
  formatPath,
  formatProblem,
  functionUses,
  type PlanFacts,
  type ReadRunFile,
  type ResolvedSpec,
  resolveSpec,
  type ScorerFacts,
  scorerUses,
} from "@oarlock/runfile";
import type { Tokenizer } from "@oarlock/tokenizer";
import { readCliEnvironment } from "./config.ts";
import {
  type Measured,
  openData,
  type OpenedModel,
  openModel,
  openRewardModel,
  type OpenRewardModelOptions,
  renderingOf,
  type RowLengths,
  rowLengths,
} from "@oarlock/workload";
import type { RunFileSource } from "./run-file-source.ts";
import { fetchSources, functionDigest, loadFunction, refuseUnmounted } from "./sources.ts";
import { oarlockVersion } from "./version.ts";

/** Share of the machine's memory that a run may use: the rest is the system's and the file cache's. */
const USABLE_MEMORY = 0.9;

/** What of a row decides how long a stage's sequences are. */
const MEASURED: { readonly [P in DataUse["purpose"]]: Measured } = {
  sft: "demonstration",
  "reward-model": "pair",
  grpo: "prompt",
  ppo: "prompt",
  evaluation: "prompt",
};

export interface FactsOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: LoadProgress) => void;
  /** Hears what is strange about data and no reason to refuse it, once for each data set. */
  readonly onWarning?: (sentence: string) => void;
  /** The run is for other machines: their devices are probed there, when their processes start. */
  readonly elsewhere?: boolean;
}

/** Everything that `resolvePlan` wants to know. Throws a typed error where model, data or a function cannot be used. */
export async function gatherFacts(
  { file, baseDir }: RunFileSource,
  { signal, onProgress, onWarning, elsewhere = false }: FactsOptions = {},
): Promise<PlanFacts> {
  const { spec } = resolveSpec(file);
  await fetchSources(spec, baseDir, signal);
  const options = {
    baseDir,
    seed: spec.seed,
    ...(signal === undefined ? {} : { signal }),
    ...(onProgress === undefined ? {} : { onProgress }),
  };
  const model = await namedAt(file, "model", () => {
    refuseUnmounted(referenceOf(spec.model), baseDir);
    return openModel(spec.model, options);
  });
  const data = new Map<string, DataFacts>();
  const training = new Map<string, ReadonlySet<string>>();
  for (const use of dataUses(spec)) {
    const facts = await namedAt(file, use.path, async () => {
      if (use.data.type === "file") refuseUnmounted(use.data.file.path, baseDir);
      const dataset = await openData(use.data, options);
      const known = dataFacts(dataset, use, { tokenizer: model.tokenizer, onWarning });
      // It comes last.
      if (use.purpose === "evaluation") return { ...known, shared: sharedPrompts(dataset, training) };
      if (spec.evaluation !== undefined) training.set(use.path, new Set(dataset.rows.map(promptKey)));
      return known;
    });
    data.set(use.path, facts);
  }
  const functions = new Map<string, string>();
  const loaded = new Set<string>();
  for (const use of functionUses(spec)) {
    const digest = await namedAt(file, use.path, async () => {
      refuseUnmounted(use.file, baseDir);
      const code = await functionDigest(use.file, baseDir);
      // A planner runs no user's code: where the run is, its reward workers load it.
      if (!elsewhere && !loaded.has(`${code} ${use.export}`)) await loadFunction(use, baseDir);
      loaded.add(`${code} ${use.export}`);
      return code;
    });
    functions.set(use.path, digest);
  }
  const scorers = await scorerFacts(file, model, { spec, ...options });
  return {
    model: {
      ...("init" in spec.model ? {} : { shape: model.config }),
      vocabSize: model.config.vocabSize,
      digest: model.digest,
      tokenizerDigest: model.tokenizer.digest,
      chatTemplateDigest: model.tokenizer.templateDigest,
    },
    data,
    functions,
    scorers,
    engine: await engineFacts(spec, elsewhere),
    machine: { memoryBytes: readCliEnvironment().memoryBytes ?? Math.floor(totalmem() * USABLE_MEMORY) },
  };
}

/** Of each reward model that is read, once, at the first place that names it. */
async function scorerFacts(
  file: ReadRunFile,
  policy: OpenedModel,
  { spec, ...options }: Omit<OpenRewardModelOptions, "policy"> & { readonly spec: ResolvedSpec },
): Promise<Map<string, ScorerFacts>> {
  const found = new Map<string, ScorerFacts>();
  for (const { path, from } of scorerUses(spec)) {
    if (found.has(from)) continue;
    const { shape, digest } = await namedAt(file, path, () => {
      refuseUnmounted(from, options.baseDir);
      refuseStageName(spec, from, options.baseDir);
      return openRewardModel(from, { ...options, policy });
    });
    found.set(from, { shape, digest });
  }
  return found;
}

/** The name of a stage is no reference to it. */
function refuseStageName({ stages }: ResolvedSpec, from: string, baseDir: string): void {
  if (!stages.some(({ name }) => name === from) || existsSync(resolve(baseDir, from))) return;
  const accepted = `stage/${from} for what that stage trains, a folder, or hf://org/name[@revision]`;
  throw new OarlockError("MODEL_SOURCE", `${JSON.stringify(from)} does not exist; accepted: ${accepted}`);
}

/** What a model is read from; a new one from the seed reads its tokenizer at most. */
function referenceOf(model: ResolvedSpec["model"]): string {
  if ("from" in model) return model.from;
  const { tokenizer } = model.init;
  return tokenizer.type === "file" ? tokenizer.file.path : "";
}

type OpenedData = Awaited<ReturnType<typeof openData>>;
type DataFacts = PlanFacts["data"] extends ReadonlyMap<string, infer D> ? D : never;

/** Parts of which a row needs one to be measured: without any, it is the plan's to refuse. */
const NEEDED: { readonly [M in Measured]?: readonly string[] } = {
  pair: ["rejected", "ranking"],
  steps: ["steps"],
};

function dataFacts(
  dataset: OpenedData,
  { path, data, purpose, stepEnd }: DataUse,
  { tokenizer, onWarning }: { readonly tokenizer: Tokenizer; readonly onWarning: FactsOptions["onWarning"] },
): DataFacts {
  const measured = stepEnd === undefined ? MEASURED[purpose] : "steps";
  // Rows that lack what the stage needs are the plan's to refuse: it names the place and what would be accepted.
  const isMeasurable = NEEDED[measured]?.some((part) => dataset.parts.includes(part)) ?? true;
  const how = { tokenizer, measured, ...(stepEnd === undefined ? {} : { stepEnd }) };
  const { lengths, unseen }: RowLengths = isMeasurable
    ? rowLengths(dataset, renderingOf(data), how)
    : { lengths: [] };
  if (unseen !== undefined) onWarning?.(unseenPrompts(path, unseen, dataset.rows.length));
  const longestPrompt = lengths.reduce((longest, length) => Math.max(longest, length), 0);
  const { digest, rows, parts, partial = {} } = dataset;
  return { digest, rows: rows.length, longestPrompt, lengths, parts, partial };
}

/** Of a template that opens answers with what it leaves out of whole conversations, or of tokens that reach across the border. */
function unseenPrompts(path: string, { rows, end }: RowLengths["unseen"] & {}, of: number): string {
  return (
    `${path}: in ${rows} of ${of} rows the prompt is not rendered in front of its completion as a policy is asked with it: ` +
    `${JSON.stringify(end)} at its end is missing there. What is trained begins where the two part`
  );
}

/** How many rows have a prompt that is among these, by whose they are. */
function sharedPrompts(
  { rows }: OpenedData,
  training: ReadonlyMap<string, ReadonlySet<string>>,
): Readonly<Record<string, number>> {
  const counts = [...training].map(([path, prompts]) => {
    const shared = rows.filter((row) => prompts.has(promptKey(row)));
    return [path, shared.length] as const;
  });
  return Object.fromEntries(counts);
}

/** What is equal for equal prompts. */
function promptKey({ prompt }: OpenedData["rows"][number]): string {
  return typeof prompt === "string" ? prompt : JSON.stringify(prompt);
}

/** What is wrong with something that the run file names, with the place that names it (X1). `path` is below `spec`. */
async function namedAt<T>(file: ReadRunFile, path: string, open: () => Promise<T>): Promise<T> {
  try {
    return await open();
  } catch (reason) {
    if (!isOarlockError(reason)) throw reason;
    const { code, rawMessage: message, retryable, cause } = reason;
    const steps = ["spec", ...path.split(".").map((step) => (/^\d+$/.test(step) ? Number(step) : step))];
    const problem = { code, ...file.locate(steps), field: formatPath(steps), message };
    throw new OarlockError(code, formatProblem(problem), { retryable, cause });
  }
}

/** Opens the engine as the run will, and asks what it is. */
async function engineFacts({ compute }: ResolvedSpec, elsewhere: boolean): Promise<EngineInput> {
  const { driver, provider, libraryPath } = compute;
  const oarlock = oarlockVersion();
  // Bits are promised on the CPU provider only: a plan for another is not held to the engine of the machine that made it.
  if (elsewhere && provider !== "cpu") return { oarlock, onnxruntime: "", instructionSet: "" };
  const { fingerprint } = await probeDevice({
    driver,
    provider,
    ...(libraryPath === "" ? {} : { library: libraryPath }),
  });
  return { oarlock, onnxruntime: fingerprint.version, instructionSet: fingerprint.instructionSet };
}
