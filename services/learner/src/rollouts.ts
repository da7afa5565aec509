/**
 * The conductor at work: applies the reducer's effects to the bus, keeps admitted payloads, and answers "is the batch of
 * step k there?". All decisions are the reducer's (`@oarlock/run`); this file owns streams, the clock and promises.
 *
 * T2: a scored message is acknowledged as soon as it is admitted or refused. In lockstep with deterministic scorers that
 * is durable enough: after a crash the same work is issued again and gives the same bits. In streaming mode it gives other
 * ones, under the same identity: what was admitted and not yet trained is generated anew, and trained once.
 */
import { setMaxListeners } from "node:events";
import { groupMessageId } from "@oarlock/bus";
import type { Consumer, Message, ParkedMessage, Stream } from "@oarlock/bus";
import { OarlockError, isOarlockError } from "@oarlock/errors";
import { RolloutWorkSchema, TrajectoryBatchSchema, fromBinary, toBinary } from "@oarlock/proto";
import type { RolloutWork, Trajectory, TrajectoryBatch } from "@oarlock/proto";
import { batchKey, conduct, createConductor, describeWaits, idleMs, readyBatch } from "@oarlock/run";
import type {
  BatchName,
  ConductorEffect,
  ConductorEvent,
  ConductorState,
  Ledger,
  WorkItem,
} from "@oarlock/run";
import { waitFor } from "@oarlock/runtime";
import type { Log, Recorder } from "@oarlock/runtime";
import { deliveryOf, queueSeconds } from "@oarlock/telemetry";
import type { Delivery } from "@oarlock/telemetry";
import { createCollection } from "./collection.ts";
import type { Collection } from "./collection.ts";
import type { GroupTraces } from "./group-traces.ts";
import { groupMessage, groupOfMessage, scoredHead } from "./messages.ts";
import type { ScoredExpectation } from "./messages.ts";
import { createHeardVersions } from "./settle-versions.ts";
import type { HeardVersions, Question } from "./settle-versions.ts";
import { createOtherPlans } from "./other-plans.ts";
import type { OtherPlansHeard } from "./other-plans.ts";
import { createSecondJudgements } from "./second-judgements.ts";
import type { SecondJudgementsOptions } from "./second-judgements.ts";
import { createStallingWaits } from "./stalling-waits.ts";
import type { StallingWaitsOptions } from "./stalling-waits.ts";

const PULL_TIMEOUT_MS = 30_000;
/** Pulls under way: one message costs two round trips, and no order is lost by it (D1). */
const PULLS = 16;
/** Twice the patience of the bus: what it gives up on, it names itself. */
const PUBLISH_TIMEOUT_MS = 120_000;

export interface RolloutsOptions
  extends Omit<SecondJudgementsOptions, "waits">, Omit<StallingWaitsOptions, "idleMs">, ScoredExpectation {
  readonly uid: string;
  readonly fingerprint: string;
  readonly ledger?: Ledger;
  readonly work: Stream;
  readonly workSubject: string;
  readonly scored: Consumer;
  /** An item as a message; the learner knows prompts and sampling. */
  readonly describe: (item: WorkItem) => RolloutWork;
  readonly traces: GroupTraces;
  /** Seconds that scored messages wait for the learner. */
  readonly queueWait: Recorder;
}

export interface Rollouts {
  state(): ConductorState;
  dispatch(event: ConductorEvent): void;
  /**
   * Resolves with the batch's trajectories `[group][sample]` once it is complete. Throws `STALLED` when nothing has
   * moved for the limit, naming who waits for whom (L1).
   */
  collect(name: BatchName, signal: AbortSignal): Promise<Trajectory[][]>;
  /** The same trajectories of collected groups with the verdicts of these versions. Ends as `collect` does. */
  readonly judgeAgain: (questions: readonly Question[], signal: AbortSignal) => Promise<Trajectory[][]>;
  /** Of a scorer, as far as anything that came says it. */
  readonly newestVersion: HeardVersions["newest"];
  /** Consumes scored messages until the signal aborts; rejects when the bus fails. */
  run(signal: AbortSignal): Promise<void>;
  /** A message was parked, by whomever: what it was of will not come. */
  parked(message: Pick<ParkedMessage, "msgId" | "reason">): void;
  /** Who waits for whom, now. */
  waits(): string;
  /** Ends every wait with this reason: a part that the batches depend on failed. */
  fail(reason: unknown): void;
  /** Ends every wait for what is not there, with `STEP_ABANDONED`: nothing of its step has begun. */
  abandon(): void;
}

