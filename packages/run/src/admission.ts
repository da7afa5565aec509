/**
 * The learner's admission check: whether a scored message may count, else why not, by name. Pure; order matters, since
 * a message can be wrong in several ways and the most telling reason is given.
 */
import { shortDigest } from "@oarlock/errors";
import type { BatchState, GroupState, SampleVerdict } from "./batch.ts";
import { batchKey, isSamePolicy } from "./identity.ts";
import type { GroupIdentity, PolicyVersion } from "./identity.ts";
import { isStale, numberOf } from "./stream.ts";
import type { StreamState } from "./stream.ts";

/** Why a message has no effect. */
export const DROP_REASONS = [
  /** Of another run. */
  "foreign",
  /** Sent by, or issued by, a superseded learner (F1). */
  "superseded",
  /** Of a step that is trained, or of an evaluation that is closed: a late duplicate, since nothing else can be late. */
  "late",
  /** Of a group that this learner never issued. */
  "unissued",
  /** Names samples outside its group or one twice, or not all that were asked for together. */
  "malformed",
  /** Every sample in it has been counted. */
  "duplicate",
  /** Made by another engine, plan or instruction set than this run's (D1b). */
  "other-fingerprint",
  /** Made by weights that this learner did not publish for this work: W2. */
  "unknown-policy",
  /** Streaming: made by weights that are too many versions behind the learner's. */
  "stale",
] as const;
export type DropReason = (typeof DROP_REASONS)[number];

/** The head of a scored message, as far as admission looks. */
export interface ScoredHead {
  readonly identity: GroupIdentity;
  readonly incarnation: number;
  /** Every policy that drew a token of these samples, each once: in lockstep there is one. */
  readonly policies: readonly PolicyVersion[];
  /** Digest of what decided its bits (D1b). */
  readonly fingerprint: string;
  readonly samples: readonly SampleVerdict[];
  /** Instance that made them: for what is said of them, it decides nothing. */
  readonly producedBy: string;
}

/** Of samples, where people read them. */
const SHOWN_SAMPLES = 16;

/** What admission compares with. */
export interface AdmissionContext {
  readonly uid: string;
  readonly incarnation: number;
  readonly fingerprint: string;
  /** Samples of a work item at most: they are asked for, and come back, together. */
  readonly itemSamples: number;
  readonly stage: number;
  /** Steps of the current stage whose batches are trained. */
  readonly trained: number;
  readonly batches: Readonly<Record<string, BatchState>>;
  /** Where the rollouts of the stage are a stream. */
  readonly stream: StreamState | undefined;
  readonly published: readonly PolicyVersion[];
}

/**
 * Undefined where the message may count. Who made it and by what is looked at last: where that is the reason, the group is
 * out and the message is the answer to it.
 */
export function refusal(context: AdmissionContext, message: ScoredHead): DropReason | undefined {
  const { identity } = message;
  if (identity.uid !== context.uid) return "foreign";
  if (message.incarnation < context.incarnation) return "superseded";
  if (identity.purpose === "rollout" && context.stream !== undefined) {
    return streamRefusal(context, context.stream, message);
  }
  const batch = context.batches[batchKey(identity)];
  if (batch === undefined) return isPast(context, identity) ? "late" : "unissued";
  const group = batch.groups[identity.group];
  if (group === undefined || identity.draw !== 0) return "unissued";
  const refused = refusedSamples(context, group, message) ?? refusedMaker(context, message);
  if (refused !== undefined) return refused;
  const isWanted = message.policies.every((policy) => isSamePolicy(batch.policy, policy));
  return isWanted ? undefined : "unknown-policy";
}

function refusedSamples(
  { itemSamples }: AdmissionContext,
  group: GroupState,
  { samples }: ScoredHead,
): DropReason | undefined {
  if (!isWholeItem(samples, group.samples.length, itemSamples)) return "malformed";
  return samples.every(({ sample }) => group.samples[sample] !== "pending") ? "duplicate" : undefined;
}

function refusedMaker(
  { fingerprint }: AdmissionContext,
  message: ScoredHead,
): "other-fingerprint" | undefined {
  return message.fingerprint === fingerprint ? undefined : "other-fingerprint";
}

