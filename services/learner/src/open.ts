/**
 * The learner with all that it runs on, opened from the plan: data, checkpoints, journal, trainer, policy versions. Opening
 * claims a new incarnation (F1).
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { openKeptCheckpoints, openKeptFolder, openRunCheckpoints } from "@oarlock/checkpoint";
import type { KeptFolder } from "@oarlock/checkpoint";
import { scorerShape } from "@oarlock/runfile";
import {
  hasCriticsInActors,
  openRunCritics,
  openRunData,
  openRunPolicies,
  openRunTrainer,
  readRewardModel,
  saveStageModel,
  trainingEngine,
} from "@oarlock/workload";
import type { OpenedModel } from "@oarlock/workload";
import { openJournal } from "./journal.ts";
import { readLearnerCheckpoint } from "./checkpoint-state.ts";
import { readKeptStages } from "./kept-stages.ts";
import { openRunStreams, startLearner } from "./main.ts";
import { createModelPorts } from "./model-ports.ts";
import { openScorerVersions } from "./scorer-versions.ts";
import type { LearnerServiceParts, RunningLearner } from "./main.ts";

export type OpenLearnerParts = Omit<
  LearnerServiceParts,
  | "runStreams"
  | "policies"
  | "criticStore"
  | "checkpoints"
  | "trainer"
  | "models"
  | "versions"
  | "data"
  | "journal"
  | "kept"
> & {
  readonly model: OpenedModel;
  /** Folder that relative paths of the plan are relative to. */
  readonly baseDir: string;
  /** The run folder. */
  readonly outDir: string;
  /** Continues from the newest valid checkpoint in `outDir`, if there is one. */
  readonly resume: boolean;
  /** Bytes for the run folder on the message server, where it is kept there: the disk may go with the node. */
  readonly keepBytes?: number;
  readonly signal?: AbortSignal;
};

export interface OpenedLearner extends RunningLearner {
  /** Where the run folder is kept; whoever writes to it after the last checkpoint keeps it again. */
  readonly kept: KeptFolder | undefined;
}

/** Opens and starts it; `learner.run` trains. */
export async function openLearner(parts: OpenLearnerParts): Promise<OpenedLearner> {
  const { run, uid, bus, model, baseDir, outDir, resume, keepBytes, lifecycle, log, signal } = parts;
  const { tokenizer, stopTokens } = model;
  const data = await openRunData({
    run,
    baseDir,
    tokenizer,
    stopTokens,
    ...(signal === undefined ? {} : { signal }),
  });
  const runStreams = await openRunStreams(bus, run, uid);
  const folder = join(outDir, "checkpoints");
  await mkdir(folder, { recursive: true });
  const options = {
    folder,
    keep: run.spec.checkpoints.keep,
    resume,
    onSkipped: (path: string, reason: string) => {
      log.warn("skipped a checkpoint", { path, reason });
      parts.onEvent?.({ type: "skipped", path, reason });
    },
    ...(signal === undefined ? {} : { signal }),
  };
  const keptFolder =
    keepBytes === undefined
      ? undefined
      : await openKeptFolder({ bus, uid, folder: outDir, maxBytes: keepBytes });
  const checkpoints = await (keptFolder === undefined
    ? openRunCheckpoints(options)
    : openKeptCheckpoints(keptFolder, options));
  const { resumed, incarnation } = checkpoints;
  const position = resumed && readLearnerCheckpoint(resumed.state, { uid, planDigest: run.digest }).position;
  const cut = resume ? { position, stages: run.spec.stages.map(({ name }) => name) } : undefined;
  const journal = lifecycle.use("journal", await openJournal(outDir, cut));
  const trainer = lifecycle.use("trainer", await openRunTrainer(run, model));
  const policies = await openRunPolicies({ bus, run, uid, config: model.config, incarnation });
  const criticStore = hasCriticsInActors(run)
    ? await openRunCritics({ bus, run, uid, config: model.config, incarnation })
    : undefined;
  const models = createModelPorts({
    run,
    uid,
    bus,
    incarnation,
    outDir,
    model,
    engine: trainingEngine(run),
    readModel: ({ source, of }, stop) =>
      readRewardModel(
        { shape: scorerShape(run.inputs, of), policy: model },
        { source, baseDir, signal: stop },
      ),
    saveModel: (stage, weights) => saveStageModel(model, { stage, weights, outDir }),
  });
  const kept = await readKeptStages(outDir);
  const versions = await openScorerVersions(run, outDir);
  const opened = {
    runStreams,
    policies,
    criticStore,
    checkpoints,
    trainer,
    models,
    versions,
    data,
    journal,
    kept,
  };
  return { ...(await startLearner({ ...parts, ...opened })), kept: keptFolder };
}
