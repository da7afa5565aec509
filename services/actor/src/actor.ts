/**
 * The actor: pulls rollout work, generates each item with exactly the policy version it names, publishes trajectories.
 *
 * Stateless: what it holds can be generated again bit for bit (D2), so it acknowledges an item only once the answer is
 * stored, and hands back what it cannot finish. It does not know what the samples are for, or who trains on them.
 */
import { setMaxListeners } from "node:events";
import { groupMessageId } from "@oarlock/bus";
import type { Consumer, Message, Stream } from "@oarlock/bus";
import { OarlockError, isOarlockError } from "@oarlock/errors";
import type { Completion, GenerationRequest, Generator } from "@oarlock/generation";
import { RolloutWorkSchema, TrajectoryBatchSchema, fromBinary, toBinary } from "@oarlock/proto";
import type { RolloutWork } from "@oarlock/proto";
import { ACK_WAIT_MS } from "@oarlock/run";
import type { PolicyVersion } from "@oarlock/run";
import { Semaphore, retry, waitFor } from "@oarlock/runtime";
import type { Log } from "@oarlock/runtime";
import { createPolicyHolder } from "./policies.ts";
import type { PolicyHolder, PolicySource } from "./policies.ts";
import { createActorState, reduceActor, wantsWork } from "./state.ts";
import type { ActorEvent, ActorState } from "./state.ts";
import { generationWork, trajectoryBatch } from "./work.ts";
import type { GenerationWork, Provenance } from "./work.ts";

/** How long the loop sleeps in one pull when there is no work; it wakes at once when there is. */
const PULL_TIMEOUT_MS = 30_000;
/** A version that cannot be fetched for so long hands the item back. */
const POLICY_TIMEOUT_MS = 60_000;
/** One item, from slot to last token. Passing it hands the item back; it never decides what is trained (D1c). */
const GENERATE_TIMEOUT_MS = 600_000;
const PUBLISH_TIMEOUT_MS = 30_000;
/** What a pull gives once there is nothing to pull from any more. */
const ended = Symbol("the bus is closed");
/** Before an item that could not be generated is tried again. */
const HAND_BACK_DELAY_MS = 1_000;

export interface ActorOptions {
  readonly generator: Generator;
  readonly policies: PolicySource;
  readonly work: Consumer;
  /** Where answers go, under `answerSubject`. */
  readonly answers: Stream;
  readonly answerSubject: string;
  readonly provenance: Provenance;
  readonly log: Log;
}

export interface Actor {
  state(): ActorState;
  readonly policies: Pick<PolicyHolder, "held" | "loaded">;
  /** Pulls until drained or until the signal aborts, which hands everything back at once. */
  run(signal: AbortSignal): Promise<void>;
  /** Takes no more work; resolves when what is in hand is answered, or handed back after `graceMs`. */
  drain(graceMs: number): Promise<{ readonly finished: number; readonly handedBack: number }>;
  /** Generates beside the rollouts, on `policy` or on the version that is loaded. */
  generate(
    request: GenerationRequest,
    policy: PolicyVersion | undefined,
    signal?: AbortSignal,
  ): Promise<readonly Completion[]>;
}

