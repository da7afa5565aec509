/** `oarlock export RUN DIR`: the policy of a run, final or of a checkpoint, as a folder that other tools load. */
import { Command } from "commander";
import { listCheckpoints, readCheckpoint } from "@oarlock/checkpoint";
import { OarlockError } from "@oarlock/errors";
import { loadModelFolder, type ModelToSave } from "@oarlock/models";
import { parameterLayout } from "@oarlock/nn";
import { bytesOf, sha256Hex } from "@oarlock/runtime";
import type { CommandContext } from "../context.ts";
import { modelParts, openModel } from "@oarlock/workload";
import { listenForInterrupt } from "../interrupt.ts";
import { finalModel } from "../model-argument.ts";
import { type DTypeName, dtypeOption, requireFree, writeModel } from "../model-output.ts";
import { wholeNumber } from "../options.ts";
import { readPlan, runPaths } from "../run-folder.ts";

interface ExportOptions {
  readonly step?: number;
  readonly dtype: DTypeName;
}

export function exportCommand(context: CommandContext): Command {
  return new Command("export")
    .description("Write a run's policy, final or of a checkpoint, as a folder in Hugging Face layout.")
    .argument("<run>", "run folder")
    .argument("<dir>", "folder to write, new or empty")
    .option(
      "--step <number>",
      "the policy after this many steps, counted over all stages; a checkpoint must hold it (default: the final one)",
      wholeNumber,
    )
    .addOption(dtypeOption())
    .addHelpText("after", EXAMPLES)
    .action(async (run: string, folder: string, { step, dtype }: ExportOptions) => {
      const { terminal } = context;
      await readPlan(run);
      await requireFree(folder);
      using interrupt = listenForInterrupt(terminal, "\nstopping");
      const { signal } = interrupt;
      const policy = step === undefined ? await finalPolicy(run, signal) : await policyAt(run, step, signal);
      await writeModel(folder, policy, { dtype, digest: policy.digest, signal, terminal });
    });
}

type Policy = ModelToSave & { readonly digest: string };

async function finalPolicy(run: string, signal: AbortSignal): Promise<Policy> {
  const model = await finalModel(run).catch(async (reason: unknown) => {
    if (!(reason instanceof OarlockError)) throw reason;
    const instead = (await stepsOf(run)).map((step) => `--step ${step}`).join(", ");
    throw new OarlockError(
      reason.code,
      `${reason.rawMessage}${instead === "" ? "" : `, or take ${instead}`}`,
    );
  });
  return loadModelFolder(model, { signal });
}

/** The checkpoint's weights in the model that the run began with. */
async function policyAt(run: string, step: number, signal: AbortSignal): Promise<Policy> {
  const { checkpoints } = runPaths(run);
  const place = (await listCheckpoints(checkpoints)).find((checkpoint) => checkpoint.step === step);
  if (place === undefined) {
    const held = await stepsOf(run);
    const accepted = held.length === 0 ? "none: the run has no checkpoint yet" : held.join(", ");
    throw new OarlockError(
      "CHECKPOINT_MISSING",
      `${run} has no checkpoint at step ${step}; accepted: ${accepted}`,
    );
  }
  const { arrays } = await readCheckpoint(place.path, signal);
  const { run: resolved, baseDir } = await readPlan(run);
  const model = await openModel(resolved.spec.model, { baseDir, seed: resolved.spec.seed, signal });
  const { model: planned } = resolved.inputs;
  if (model.digest !== planned.digest || model.tokenizer.digest !== planned.tokenizerDigest) {
    throw new OarlockError(
      "MODEL_CHANGED",
      `the model that ${run} began with is not what it was: its shape and tokenizer cannot be trusted`,
    );
  }
  const { weights } = arrays;
  if (!(weights instanceof Float32Array) || weights.length !== parameterLayout(model.config).length) {
    throw new OarlockError("CHECKPOINT_MISMATCH", `${place.path} holds no weights of the run's model`);
  }
  return { ...modelParts(model), weights, digest: sha256Hex(bytesOf(weights)) };
}

/** Steps that checkpoints hold, in order. */
async function stepsOf(run: string): Promise<readonly number[]> {
  const steps = (await listCheckpoints(runPaths(run).checkpoints)).map(({ step }) => step);
  return [...new Set(steps)].toSorted((left, right) => left - right);
}

const EXAMPLES = `
Examples:
  oarlock export runs/addition ./addition-model
  oarlock export runs/addition ./addition-100 --step 100
  oarlock export runs/stories ./stories-bf16 --dtype bf16`;