/** A group of a stream may be of any policies that this learner published and that are not too old. */
function streamRefusal(
  context: AdmissionContext,
  stream: StreamState,
  message: ScoredHead,
): DropReason | undefined {
  const { stage } = context;
  const { identity } = message;
  if (identity.stage !== stage) return identity.stage < stage ? "late" : "unissued";
  const number = numberOf(stream.plan, identity);
  if (number === undefined || number >= stream.issued || stream.again.includes(number)) return "unissued";
  const group = stream.open[number];
  if (group === undefined) {
    return stream.ready.some((ready) => ready.number === number) ? "duplicate" : "late";
  }
  return (
    refusedSamples(context, group, message) ??
    refusedMaker(context, message) ??
    refusedWeights(context, stream, message)
  );
}

function refusedWeights(
  { published }: AdmissionContext,
  stream: StreamState,
  { policies }: ScoredHead,
): DropReason | undefined {
  if (policies.some((policy) => isStale(stream, policy.number))) return "stale";
  const isKnown = (policy: PolicyVersion): boolean => published.some((known) => isSamePolicy(known, policy));
  return policies.length > 0 && policies.every(isKnown) ? undefined : "unknown-policy";
}

/** Who made a message that is refused for how it was made, by what, and what was expected; "" for other reasons. */
export function refusalDetail(context: AdmissionContext, message: ScoredHead, reason: DropReason): string {
  return details[reason]?.(context, message) ?? "";
}

type Detail = (context: AdmissionContext, message: ScoredHead) => string;
const details: { readonly [Reason in DropReason]?: Detail } = {
  malformed: (context, { identity, samples, producedBy }) => {
    const asked = askedOf(context, identity);
    const size = `${asked} sample${asked === 1 ? "" : "s"}`;
    const pieces = asked > context.itemSamples ? `, asked for in pieces of ${context.itemSamples}` : "";
    return `${producedBy} answered with ${listed(samples)} of a group of ${size}${pieces}`;
  },
  "other-fingerprint": ({ fingerprint }, message) =>
    `${message.producedBy} made it by plan ${shortDigest(message.fingerprint)}, this run's is ${shortDigest(fingerprint)}`,
  "unknown-policy": ({ batches, published }, { identity, policies, producedBy }) => {
    const batch = batches[batchKey(identity)];
    const expected = batch === undefined ? published : [batch.policy];
    return `${producedBy} made it by ${named(policies)}, expected is ${named(expected)}`;
  },
};

/** Samples of a group that is out. */
function askedOf({ batches, stream }: AdmissionContext, identity: GroupIdentity): number {
  return (
    batches[batchKey(identity)]?.groups[identity.group]?.samples.length ?? stream?.plan.samplesPerGroup ?? 0
  );
}

function listed(samples: readonly SampleVerdict[]): string {
  const shown = samples.slice(0, SHOWN_SAMPLES).map(({ sample }) => sample);
  const more = samples.length > SHOWN_SAMPLES ? ", …" : "";
  return `${samples.length} (${shown.join(", ")}${more})`;
}

function named(policies: readonly PolicyVersion[]): string {
  return policies
    .map(({ number, digest }) => `policy version ${number} (${shortDigest(digest)})`)
    .join(" or ");
}

function isPast(context: AdmissionContext, identity: GroupIdentity): boolean {
  if (identity.stage !== context.stage) return identity.stage < context.stage;
  return identity.purpose === "rollout" ? identity.step < context.trained : identity.step <= context.trained;
}

/** Whether these are the samples of one work item, each once: nothing else would ever bring what is missing of it. */
function isWholeItem(verdicts: readonly SampleVerdict[], size: number, itemSamples: number): boolean {
  const first = Math.min(...verdicts.map(({ sample }) => sample));
  if (first % itemSamples !== 0 || verdicts.length !== Math.min(itemSamples, size - first)) return false;
  const seen = new Set(verdicts.map(({ sample }) => sample));
  return verdicts.every((_, i) => seen.has(first + i));
}