/** An actor that has pulled nothing yet. */
export function createActor(options: ActorOptions): Actor {
  const { generator, log } = options;
  const policies = createPolicyHolder({ source: options.policies, generator });
  const turns = new Semaphore("the generator's queue", 1);
  const held = new Map<string, Message>();
  const giveUp = new AbortController();
  const stopPulling = new AbortController();
  // Every item in hand waits on it: more listeners than Node's alarm for leaks expects, and as many as Q1 allows.
  setMaxListeners(0, giveUp.signal);
  let state = createActorState(generator.plan.slots);
  let watchers: (() => void)[] = [];

  const wake = (): void => {
    const woken = watchers;
    watchers = [];
    for (const resolve of woken) resolve();
  };
  const dispatch = (event: ActorEvent): void => {
    state = reduceActor(state, event);
    wake();
  };
  const changed = (): Promise<void> => new Promise((resolve) => void watchers.push(resolve));

  /** Loads and submits in one turn: between the two nobody may load another version. */
  const submit = async (
    request: GenerationRequest,
    policy: PolicyVersion | undefined,
    signal: AbortSignal,
  ): Promise<{ readonly completions: Promise<readonly Completion[]> }> =>
    turns.run({ timeoutMs: GENERATE_TIMEOUT_MS, signal }, async () => {
      if (policy !== undefined) {
        const wait = { timeoutMs: POLICY_TIMEOUT_MS, signal };
        await waitFor(
          `policy version ${policy.number} from the policy store`,
          (s) => policies.ensure(policy, s),
          wait,
        );
      }
      return { completions: generator.submit(request, signal) };
    });

  const handBack = async (message: Message, id: string, reason: unknown): Promise<void> => {
    held.delete(id);
    dispatch({ type: "handed-back", id });
    if (!giveUp.signal.aborted) log.warn("handed work back", { item: id, err: reason });
    await message.nak(giveUp.signal.aborted ? 0 : HAND_BACK_DELAY_MS);
  };

  const answer = async (
    message: Message,
    item: { readonly work: RolloutWork; readonly id: string },
    completions: Promise<readonly Completion[]>,
  ): Promise<void> => {
    const { work, id } = item;
    try {
      const done = await waitFor(`${work.sampleCount} samples of ${id} from the generator`, completions, {
        timeoutMs: GENERATE_TIMEOUT_MS,
        signal: giveUp.signal,
      });
      if (done.some(({ finishReason }) => finishReason === "abort")) {
        throw new OarlockError("GENERATION_ABORTED", `${id} was given up before it was finished`);
      }
      const batch = toBinary(TrajectoryBatchSchema, trajectoryBatch(work, done, options.provenance));
      const msgId = work.group && `${groupMessageId(work.group, work.incarnation, id)}/generated`;
      // A full stream is the learner's way to say wait (Q1): generating it all again would not help.
      await retry(
        `${options.answerSubject} to store ${id}`,
        () => options.answers.publish(options.answerSubject, batch, msgId === undefined ? {} : { msgId }),
        { timeoutMs: PUBLISH_TIMEOUT_MS, signal: giveUp.signal },
      );
      await message.ack();
      held.delete(id);
      dispatch({ type: "published", id });
    } catch (reason) {
      await handBack(message, id, reason);
    }
  };

  const take = async (message: Message): Promise<void> => {
    let work: RolloutWork;
    let parsed: GenerationWork;
    try {
      work = fromBinary(RolloutWorkSchema, message.data);
      parsed = generationWork(work);
    } catch (reason) {
      // Poison: no retry can read it. Parked with its reason, which status pages show.
      log.error("parked work that cannot be read", { sequence: message.sequence, err: reason });
      dispatch({ type: "parked" });
      await message.term(reason instanceof Error ? reason.message : String(reason));
      return;
    }
    const { id } = parsed.request;
    held.set(id, message);
    dispatch({ type: "pulled", id, samples: work.sampleCount });
    try {
      const { completions } = await submit(parsed.request, parsed.policy, giveUp.signal);
      void answer(message, { work, id }, completions);
    } catch (reason) {
      await handBack(message, id, reason);
    }
  };

  const pull = async (signal: AbortSignal): Promise<void> => {
    signal.addEventListener("abort", wake, { once: true });
    while (!signal.aborted) {
      if (!wantsWork(state)) {
        await changed();
        continue;
      }
      const message = await options.work
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
    policies,
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
      const before = state;
      dispatch({ type: "drain" });
      stopPulling.abort();
      await waitFor("work in hand to finish", emptied(), { timeoutMs: graceMs }).catch((reason: unknown) =>
        giveUp.abort(reason),
      );
      await emptied();
      return {
        finished: state.groupsCompleted - before.groupsCompleted,
        handedBack: state.groupsHandedBack - before.groupsHandedBack,
      };
    },
    async generate(request, policy, signal) {
      const both = signal === undefined ? giveUp.signal : AbortSignal.any([signal, giveUp.signal]);
      const { completions } = await submit(request, policy, both);
      return completions;
    },
  };
}
