/**
 * The actor: pulls rollout work, generates each item with exactly the policy version it names (in streaming mode with the
 * newest one, at every token), publishes trajectories.
 *
 * Stateless: what it holds can be generated again bit for bit (D2), so it acknowledges an item only once the answer is
 * stored, and hands back what it cannot finish. It does not know what the samples are for, or who trains on them.
 */
import { WorkLoop, givenUp, groupMessageId } from "@oarlock/bus";
import type { Consumer, Stream, WorkEvent, WorkHandler } from "@oarlock/bus";
import type { Completion, GenerationRequest, Generator, ProgressListener } from "@oarlock/generation";
import { OarlockError, isOarlockError } from "@oarlock/errors";
import { RolloutWorkSchema, fromBinary } from "@oarlock/proto";
import type { RolloutWork } from "@oarlock/proto";
import { isSamePolicy } from "@oarlock/run";
import type { PolicyVersion } from "@oarlock/run";
import { endingWith, systemClock, traceOfHeaders, waitFor, withTrace } from "@oarlock/runtime";
import type { Clock, Log, Tracer } from "@oarlock/runtime";
import { deliveryOf, queueSeconds, startProcessing } from "@oarlock/telemetry";
import type { Delivery, Destination } from "@oarlock/telemetry";
import { publishAnswer } from "@oarlock/workload";
import type { RefuseOtherPlan } from "@oarlock/workload";
import type { Companion } from "./companion.ts";
import { createFollower } from "./follower.ts";
import type { Follower } from "./follower.ts";
import { partSpans, recordTokens } from "./generation-spans.ts";
import type { ActorRecorders } from "./metrics.ts";
import { createPolicyHolder } from "./policies.ts";
import type { Announcement, PolicyHolder, PolicySource } from "./policies.ts";
import { createActorState, reduceActor, wantsWork } from "./state.ts";
import type { ActorEvent, ActorState } from "./state.ts";
import { createSubmission } from "./submission.ts";
import type { Submission } from "./submission.ts";
import { completionAttributes, generationWork, judgedItem, trajectoryBatch, workAttributes } from "./work.ts";
import type { Answered, GenerationWork, Provenance } from "./work.ts";

/** One item, from slot to last token. Passing it hands the item back; it never decides what is trained (D1c). */
const GENERATE_TIMEOUT_MS = 600_000;
/** After these the generator gives nothing any more: the actor ends, and another takes its work. */
const ENGINE_FAILURES = ["GENERATION_FAILED", "WORKER_DIED", "WORKER_CLOSED"] as const;
const isBroken = (reason: unknown): boolean => ENGINE_FAILURES.some((code) => isOarlockError(reason, code));

/** The request itself cannot run, whoever takes it: the learner shall hear why, not wait for it. */
const IMPOSSIBLE_REQUESTS = ["GENERATION_REQUEST", "GENERATION_PARAMS", "RANDOM_KEY"] as const;
const isPoison = (reason: unknown): boolean =>
  IMPOSSIBLE_REQUESTS.some((code) => isOarlockError(reason, code));

/** What of a companion the work needs. */
type Asked = Pick<Companion, "ensure" | "perToken">;

export interface ActorOptions {
  readonly generator: Pick<Generator, "load" | "switchTo" | "plan" | "submit">;
  readonly policies: PolicySource;
  readonly reference: Asked;
  readonly critic: Asked;
  /** Where the critic's versions are announced. */
  readonly critics: Pick<PolicySource, "current">;
  /** Whether the newest announced policy takes over in mid-sequence: the run streams. Default false. */
  readonly streaming?: boolean;
  readonly work: Consumer;
  /** Where answers go, under `answerSubject`. */
  readonly answers: Pick<Stream, "publish">;
  readonly answerSubject: string;
  readonly provenance: Provenance;
  /** What becomes of work that is of another plan than `provenance` says. */
  readonly refuseOtherPlan: RefuseOtherPlan;
  readonly telemetry: ActorTelemetry;
  readonly clock?: Clock;
  readonly log: Log;
}

/** What the actor says of its work, and how that is called. */
export interface ActorTelemetry {
  readonly tracer: Tracer;
  readonly recorders: ActorRecorders;
  /** Name of what is trained. */
  readonly model: string;
  readonly work: Destination;
  readonly answers: Destination;
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
  readonly delivery: Delivery;
}

