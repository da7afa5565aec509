/**
 * The reward worker: takes generated trajectories, lets the scorers of their stage judge them, publishes them scored.
 *
 * Stateless: a batch is acknowledged once its scored form is stored. A scorer that fails gives `Failed` (S1), which is
 * an answer; only a bus that does not answer hands a batch back. It does not know what a score is for.
 */
import { setMaxListeners } from "node:events";
import { setImmediate as immediate } from "node:timers/promises";
import { groupMessageId } from "@oarlock/bus";
import type { Consumer, Message, Stream } from "@oarlock/bus";
import { isOarlockError } from "@oarlock/errors";
import { FinishReason, TrajectoryBatchSchema, fromBinary, toBinary } from "@oarlock/proto";
import type { NamedReward, Trajectory, TrajectoryBatch } from "@oarlock/proto";
import type { ScoringInput } from "@oarlock/rewards";
import { ACK_WAIT_MS } from "@oarlock/run";
import { retry, waitFor } from "@oarlock/runtime";
import type { Log } from "@oarlock/runtime";
import { namedReward, rowFields, scorersFor } from "./scoring.ts";
import type { RunScorers } from "./scoring.ts";
import { createRewardState, reduceReward, wantsBatch } from "./state.ts";
import type { RewardEvent, RewardState } from "./state.ts";

/** How long the loop sleeps in one pull when there is nothing to score; it wakes at once when there is. */
const PULL_TIMEOUT_MS = 30_000;
/** Scorers have their own, shorter deadlines; passing this one hands the batch back (D1c). */
const SCORE_TIMEOUT_MS = 600_000;
const PUBLISH_TIMEOUT_MS = 30_000;
/** What a pull gives once there is nothing to pull from any more. */
const ended = Symbol("the bus is closed");
const HAND_BACK_DELAY_MS = 1_000;
/** Decoding text is done in slices of so long, so that the event loop answers in between (P1). */
const SLICE_MS = 5;

/** Tokens to text, for scorers only (P1: whoever implements it keeps the event loop free). */
export interface TextDecoder {
  decode(tokens: readonly number[]): Promise<string> | string;
}

export interface RewardOptions {
  readonly scorers: RunScorers;
  readonly decoder: TextDecoder;
  readonly generated: Consumer;
  readonly scored: Stream;
  readonly scoredSubject: string;
  /** Batches at the same time. Default 64. */
  readonly capacity?: number;
  readonly log: Log;
}

export interface Reward {
  state(): RewardState;
  readonly scorers: RunScorers;
  /** Scores trajectories in order, each with the scorers of its stage and purpose. */
  score(trajectories: readonly Trajectory[], signal?: AbortSignal): Promise<NamedReward[][]>;
  /** Pulls until drained or until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
  /** Takes no more batches; resolves when those in hand are published, or handed back after `graceMs`. */
  drain(graceMs: number): Promise<void>;
}

