/**
 * Streaming mode's view of the policy: hears of every announced version and has the generator go on with the newest, in
 * mid-sequence. Work says which version may begin at the oldest; a superseded learner's work is told from others (F1).
 *
 * It fetches nothing itself: `ensure` verifies and loads (W2). What fails is tried again with what is announced by then, for
 * as long as the generator works.
 */
import { isOarlockError } from "@oarlock/errors";
import type { PolicyVersion } from "@oarlock/run";
import { createWakeup, sleep, waitFor } from "@oarlock/runtime";
import type { Log } from "@oarlock/runtime";
import type { Announcement, PolicySource } from "./policies.ts";

/** A version that work was issued for is announced already; passing this hands the work back. */
const REACH_TIMEOUT_MS = 60_000;
const RETRY_DELAY_MS = 500;

export interface Follower {
  /** Follows announcements until the signal aborts; rejects when the generator fails. */
  run(signal: AbortSignal): Promise<void>;
  /**
   * Resolves when the generator runs on a version of this incarnation that is no older than `policy`, with that version;
   * undefined when a newer learner took over: nobody waits for the work any more.
   */
  reach(policy: PolicyVersion, incarnation: number, signal: AbortSignal): Promise<PolicyVersion | undefined>;
}

export interface FollowerOptions {
  readonly source: Pick<PolicySource, "current" | "watch">;
  readonly ensure: (policy: PolicyVersion, signal: AbortSignal) => Promise<void>;
  /** Failures of the generator itself. */
  readonly isBroken: (reason: unknown) => boolean;
  readonly log: Log;
}

/** A follower that has heard of nothing. */
export function createFollower({ source, ensure, isBroken, log }: FollowerOptions): Follower {
  let loaded: Announcement | undefined;
  const { wake, changed } = createWakeup();

  /** Loads what is announced, or what is by the time that it can be had. */
  const follow = async (announced: Announcement, signal: AbortSignal): Promise<void> => {
    let target = announced;
    while (!signal.aborted) {
      try {
        await ensure(target.current, signal);
        loaded = target;
        return wake();
      } catch (reason) {
        if (signal.aborted || isBroken(reason)) throw reason;
        log.warn("could not take a policy version; trying again", {
          version: target.current.number,
          err: reason,
        });
        await sleep(RETRY_DELAY_MS, { signal });
        target = (await source.current().catch(() => undefined)) ?? target;
      }
    }
  };

  const watch = async (signal: AbortSignal): Promise<void> => {
    try {
      for await (const announced of source.watch(signal)) await follow(announced, signal);
    } catch (reason) {
      if (signal.aborted || isOarlockError(reason, "BUS_CLOSED")) return;
      if (isBroken(reason)) throw reason;
      log.warn("lost sight of policy announcements; looking again", { err: reason });
    }
  };

  return {
    async run(signal) {
      while (!signal.aborted) {
        await watch(signal);
        await sleep(RETRY_DELAY_MS, { signal }).catch(() => undefined);
      }
    },
    async reach(policy, incarnation, signal) {
      const until = async (ended: AbortSignal): Promise<PolicyVersion | undefined> => {
        for (;;) {
          ended.throwIfAborted();
          if (loaded !== undefined && loaded.incarnation > incarnation) return undefined;
          const isReached = loaded?.incarnation === incarnation && loaded.current.number >= policy.number;
          if (loaded !== undefined && isReached) return loaded.current;
          await changed(ended);
        }
      };
      const name = `policy version ${policy.number} or newer to be announced and loaded`;
      return waitFor(name, until, { timeoutMs: REACH_TIMEOUT_MS, signal });
    },
  };
}
