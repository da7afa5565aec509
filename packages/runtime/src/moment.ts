/**
 * Moments at which a process can be made to die, for tests of what its death costs: `OARLOCK_DIE_AT=policy-stored:5` ends it by
 * SIGKILL when it comes to that moment for the fifth time. Nothing happens where the variable is not set.
 */
import { OarlockError } from "@oarlock/errors";
import { type Environment, processEnvironment } from "./config.ts";

export const MOMENTS = [
  /** A step was asked of the trainer; nothing of it is computed. */
  "update-begins",
  /** Gradients are accumulated; weights and moments are those before the update. */
  "gradients-ready",
  /** Weights and moments are those after the update; nobody else knows. */
  "update-applied",
  /** A policy version is stored whole; the pointer names the one before. */
  "policy-stored",
  /** A checkpoint is written whole, aside; it has not got its name. */
  "checkpoint-written",
] as const;
export type Moment = (typeof MOMENTS)[number];

const VARIABLE = "OARLOCK_DIE_AT";

let last: { readonly moment: Moment; left: number } | undefined | "unread" = "unread";

/** Called where the process comes to a moment. @throws OarlockError `SETTING_INVALID`. */
export function reachMoment(moment: Moment): void {
  if (last === "unread") last = readLastMoment(processEnvironment());
  // The whole process, from any of its threads.
  if (last?.moment === moment && --last.left === 0) process.kill(process.pid, "SIGKILL");
}

/** The moment, and how many times it is still reached. */
export function readLastMoment(
  environment: Environment,
): { readonly moment: Moment; left: number } | undefined {
  const value = environment[VARIABLE];
  if (value === undefined || value === "") return undefined;
  const [, name, times] = /^([a-z-]+):([1-9]\d{0,5})$/.exec(value) ?? [];
  const moment = MOMENTS.find((known) => known === name);
  if (moment !== undefined) return { moment, left: Number(times) };
  const accepted = `${MOMENTS.join(", ")}, then a colon and a whole number from 1 on`;
  throw new OarlockError(
    "SETTING_INVALID",
    `environment variable ${VARIABLE}=${JSON.stringify(value)}; accepted: ${accepted}`,
  );
}
