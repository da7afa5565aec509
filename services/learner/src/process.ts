/**
 * The learner as a process of its own; `bin/oarlock-learner.cjs` starts it. Standard output is for events of the run, one
 * JSON object a line, for whoever supervises it; log lines go to standard error.
 */
import { writeFile } from "node:fs/promises";
import { OarlockError } from "@oarlock/errors";
import type { ResolvedRun } from "@oarlock/runfile";
import { createSettingsReader, processEnvironment, waitFor } from "@oarlock/runtime";
import { readServiceConfig, runServiceProcess, saveFinal, SERVICE_EXIT } from "@oarlock/workload";
import type { ServiceConfig, ServiceProcess, ServingProcess } from "@oarlock/workload";
import type { LearnerOutcome } from "./learner.ts";
import { openLearner } from "./open.ts";
import { stepsOf } from "./plan.ts";
import type { LearnerEvent } from "./ports.ts";
import { verdictsOf } from "./reward-model-stage.ts";
import type { LearnerState } from "./state.ts";

/** A line of the learner's standard output. */
export type LearnerLine =
  | LearnerEvent
  | ({ readonly type: "ended"; readonly model?: string } & Omit<LearnerOutcome, "weights">);

/** Failures that a restart meets again: it would only hide them. */
const FINAL: ReadonlySet<string> = new Set([
  "GATE_NOT_PASSED",
  "GUARD_STOPPED",
  "LEARNER_SUPERSEDED",
  "MODEL_CHANGED",
  "REWARD_MODEL_INVALID",
  "STALLED",
  "TRAINING_NOTHING_TO_TRAIN",
  "TRAINING_OPTION",
  "TRAINING_ROW",
  "CHECKPOINT_DISK_FULL",
  "CHECKPOINT_FENCED",
  "CHECKPOINT_MISMATCH",
  "POLICY_FENCED",
]);

/** A learner that is told to end waits so long for the batch of its step. */
const BATCH_PATIENCE_MS = 15_000;
/** Without progress for so long, the cause is logged. */
const STALL_WARN_MS = { min: 1_000, max: 3_600_000, fallback: 30_000 };
/** Default: the run folder is kept nowhere else. */
const KEEP_BYTES = { min: 0, max: Number.MAX_SAFE_INTEGER, fallback: 0 };

/**
 * Runs a learner by the process's environment, in the run folder `OARLOCK_OUT`, which is kept in `OARLOCK_KEEP_BYTES` bytes of the
 * message server where those are given; gives the exit code.
 */
export async function main(): Promise<number> {
  const environment = processEnvironment();
  const config = readServiceConfig(environment, "learner");
  const settings = createSettingsReader(environment);
  let complete = false;
  const onComplete = async (report: LastReport): Promise<void> => {
    complete = true;
    const file = settings.text("OARLOCK_TERMINATION_MESSAGE");
    if (file !== undefined) await writeFile(file, JSON.stringify(report));
  };
  const code = await runServiceProcess(environment, { ...config, role: "learner", final: FINAL }, (parts) => {
    const outDir = settings.text("OARLOCK_OUT");
    const keepBytes = settings.integer("OARLOCK_KEEP_BYTES", KEEP_BYTES);
    const stallWarnMs = settings.integer("OARLOCK_STALL_WARN_MS", STALL_WARN_MS);
    if (outDir !== undefined) return serve(parts, { config, outDir, keepBytes, stallWarnMs, onComplete });
    throw new OarlockError(
      "SETTING_MISSING",
      "environment variable OARLOCK_OUT is not set; accepted: the path of a run folder",
    );
  });
  // Whoever supervises takes 0 for a run that is trained to the end.
  return code === SERVICE_EXIT.ok && !complete ? SERVICE_EXIT.interrupted : code;
}

/**
 * What a complete run leaves for its supervisor, who cannot ask any more: written to `OARLOCK_TERMINATION_MESSAGE`, which
 * Kubernetes shows in the pod's status.
 */
interface LastReport {
  readonly phase: "succeeded";
  readonly message: string;
  readonly stage: number;
  readonly step: number;
  readonly policyVersion: number;
  readonly policyDigest: string;
  readonly metrics: Readonly<Record<string, number>>;
  /** Of the last checkpoint: whoever asked every few seconds knows an earlier one. */
  readonly checkpointStep: number;
}

function lastReport(
  { spec }: ResolvedRun,
  { policy, metrics, evaluations }: Pick<LearnerOutcome, "policy" | "metrics" | "evaluations">,
  { lastCheckpointStep: checkpointStep }: Pick<LearnerState, "lastCheckpointStep">,
): LastReport {
  const stage = spec.stages.at(-1);
  return {
    phase: "succeeded",
    message: "",
    stage: spec.stages.length - 1,
    step: stage === undefined ? 0 : stepsOf(stage),
    policyVersion: policy.number,
    policyDigest: policy.digest,
    metrics: { ...verdictsOf(evaluations), ...metrics },
    checkpointStep,
  };
}

async function serve(
  { security, ...parts }: ServiceProcess,
  of: {
    readonly config: ServiceConfig;
    readonly outDir: string;
    readonly keepBytes: number;
    readonly stallWarnMs: number;
    readonly onComplete: (report: LastReport) => Promise<void>;
  },
): Promise<ServingProcess> {
  const { config, outDir, keepBytes, stallWarnMs, onComplete } = of;
  const { lifecycle, model, run } = parts;
  const { learner, address, kept } = await openLearner({
    ...parts,
    config: { ...config, security },
    outDir,
    resume: true,
    ...(keepBytes === 0 ? {} : { keepBytes }),
    onEvent: say,
    stall: { warnMs: stallWarnMs },
    signal: lifecycle.signal,
  });
  const giveUp = new AbortController();
  const train = async (): Promise<void> => {
    const { weights, ...outcome } = await learner.run(giveUp.signal);
    const saved = outcome.status === "completed" ? await saveFinal(model, weights, outDir) : {};
    await kept?.keep();
    say({ type: "ended", ...outcome, ...saved });
    if (outcome.status === "completed") await onComplete(lastReport(run, outcome, learner.state()));
  };
  const stopped = train();
  stopped.catch(() => undefined); // whoever awaits it hears of it; nobody may be late for that
  lifecycle.onEnd("learner", async () => {
    learner.dispatch({ type: "stop", reason: "the process is told to end" });
    const wait = { timeoutMs: config.graceMs };
    // Actors and reward workers may have been told to end with us, and others may not come.
    const patienceMs = Math.min(BATCH_PATIENCE_MS, config.graceMs / 2);
    const late = parts.clock.after(patienceMs, () => learner.rollouts.abandon());
    await waitFor("the learner to reach a checkpoint", stopped, wait).finally(() => {
      late.cancel();
      giveUp.abort();
    });
  });
  return { address, stopped };
}

function say(line: LearnerLine): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
