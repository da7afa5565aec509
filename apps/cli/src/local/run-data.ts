/** The data of a run, read, checked against the plan's digests (D1) and tokenised. */
import { taskDataset } from "@oarlock/data";
import type { Dataset } from "@oarlock/data";
import { OarlockError } from "@oarlock/errors";
import type { PromptRow, RunData } from "@oarlock/learner";
import { dataUses } from "@oarlock/runfile";
import type { ResolvedData, ResolvedRun } from "@oarlock/runfile";
import type { Tokenizer } from "@oarlock/tokenizer";
import type { TrainingRow } from "@oarlock/training";
import { demonstrationRows, promptRows } from "./rows.ts";

export interface RunDataOptions {
  readonly run: ResolvedRun;
  /** Folder that relative paths are relative to. */
  readonly baseDir: string;
  readonly tokenizer: Tokenizer;
  readonly stopTokens: readonly number[];
  readonly signal?: AbortSignal;
}

/** Opens every data set of the plan. Throws `DATA_CHANGED` where one is not what the plan was made with. */
export async function openRunData(options: RunDataOptions): Promise<RunData> {
  const { run, tokenizer, stopTokens } = options;
  const datasets = new Map<string, Dataset>();
  for (const { path, data } of dataUses(run.spec)) {
    const dataset = openData(data);
    refuseChanged(run, path, dataset);
    datasets.set(path, dataset);
  }
  const rowsOf = (path: string): Dataset["rows"] => datasets.get(path)?.rows ?? [];
  const demonstrations = new Map<number, readonly TrainingRow[]>();
  const prompts = new Map<number, readonly PromptRow[]>();
  for (const [index, stage] of run.spec.stages.entries()) {
    if (stage.type === "sft") {
      const settings = { maxTokens: stage.sft.maxLength, mask: stage.sft.mask };
      const rows = rowsOf(`stages.${index}.sft.data`);
      demonstrations.set(index, await demonstrationRows(tokenizer, rows, settings));
    } else {
      const rows = rowsOf(`stages.${index}.grpo.data`);
      prompts.set(index, await promptRows(tokenizer, rows, stage.grpo.maxPromptLength));
    }
  }
  const { evaluation } = run.spec;
  const evaluated =
    evaluation === undefined
      ? []
      : await promptRows(tokenizer, rowsOf("evaluation.data"), evaluation.maxPromptLength);
  return {
    demonstrations: (stage) => demonstrations.get(stage) ?? [],
    prompts: (stage) => prompts.get(stage) ?? [],
    evaluation: evaluated,
    evaluationName: datasets.get("evaluation.data")?.name ?? "",
    stopTokens,
    decode: (tokens) => tokenizer.decode(tokens, { skipSpecialTokens: true }),
  };
}

function refuseChanged(run: ResolvedRun, path: string, dataset: Dataset): void {
  const planned = run.inputs.data.find((input) => input.path === path);
  if (planned === undefined || planned.digest === "" || planned.digest === dataset.digest) return;
  throw new OarlockError(
    "DATA_CHANGED",
    `${path}: the data's SHA-256 is ${dataset.digest.slice(0, 12)}, the plan was made with ` +
      `${planned.digest.slice(0, 12)}: make a new plan, or bring the data back`,
  );
}

function openData(data: ResolvedData): Dataset {
  if (data.type === "task") {
    const { name, ...settings } = data.task;
    return taskDataset(name, settings);
  }
  throw new OarlockError("DATA_TYPE", `data of type ${data.type}`);
}