/** An actor that has pulled nothing yet. */
export function createActor(options: ActorOptions): Actor {
  const { generator, streaming = false } = options;
  const { tracer } = options.telemetry;
  const policies = createPolicyHolder({ source: options.policies, generator, tracer, inFlight: streaming });
  const submission = createSubmission(policies, generator);
  const follower = createFollower({
    source: options.policies,
    ensure: (policy, signal) => submission.ensure(policy, signal),
    isBroken,
    log: options.log,
  });
  let state = createActorState(generator.plan.slots);
  const dispatch = (event: ActorEvent): void => void (state = reduceActor(state, event));
  const loop = new WorkLoop({
    consumer: options.work,
    handler: rolloutHandler(options, submission, follower),
    hasRoom: () => wantsWork(state),
    onEvent: (event) => dispatch(actorEvent(event)),
    log: options.log,
    ...(options.clock === undefined ? {} : { clock: options.clock }),
  });

  return {
    state: () => state,
    policies,
    async run(signal) {
      const ending = new AbortController();
      const either = AbortSignal.any([signal, ending.signal]);
      const following = streaming ? follower.run(either) : Promise.resolve();
      // An actor that cannot follow the policy is of no use: it hands everything back, and ends with the reason.
      following.catch((reason: unknown) => ending.abort(reason));
      try {
        await loop.run(either);
      } finally {
        ending.abort();
        dispatch({ type: "stopped" });
      }
      await following;
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
      if (streaming) refuseOther(policy, policies.loaded());
      const either = signal === undefined ? loop.signal : AbortSignal.any([signal, loop.signal]);
      const timed = { ...request, timed: true };
      const order = { request: timed, policy, ...(onProgress === undefined ? {} : { onProgress }) };
      const { completions } = await submission.submit(order, either);
      return described(options, { request: timed }, completions);
    },
  };
}

function actorEvent(event: WorkEvent<ReadWork, void>): ActorEvent {
  const { type, id } = event;
  if (type === "pulled") return { type, id, samples: event.item.work.sampleCount };
  return type === "done" ? { type: "published", id } : { type, id };
}

function rolloutHandler(
  options: ActorOptions,
  submission: Submission,
  follower: Follower,
): WorkHandler<ReadWork, void> {
  const { clock = systemClock, telemetry } = options;
  const { tracer, recorders } = telemetry;
  const answer = async (
    item: ReadWork,
    completions: Promise<readonly Completion[]>,
    signal: AbortSignal,
  ): Promise<void> => {
    const { id } = item.parsed.request;
    const name = `${item.work.sampleCount} samples of ${id} from the generator`;
    const generated = waitFor(name, completions, { timeoutMs: GENERATE_TIMEOUT_MS, signal });
    const done = await described(options, item.parsed, generated);
    if (done.some(({ finishReason }) => finishReason === "abort")) throw givenUp(id);
    if (!item.parsed.followNewest && !done.every((one) => isOfOnePolicy(one, item.parsed.policy))) {
      throw givenUp(`${id} by policy version ${item.parsed.policy.number}`);
    }
    const answered = await judged(options, item.parsed, { done, signal });
    await publish(options, item.work, { id, answered, signal });
  };
  const dropped = (id: string): { readonly done: Promise<void> } => {
    options.log.info("dropped work that nobody waits for", { item: id });
    return { done: Promise.resolve() };
  };
  /**
   * A run that streams never goes back to an older version: of work that wants exactly one, an older one is of an evaluation
   * that is over, since nothing is announced while one goes on.
   */
  const submit = async (parsed: GenerationWork, work: RolloutWork, signal: AbortSignal): Submitted => {
    // Nothing is generated in vain: one that is not to be had is found out first.
    if (parsed.reference !== undefined) await options.reference.ensure(parsed.reference, signal);
    if (parsed.critic !== undefined) await options.critic.ensure(parsed.critic, signal);
    if (options.streaming !== true) return submission.submit(parsed, signal);
    const reached = await follower.reach(parsed.policy, work.incarnation, signal);
    const isWanted = reached !== undefined && (parsed.followNewest || isSamePolicy(reached, parsed.policy));
    return isWanted ? submission.submit({ ...parsed, policy: undefined }, signal) : "superseded";
  };
  return {
    isBroken,
    isPoison,
    read(message) {
      const work = fromBinary(RolloutWorkSchema, message.data);
      const parsed = generationWork(work);
      const delivery = deliveryOf(message, clock.nowMs());
      return { id: parsed.request.id, item: { work, parsed, delivery }, trace: traceOfHeaders(work.trace) };
    },
    async start(item, id, signal) {
      const { work, parsed, delivery } = item;
      if (work.fingerprintDigest !== options.provenance.fingerprintDigest) {
        if (await isOver(options, parsed, work)) return dropped(id);
        const { fingerprintDigest: planDigest, incarnation } = work;
        await options.refuseOtherPlan({ planDigest, incarnation }, signal);
      }
      const attributes = workAttributes(work, parsed);
      const parent = traceOfHeaders(work.trace);
      const span = startProcessing(tracer, { destination: telemetry.work, delivery, parent, attributes });
      recorders.queueWait(queueSeconds(delivery));
      const submitted = withTrace(span.context, () => submit(parsed, work, signal));
      const done = async (): Promise<void> => {
        const begun = await submitted;
        if (begun === "superseded") await dropped(id).done;
        else await answer(item, begun.completions, signal);
      };
      const finished = endingWith(span, withTrace(span.context, done));
      // Where the submission fails, so does this: the loop hears of it once.
      finished.catch(() => undefined);
      try {
        await submitted;
        return { done: finished };
      } catch (reason) {
        if (!isOarlockError(reason, "POLICY_MISSING") || !(await isOver(options, parsed, work))) throw reason;
        return dropped(id);
      }
    },
  };
}