/** A conductor that has issued nothing. */
export function createRollouts(options: RolloutsOptions): Rollouts {
  const { clock, log } = options;
  const collection = createCollection();
  const heard = createHeardVersions();
  const otherPlans = createOtherPlans(options);
  let state = createConductor({
    uid: options.uid,
    incarnation: options.incarnation,
    fingerprint: options.fingerprint,
    nowMs: clock.monotonicMs(),
    ...(options.ledger === undefined ? {} : { ledger: options.ledger }),
  });
  const waits = createStallingWaits({
    ...options,
    heldUp: () => joined(otherPlans.described(), options.heldUp()),
    idleMs: () => Math.min(idleMs(state, clock.monotonicMs()), second.idleMs()),
  });
  const { wake, fail, abandon } = waits;
  const second = createSecondJudgements({ ...options, waits });
  const apply: Apply = {
    issue: ({ items }) => void issue(options, items).catch(fail),
    keep: ({ identity, samples }, payload) => collection.keep(identity, payload, samples),
    drop: (dropped) => tellDropped(log, dropped),
    "drop-group": (dropped) => forget(options, collection, dropped),
    "group-lost": (lost) => fail(lostGroup(lost)),
    "batch-ready": ({ batch }) => wake(batchKey(batch)),
  };
  const react = (event: ConductorEvent, payload: Payload): readonly ConductorEffect[] => {
    const next = conduct(state, { ...event, nowMs: clock.monotonicMs() });
    state = next.state;
    for (const effect of next.effects) {
      // The function's parameter is the effect of its own name: the index ties them, which the checker cannot follow.
      const rule = apply[effect.type] as (effect: ConductorEffect, payload: Payload) => void;
      rule(effect, payload);
    }
    return next.effects;
  };
  const admit: Admit = (batch, delivery) => {
    options.queueWait(queueSeconds(delivery));
    options.traces.admit(batch, delivery, () => {
      heard.note(batch.trajectories);
      if (second.take(batch)) return [];
      const message = scoredHead(batch, options);
      const effects = react({ type: "received", message }, batch.trajectories);
      refuseMalformed(effects);
      return effects;
    });
  };
  return {
    state: () => state,
    newestVersion: heard.newest,
    judgeAgain: second.judge,
    dispatch: (event) => void react(event, []),
    parked({ msgId = "", reason }) {
      const of = groupOfMessage(msgId);
      if (of !== undefined && second.isOut(msgId)) fail(lostGroup({ ...of, reason }));
      else if (of !== undefined) react({ type: "parked", ...of, reason }, []);
    },
    waits: () => joined(describeWaits(state, clock.monotonicMs()), otherPlans.described()),
    fail,
    abandon,
    async collect(name, signal) {
      const key = batchKey(name);
      const wait = {
        key,
        name: `the batch ${key} from actors and reward workers`,
        get: () => readyBatch(state, name),
        who: () => describeWaits(state, clock.monotonicMs()),
      };
      return collection.take(await waits.until(wait, signal));
    },
    async run(signal) {
      // Every pull listens to it: more than Node's alarm for leaks expects.
      setMaxListeners(0, signal);
      const reading = Array.from({ length: PULLS }, () =>
        consume(options, { admit, otherPlans, fail }, signal),
      );
      await Promise.all(reading);
    },
  };
}

/** Throws `SCORED_MALFORMED`, so that the message is parked for people to see. */
function refuseMalformed(effects: readonly ConductorEffect[]): void {
  for (const effect of effects) {
    if (effect.type !== "drop" || effect.reason !== "malformed") continue;
    throw new OarlockError("SCORED_MALFORMED", effect.detail);
  }
}

