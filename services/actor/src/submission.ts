/**
 * The one door to the generator: a request runs on the version it names because loading and submitting happen in one turn.
 * Between the two nobody may load another version (W2).
 */
import type { Completion, GenerationRequest, Generator, ProgressListener } from "@oarlock/generation";
import type { PolicyVersion } from "@oarlock/run";
import { Semaphore, waitFor } from "@oarlock/runtime";
import type { PolicyHolder } from "./policies.ts";

/** A version takes its turn after everything that was submitted before it. Passing this hands the work back. */
const TURN_TIMEOUT_MS = 600_000;

/** What to generate, and on which weights; an undefined policy is the one that is loaded. */
export interface Order {
  readonly request: GenerationRequest;
  readonly policy: PolicyVersion | undefined;
  readonly onProgress?: ProgressListener;
}

export interface Submission {
  /** Resolves when the request is in the generator's queue; its completions follow. */
  submit(
    order: Order,
    signal: AbortSignal,
  ): Promise<{ readonly completions: Promise<readonly Completion[]> }>;
  /** Loads a version in a turn of its own. */
  ensure(policy: PolicyVersion, signal: AbortSignal): Promise<void>;
}

/** A door before `generator`. */
export function createSubmission(
  policies: Pick<PolicyHolder, "ensure">,
  generator: Pick<Generator, "submit">,
): Submission {
  const turns = new Semaphore("the generator's queue", 1);
  const wait = { timeoutMs: TURN_TIMEOUT_MS } as const;
  const ensure = (policy: PolicyVersion, signal: AbortSignal): Promise<void> =>
    waitFor(`policy version ${policy.number} to be loaded`, (s) => policies.ensure(policy, s), {
      ...wait,
      signal,
    });
  return {
    ensure: (policy, signal) => turns.run({ ...wait, signal }, () => ensure(policy, signal)),
    submit: ({ request, policy, onProgress }, signal) =>
      turns.run({ ...wait, signal }, async () => {
        if (policy !== undefined) await ensure(policy, signal);
        return { completions: generator.submit(request, signal, onProgress) };
      }),
  };
}