/**
 * Nobody waits for it, and its policies or its critic will not come back: of a superseded learner (F1), or of a version that its
 * learner has withdrawn, which it does once all that needed it is trained. An actor that dies between answering and acknowledging
 * leaves such work behind.
 */
async function isOver(
  { policies, critics }: Pick<ActorOptions, "policies" | "critics">,
  { policy, reference = policy, critic }: GenerationWork,
  { incarnation }: RolloutWork,
): Promise<boolean> {
  if (isGone(await policies.current(), [policy, reference], incarnation)) return true;
  return critic !== undefined && isGone(await critics.current(), [critic], incarnation);
}

/** Whether one of `wanted`, of a learner of that incarnation, was announced and is no more. */
function isGone(
  announced: Announcement | undefined,
  wanted: readonly PolicyVersion[],
  incarnation: number,
): boolean {
  if (announced === undefined || announced.incarnation < incarnation) return false;
  const { current, held } = announced;
  const isWithdrawn = (version: PolicyVersion): boolean =>
    current.number > version.number && !held.some((one) => isSamePolicy(one, version));
  return announced.incarnation > incarnation || wanted.some(isWithdrawn);
}

/** What a submission leads to; a superseded learner's work leads to nothing (F1). */
type Submitted = Promise<Awaited<ReturnType<Submission["submit"]>> | "superseded">;

/** Where the newest version generates, no request may have the generator go back to an older one. */
function refuseOther(policy: PolicyVersion | undefined, loaded: PolicyVersion | undefined): void {
  if (policy === undefined || (loaded !== undefined && isSamePolicy(policy, loaded))) return;
  const message = `the run streams: the actor serves version ${loaded?.number ?? "none"} now, not ${policy.number}`;
  throw new OarlockError("POLICY_MISSING", message, { retryable: true });
}

/** W2: whether exactly that policy drew every token. */
function isOfOnePolicy({ segments }: Completion, policy: PolicyVersion): boolean {
  return segments.every(({ version }) => isSamePolicy(version, policy));
}

/** A generation under its span, measured. */
function described(
  { telemetry, clock = systemClock }: ActorOptions,
  parsed: Pick<GenerationWork, "request">,
  generated: Promise<readonly Completion[]>,
): Promise<readonly Completion[]> {
  const { tracer, recorders, model } = telemetry;
  const span = tracer.startSpan({ name: `text_completion ${model}` });
  const told = async (): Promise<readonly Completion[]> => {
    const done = await generated;
    recordTokens(recorders, done);
    if (span.recording) {
      span.set(completionAttributes(parsed, done, model));
      partSpans(tracer, span.context, done, clock.nowMs());
    }
    return done;
  };
  return endingWith(span, told());
}

/** In the order of the samples, with what reference and critic give them where they are asked: a function of the item (D1). */
async function judged(
  { reference, critic }: Pick<ActorOptions, "reference" | "critic">,
  parsed: GenerationWork,
  { done, signal }: { readonly done: readonly Completion[]; readonly signal: AbortSignal },
): Promise<readonly Answered[]> {
  const ordered = done.toSorted((a, b) => a.sample - b.sample);
  const item = judgedItem(parsed, ordered);
  const ask = async (of: Asked, policy: PolicyVersion | undefined): Promise<Float32Array[] | undefined> =>
    policy && of.perToken(policy, item, signal);
  const logprobs = await ask(reference, parsed.reference);
  const values = await ask(critic, parsed.critic);
  return ordered.map((completion, i) => ({
    completion,
    referenceLogprobs: logprobs?.[i],
    values: values?.[i],
  }));
}

function publish(
  { answerSubject, answers, provenance, telemetry }: ActorOptions,
  work: RolloutWork,
  answer: { readonly id: string; readonly answered: readonly Answered[]; readonly signal: AbortSignal },
): Promise<void> {
  const { id, answered, signal } = answer;
  const data = trajectoryBatch(work, answered, provenance);
  const messageId = work.group && `${groupMessageId(work.group, work.incarnation, id)}/generated`;
  const { tracer, answers: destination } = telemetry;
  const place = { stream: answers, subject: answerSubject, tracer, destination };
  return publishAnswer(place, { id, messageId, data }, signal);
}
