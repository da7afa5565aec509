/**
 * The learner as a process of its own; `bin/oarlock-learner.cjs` starts it. Standard output is for events of the run, one
 * JSON object a line, for whoever supervises it; log lines go to standard error.
 */
import { OarlockError } from "@oarlock/errors";
import { createSettingsReader, processEnvironment, waitFor } from "@oarlock/runtime";
import { runServiceProcess, saveFinal } from "@oarlock/workload";
import type { ServiceProcess, ServingProcess } from "@oarlock/workload";
import { readLearnerConfig } from "./config.ts";
import type { LearnerConfig } from "./config.ts";
import type { LearnerOutcome } from "./learner.ts";
import { openLearner } from "./open.ts";
import type { LearnerEvent } from "./ports.ts";

/** A line of the learner's standard output. */
export type LearnerLine =
  | LearnerEvent
  | ({ readonly type: "ended"; readonly model?: string } & Omit<LearnerOutcome, "weights">);

/** Failures that a restart meets again: it would only hide them. */
const FINAL: ReadonlySet<string> = new Set([
  "STALLED",
  "TRAINING_NOTHING_TO_TRAIN",
  "TRAINING_OPTION",
  "TRAINING_ROW",
  "CHECKPOINT_DISK_FULL",
  "CHECKPOINT_FENCED",
  "CHECKPOINT_MISMATCH",
  "POLICY_FENCED",
]);

/** Runs a learner by the process's environment, in the run folder `OARLOCK_OUT`; gives the exit code. */
export async function main(): Promise<number> {
  const environment = processEnvironment();
  const config = readLearnerConfig(environment);
  return runServiceProcess(environment, { ...config, final: FINAL }, (parts) => {
    const outDir = createSettingsReader(environment).text("OARLOCK_OUT");
    if (outDir !== undefined) return serve(parts, config, outDir);
    throw new OarlockError(
      "SETTING_MISSING",
      "environment variable OARLOCK_OUT is not set; accepted: the path of a run folder",
    );
  });
}

async function serve(
  { security, ...parts }: ServiceProcess,
  config: LearnerConfig,
  outDir: string,
): Promise<ServingProcess> {
  const { lifecycle, model } = parts;
  const { learner, address } = await openLearner({
    ...parts,
    config: { ...config, security },
    outDir,
    resume: true,
    onEvent: say,
    signal: lifecycle.signal,
  });
  const giveUp = new AbortController();
  const train = async (): Promise<void> => {
    const { weights, ...outcome } = await learner.run(giveUp.signal);
    const saved = outcome.status === "completed" ? await saveFinal(model, weights, outDir) : {};
    say({ type: "ended", ...outcome, ...saved });
  };
  const stopped = train();
  stopped.catch(() => undefined); // whoever awaits it hears of it; nobody may be late for that
  lifecycle.onEnd("learner", async () => {
    learner.dispatch({ type: "stop", reason: "the process is told to end" });
    const wait = { timeoutMs: config.graceMs };
    await waitFor("the learner to reach a checkpoint", stopped, wait).finally(() => giveUp.abort());
  });
  return { address, stopped };
}

function say(line: LearnerLine): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