/** A reward worker that has pulled nothing yet. */
export function createReward(options: RewardOptions): Reward {
  const { scorers, decoder, log } = options;
  const held = new Map<string, Message>();
  const giveUp = new AbortController();
  const stopPulling = new AbortController();
  // Every item in hand waits on it: more listeners than Node's alarm for leaks expects, and as many as Q1 allows.
  setMaxListeners(0, giveUp.signal);
  let state = createRewardState(options.capacity ?? 64);
  let watchers: (() => void)[] = [];

  const wake = (): void => {
    const woken = watchers;
    watchers = [];
    for (const resolve of woken) resolve();
  };
  const dispatch = (event: RewardEvent): void => {
    state = reduceReward(state, event);
    wake();
  };
  const changed = (): Promise<void> => new Promise((resolve) => void watchers.push(resolve));

  const inputOf = async (trajectory: Trajectory): Promise<ScoringInput> => {
    const { promptLength, tokenIds, finishReason } = trajectory;
    // The stop token ends the completion and is not part of its text.
    const end = finishReason === FinishReason.STOP ? tokenIds.length - 1 : tokenIds.length;
    const fields = rowFields(trajectory.prompt?.fieldsJson ?? "");
    return {
      prompt: await decoder.decode(tokenIds.slice(0, promptLength)),
      completion: await decoder.decode(tokenIds.slice(promptLength, end)),
      completionTokens: tokenIds.length - promptLength,
      fields,
      truncated: finishReason === FinishReason.LENGTH,
    };
  };

  const score = async (
    trajectories: readonly Trajectory[],
    signal?: AbortSignal,
  ): Promise<NamedReward[][]> => {
    const [first] = trajectories;
    if (first === undefined) return [];
    const set = scorersFor(scorers, first);
    const inputs: ScoringInput[] = [];
    let sliceMs = performance.now();
    for (const trajectory of trajectories) {
      inputs.push(await inputOf(trajectory));
      if (performance.now() - sliceMs < SLICE_MS) continue;
      await immediate();
      sliceMs = performance.now();
    }
    const verdicts = await set.score(inputs, signal);
    return verdicts.map((row) =>
      row.flatMap((verdict, i) => {
        const scorer = set.scorers[i];
        return scorer === undefined ? [] : [namedReward(scorer, verdict)];
      }),
    );
  };

  const scoreBatch = async (message: Message, batch: TrajectoryBatch, id: string): Promise<void> => {
    try {
      const wait = { timeoutMs: SCORE_TIMEOUT_MS, signal: giveUp.signal };
      const rewards = await waitFor(
        `scores of ${id} from the scorers`,
        (s) => score(batch.trajectories, s),
        wait,
      );
      const trajectories = batch.trajectories.map((trajectory, i) => ({
        ...trajectory,
        rewards: rewards[i] ?? [],
      }));
      const data = toBinary(TrajectoryBatchSchema, { ...batch, trajectories });
      // A full stream is the learner's way to say wait (Q1): scoring it all again would not help.
      await retry(
        `${options.scoredSubject} to store ${id}`,
        () => options.scored.publish(options.scoredSubject, data, { msgId: `${id}/scored` }),
        { timeoutMs: PUBLISH_TIMEOUT_MS, signal: giveUp.signal },
      );
      await message.ack();
      const failed = rewards.filter((row) => row.some(({ verdict }) => verdict.case === "failed")).length;
      held.delete(id);
      dispatch({ type: "published", id, scored: rewards.length - failed, failed });
    } catch (reason) {
      await (isOarlockError(reason, "SCORERS_MISSING")
        ? park(message, id, reason)
        : handBack(message, id, reason));
    }
  };

  const handBack = async (message: Message, id: string, reason: unknown): Promise<void> => {
    held.delete(id);
    dispatch({ type: "handed-back", id });
    if (!giveUp.signal.aborted) log.warn("handed a batch back", { batch: id, err: reason });
    await message.nak(giveUp.signal.aborted ? 0 : HAND_BACK_DELAY_MS);
  };

  const park = async (message: Message, id: string, reason: unknown): Promise<void> => {
    log.error("parked a batch that cannot be scored", { batch: id, sequence: message.sequence, err: reason });
    held.delete(id);
    dispatch({ type: "handed-back", id });
    dispatch({ type: "parked" });
    await message.term(reason instanceof Error ? reason.message : String(reason));
  };

  const take = async (message: Message): Promise<void> => {
    const id = `message ${message.sequence}`;
    try {
      const batch = fromBinary(TrajectoryBatchSchema, message.data);
      const named = batch.group && batchId(batch);
      held.set(named ?? id, message);
      dispatch({ type: "pulled", id: named ?? id });
      void scoreBatch(message, batch, named ?? id);
    } catch (reason) {
      await park(message, id, reason);
    }
  };

  const pull = async (signal: AbortSignal): Promise<void> => {
    signal.addEventListener("abort", wake, { once: true });
    while (!signal.aborted) {
      if (!wantsBatch(state)) {
        await changed();
        continue;
      }
      const message = await options.generated
        .next({ timeoutMs: PULL_TIMEOUT_MS, signal })
        .catch((reason: unknown) => {
          if (signal.aborted) return undefined;
          if (isOarlockError(reason, "BUS_CLOSED")) return ended;
          throw reason;
        });
      if (message === ended) return;
      if (message !== undefined) await take(message);
    }
  };

  const emptied = async (): Promise<void> => {
    while (held.size > 0) await changed();
  };

  return {
    state: () => state,
    scorers,
    score,
    async run(signal) {
      const heartbeat = setInterval(() => {
        // One that cannot be said is made up for by the next, or by a redelivery.
        for (const message of held.values()) message.working().catch(() => undefined);
      }, ACK_WAIT_MS / 3);
      try {
        await pull(AbortSignal.any([signal, stopPulling.signal]));
      } finally {
        if (signal.aborted) giveUp.abort(signal.reason);
        await emptied();
        clearInterval(heartbeat);
        dispatch({ type: "stopped" });
      }
    },
    async drain(graceMs) {
      dispatch({ type: "drain" });
      stopPulling.abort();
      await waitFor("batches in hand to be scored", emptied(), { timeoutMs: graceMs }).catch(
        (reason: unknown) => giveUp.abort(reason),
      );
      await emptied();
    },
  };
}

/** A batch's identity on the bus; a redelivery of the same samples has the same one. */
function batchId(batch: TrajectoryBatch): string | undefined {
  const { group, incarnation, firstSample, trajectories } = batch;
  if (group === undefined) return undefined;
  return groupMessageId(group, incarnation, `${trajectories[0]?.purpose ?? 0}/${firstSample}`);
}
