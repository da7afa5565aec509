/**
 * The actor: pulls rollout work, generates each item with exactly the policy version it names, publishes trajectories.
 *
 * Stateless: what it holds can be generated again bit for bit (D2), so it acknowledges an item only once the answer is
 * stored, and hands back what it cannot finish. It does not know what the samples are for, or who trains on them.
 */
import { WorkLoop, givenUp, groupMessageId } from "@oarlock/bus";
import type { Consumer, Stream, WorkEvent, WorkHandler } from "@oarlock/bus";
import type { Completion, GenerationRequest, Generator, ProgressListener } from "@oarlock/generation";
import { isOarlockError } from "@oarlock/errors";
import { RolloutWorkSchema, TrajectoryBatchSchema, fromBinary, toBinary } from "@oarlock/proto";
import type { RolloutWork } from "@oarlock/proto";
import type { PolicyVersion } from "@oarlock/run";
import { retry, waitFor } from "@oarlock/runtime";
import type { Clock, Log } from "@oarlock/runtime";
import { createPolicyHolder } from "./policies.ts";
import type { PolicyHolder, PolicySource } from "./policies.ts";
import { createActorState, reduceActor, wantsWork } from "./state.ts";
import type { ActorEvent, ActorState } from "./state.ts";
import { createSubmission } from "./submission.ts";
import type { Submission } from "./submission.ts";
import { generationWork, trajectoryBatch } from "./work.ts";
import type { GenerationWork, Provenance } from "./work.ts";

/** One item, from slot to last token. Passing it hands the item back; it never decides what is trained (D1c). */
const GENERATE_TIMEOUT_MS = 600_000;
const PUBLISH_TIMEOUT_MS = 30_000;

export interface ActorOptions {
  readonly generator: Pick<Generator, "load" | "plan" | "submit">;
  readonly policies: PolicySource;
  readonly work: Consumer;
  /** Where answers go, under `answerSubject`. */
  readonly answers: Pick<Stream, "publish">;
  readonly answerSubject: string;
  readonly provenance: Provenance;
  readonly clock?: Clock;
  readonly log: Log;
}

/** A request beside the rollouts. */
export interface DirectRequest {
  readonly request: GenerationRequest;
  /** Undefined: the version that is loaded. */
  readonly policy: PolicyVersion | undefined;
  readonly signal?: AbortSignal;
  readonly onProgress?: ProgressListener;
}

export interface Actor {
  state(): ActorState;
  readonly policies: Pick<PolicyHolder, "held" | "loaded">;
  /** Pulls until drained or until the signal aborts, which hands everything back at once. */
  run(signal: AbortSignal): Promise<void>;
  /** Takes no more work; resolves when what is in hand is answered, or handed back after `graceMs`. */
  drain(graceMs: number): Promise<{ readonly finished: number; readonly handedBack: number }>;
  /** Generates beside the rollouts. */
  generate(direct: DirectRequest): Promise<readonly Completion[]>;
}

/** A work item with what was checked of it. */
interface ReadWork {
  readonly work: RolloutWork;
  readonly parsed: GenerationWork;
}

/** An actor that has pulled nothing yet. */
export function createActor(options: ActorOptions): Actor {
  const { generator } = options;
  const policies = createPolicyHolder({ source: options.policies, generator });
  const submission = createSubmission(policies, generator);
  let state = createActorState(generator.plan.slots);
  const dispatch = (event: ActorEvent): void => void (state = reduceActor(state, event));
  const loop = new WorkLoop({
    consumer: options.work,
    handler: rolloutHandler(options, submission),
    hasRoom: () => wantsWork(state),
    onEvent: (event) => dispatch(actorEvent(event)),
    log: options.log,
    ...(options.clock === undefined ? {} : { clock: options.clock }),
  });

  return {
    state: () => state,
    policies,
    async run(signal) {
      try {
        await loop.run(signal);
      } finally {
        dispatch({ type: "stopped" });
      }
    },
    async drain(graceMs) {
      const before = state;
      dispatch({ type: "drain" });
      await loop.drain(graceMs);
      return {
        finished: state.groupsCompleted - before.groupsCompleted,
        handedBack: state.groupsHandedBack - before.groupsHandedBack,
      };
    },
    async generate({ request, policy, signal, onProgress }) {
      const either = signal === undefined ? loop.signal : AbortSignal.any([signal, loop.signal]);
      const order = { request, policy, ...(onProgress === undefined ? {} : { onProgress }) };
      const { completions } = await submission.submit(order, either);
      return completions;
    },
  };
}

function actorEvent(event: WorkEvent<ReadWork, void>): ActorEvent {
  const { type, id } = event;
  if (type === "pulled") return { type, id, samples: event.item.work.sampleCount };
  return type === "done" ? { type: "published", id } : { type, id };
}

function rolloutHandler(options: ActorOptions, submission: Submission): WorkHandler<ReadWork, void> {
  const answer = async (
    { work, parsed }: ReadWork,
    completions: Promise<readonly Completion[]>,
    signal: AbortSignal,
  ): Promise<void> => {
    const { id } = parsed.request;
    const name = `${work.sampleCount} samples of ${id} from the generator`;
    const done = await waitFor(name, completions, { timeoutMs: GENERATE_TIMEOUT_MS, signal });
    if (done.some(({ finishReason }) => finishReason === "abort")) throw givenUp(id);
    const batch = toBinary(TrajectoryBatchSchema, trajectoryBatch(work, done, options.provenance));
    const msgId = work.group && `${groupMessageId(work.group, work.incarnation, id)}/generated`;
    // A full stream is the learner's way to say wait (Q1): generating it all again would not help.
    await retry(
      `${options.answerSubject} to store ${id}`,
      () => options.answers.publish(options.answerSubject, batch, msgId === undefined ? {} : { msgId }),
      { timeoutMs: PUBLISH_TIMEOUT_MS, signal },
    );
  };
  /** F1: nobody waits for it, and its policy will not come back. */
  const isSuperseded = async ({ incarnation }: RolloutWork): Promise<boolean> =>
    ((await options.policies.current())?.incarnation ?? 0) > incarnation;
  return {
    read(message) {
      const work = fromBinary(RolloutWorkSchema, message.data);
      const parsed = generationWork(work);
      return { id: parsed.request.id, item: { work, parsed } };
    },
    async start(item, id, signal) {
      try {
        const { completions } = await submission.submit(item.parsed, signal);
        return { done: answer(item, completions, signal) };
      } catch (reason) {
        if (!isOarlockError(reason, "POLICY_MISSING") || !(await isSuperseded(item.work))) throw reason;
        options.log.info("dropped work of a superseded learner", { item: id });
        return { done: Promise.resolve() };
      }
    },
  };
}
