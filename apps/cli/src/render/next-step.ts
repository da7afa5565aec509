/** What to type after a run that did not complete, by why it ended. Pure. */
import { isOarlockError, shellWord } from "@oarlock/errors";

export interface Ended {
  readonly folder: string;
  /** The run file, and the changes to it that the run was started with. */
  readonly source: string;
  readonly set: readonly string[];
  /** undefined: it was stopped. */
  readonly failure?: unknown;
}

/**
 * Failures that a resume meets again: what to mend first. A changed input is another run, which is planned anew into the same
 * folder.
 */
const MEND_FIRST: Readonly<Record<string, string>> = {
  REWARDS_FAILED: "mend the reward",
  REWARD_LOAD: "mend the reward",
  REWARD_BUNDLE: "mend the reward",
  GATE_NOT_PASSED: "change the stage or its gate",
  GUARD_STOPPED: "change the stage or its guards",
};

/** The failure that a resume meets for as long as the folder is what it is. */
const ALL_DAMAGED = "CHECKPOINT_NONE_VALID";

/** Failures that a resume may pass as well, and when. */
const MAY_PASS: Readonly<Record<string, string>> = {
  REWARDS_FAILED: "a scorer that only was away",
};

export function nextSteps({ folder, source, set, failure }: Ended): string[] {
  const resume = `oarlock resume ${shellWord(folder)}`;
  const codes = codesOf(failure);
  if (codes.includes(ALL_DAMAGED)) {
    const mend = `restore a checkpoint, or remove ${folder}/checkpoints to begin again`;
    return [`next     ${mend}, then: ${resume}`];
  }
  const code = codes.find((one) => one in MEND_FIRST);
  if (code === undefined) return [`continue: ${resume}`];
  return [
    `next     ${MEND_FIRST[code]}, then: ${runAgain({ folder, source, set })}`,
    ...(code in MAY_PASS ? [`         ${MAY_PASS[code]}: ${resume}`] : []),
  ];
}

/** The command that runs the file again into the folder. */
export function runAgain({ folder, source, set }: Omit<Ended, "failure">): string {
  const changes = set.map((one) => ` --set ${shellWord(one)}`).join("");
  return `oarlock run ${shellWord(source)} --out ${shellWord(folder)}${changes}`;
}

/** Outermost first: a failure of another process comes wrapped. */
function codesOf(failure: unknown): string[] {
  if (!(failure instanceof Error)) return [];
  return [...(isOarlockError(failure) ? [failure.code] : []), ...codesOf(failure.cause)];
}
