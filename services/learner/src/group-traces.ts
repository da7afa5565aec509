/**
 * One trace per group, from dispatch to the step that trains on it. The learner begins its root when the first item of the
 * group goes out and ends it when its batch is used; actors and reward workers add children by the context in the record.
 * Nothing here decides anything: without a listener all of it is silent.
 */
import { TraceContextSchema, create } from "@oarlock/proto";
import type { RolloutWork, TrajectoryBatch } from "@oarlock/proto";
import { groupKey } from "@oarlock/run";
import type { ConductorEffect, GroupDropReason, GroupIdentity, WorkItem } from "@oarlock/run";
import { isSampled, traceHeaders, traceOfHeaders, withTrace } from "@oarlock/runtime";
import type { Attributes, Span, SpanLink, TraceContext, Tracer } from "@oarlock/runtime";
import { groupAttributes, policyAttributes, sendTraced, startProcessing } from "@oarlock/telemetry";
import type { Delivery, Destination } from "@oarlock/telemetry";

export interface GroupTraces {
  /** Sends the message of an item as part of its group's trace. */
  send<T>(item: WorkItem, work: RolloutWork, message: Sent<T>): Promise<T>;
  /** A scored message came: runs its admission under a span, which says what that led to. */
  admit(batch: TrajectoryBatch, delivery: Delivery, admission: () => readonly ConductorEffect[]): void;
  /** These groups are used by `user`: they end, linked to it; gives the links back to them. */
  used(groups: readonly Omit<GroupIdentity, "uid">[], user: BatchUser): readonly SpanLink[];
  /** The group ends without being used. */
  dropped(group: GroupIdentity, reason: GroupDropReason): void;
  /** Ends what is open: nobody will use it. */
  abandon(): void;
}

/** How to send a message: its bytes follow from the record with its trace. */
export interface Sent<T> {
  readonly messageId: string;
  readonly encode: (work: RolloutWork) => Uint8Array;
  readonly publish: (data: Uint8Array, headers: Readonly<Record<string, string>>) => Promise<T>;
}

/** A training step or an evaluation. */
export interface BatchUser {
  readonly context: TraceContext | undefined;
  readonly attributes: Attributes;
  /** Attributes of the group at this index of the list, known now. */
  readonly ofGroup: (index: number) => Attributes;
}

export interface GroupTracesOptions {
  readonly tracer: Tracer;
  readonly work: Destination;
  readonly scored: Destination;
}

/** What spans say of an item's group. */
function attributesOf({ identity, policy }: WorkItem, work: RolloutWork): Attributes {
  const { uid, purpose, stage, group, draw } = identity;
  const step = purpose === "rollout" ? identity.step + 1 : identity.step;
  return {
    ...groupAttributes({ runUid: uid, stage, step, group, draw, purpose }),
    ...policyAttributes(policy),
    "rl.prompt.id": work.prompt?.promptId,
    "rl.prompt.tokens": work.promptTokens.length,
  };
}

/** Traces of groups, none of them begun. */
export function createGroupTraces({ tracer, work: destination, scored }: GroupTracesOptions): GroupTraces {
  /** Open roots by group. */
  const open = new Map<string, Span>();

  const rootOf = (item: WorkItem, work: RolloutWork): Span => {
    const key = groupKey(item.identity);
    const known = open.get(key);
    if (known !== undefined) return known;
    const name = `${item.identity.purpose} group`;
    const span = tracer.startSpan({ name, parent: "none", attributes: attributesOf(item, work) });
    open.set(key, span);
    return span;
  };

  return {
    send(item, work, { messageId, encode, publish }) {
      const parent = rootOf(item, work).context;
      const data = encode(parent === undefined ? work : { ...work, trace: traceMessage(parent) });
      const sending = { destination, messageId, bytes: data.byteLength, parent };
      return sendTraced(tracer, sending, (headers) => publish(data, headers));
    },

    admit(batch, delivery, admission) {
      const parent = traceOfHeaders(batch.trace);
      const span = startProcessing(tracer, { name: "admit", destination: scored, delivery, parent });
      try {
        for (const effect of withTrace(span.context, admission)) span.set(admissionAttributes(effect));
      } catch (reason) {
        span.fail(reason);
        throw reason;
      } finally {
        span.end();
      }
    },

    used(groups, { context, attributes, ofGroup }) {
      return groups.flatMap((identity, index) => {
        const span = open.get(groupKey(identity));
        if (span === undefined) return [];
        open.delete(groupKey(identity));
        const own = ofGroup(index);
        span.set({ ...own, "rl.outcome": identity.purpose === "rollout" ? "trained" : "evaluated" });
        if (isSampled(context)) span.link({ context, attributes: { ...attributes, "rl.link": "used by" } });
        span.end();
        const linked = { "rl.link": "uses", "rl.group.id": identity.group, ...own };
        return isSampled(span.context) ? [{ context: span.context, attributes: linked }] : [];
      });
    },

    dropped(identity, reason) {
      const span = open.get(groupKey(identity));
      open.delete(groupKey(identity));
      span?.set({ "rl.outcome": "dropped", "rl.drop.reason": reason });
      span?.end();
    },

    abandon() {
      for (const span of open.values()) {
        span.set({ "rl.outcome": "abandoned" });
        span.end();
      }
      open.clear();
    },
  };
}

/** What an effect says of the message that led to it. */
function admissionAttributes(effect: ConductorEffect): Attributes {
  if (effect.type === "drop") return { "rl.admission": "dropped", "rl.admission.reason": effect.reason };
  if (effect.type === "keep") return { "rl.admission": "admitted", "rl.sample.count": effect.samples.length };
  return {};
}

/** The record's form of a context. */
function traceMessage(context: TraceContext): NonNullable<RolloutWork["trace"]> {
  const { traceparent, tracestate = "" } = traceHeaders(context);
  return create(TraceContextSchema, { traceparent, tracestate });
}