/** Clauses, of which some may be "". */
function joined(...clauses: readonly string[]): string {
  return clauses.filter((clause) => clause !== "").join("; ");
}

type Admit = (batch: TrajectoryBatch, delivery: Delivery) => void;

interface Reading {
  readonly admit: Admit;
  readonly otherPlans: Pick<OtherPlansHeard, "hear">;
}

interface Consumption extends Reading {
  readonly fail: (reason: unknown) => void;
}

async function consume(
  options: RolloutsOptions,
  { fail, ...reading }: Consumption,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      const message = await options.scored.next({ timeoutMs: PULL_TIMEOUT_MS, signal });
      if (message !== undefined) await take(message, reading, options);
    } catch (reason) {
      if (signal.aborted) return;
      fail(reason);
      throw reason;
    }
  }
}

function tellDropped(
  log: Log,
  { identity, reason, detail }: Extract<ConductorEffect, { type: "drop" }>,
): void {
  log.warn("dropped a scored message", { ...identity, reason, ...(detail === "" ? {} : { detail }) });
}

/** Of a group that will not be trained on. */
function forget(
  { log, traces }: Pick<RolloutsOptions, "log" | "traces">,
  collection: Collection,
  { identity, reason }: Extract<ConductorEffect, { type: "drop-group" }>,
): void {
  log.warn("dropped a group", { ...identity, reason });
  collection.forget(identity);
  traces.dropped(identity, reason);
}

/** A restart makes it anew. */
function lostGroup({
  identity,
  reason,
}: Omit<Extract<ConductorEffect, { type: "group-lost" }>, "type">): OarlockError {
  const { purpose, stage, step, group } = identity;
  const which = `${purpose} group ${group} of step ${step}, stage ${stage}`;
  return new OarlockError("GROUP_LOST", `${which} will not come: ${reason}`);
}

type Payload = readonly Trajectory[];
type Apply = {
  readonly [Type in ConductorEffect["type"]]: (
    effect: Extract<ConductorEffect, { type: Type }>,
    payload: Payload,
  ) => void;
};

async function issue(
  { work, workSubject, incarnation, describe, traces }: RolloutsOptions,
  items: readonly WorkItem[],
): Promise<void> {
  const stored = items.map((item) => {
    const { identity, firstSample } = item;
    const msgId = groupMessageId(groupMessage(identity), incarnation, `${identity.purpose}/${firstSample}`);
    return traces.send(item, describe(item), {
      messageId: msgId,
      encode: (message) => toBinary(RolloutWorkSchema, message),
      publish: (data, headers) => work.publish(workSubject, data, { msgId, headers }),
    });
  });
  await waitFor(`${workSubject} to store ${items.length} items`, Promise.all(stored), {
    timeoutMs: PUBLISH_TIMEOUT_MS,
  });
}

/**
 * Admits one scored message; what cannot be read is parked with its reason. One that a newer learner asked for is handed back
 * to it, and says that this one is superseded (F1): throws `LEARNER_SUPERSEDED`.
 */
async function take(
  message: Message,
  { admit, otherPlans }: Reading,
  { incarnation, log, clock }: Pick<RolloutsOptions, "incarnation" | "log" | "clock">,
): Promise<void> {
  try {
    const batch = fromBinary(TrajectoryBatchSchema, message.data);
    if (batch.incarnation > incarnation) throw superseded(incarnation, batch.incarnation);
    if (batch.otherPlan === undefined) admit(batch, deliveryOf(message, clock.nowMs()));
    else if (batch.incarnation === incarnation) otherPlans.hear(batch.otherPlan);
  } catch (reason) {
    if (isOarlockError(reason, "LEARNER_SUPERSEDED")) {
      await message.nak();
      throw reason;
    }
    log.error("parked a scored message that cannot be read", { sequence: message.sequence, err: reason });
    await message.term(reason instanceof Error ? reason.message : String(reason));
    return;
  }
  await message.ack();
}

function superseded(incarnation: number, by: number): OarlockError {
  const message = `a trajectory of incarnation ${by} came to incarnation ${incarnation}: another learner has taken over`;
  return new OarlockError("LEARNER_SUPERSEDED", message);
}
