/**
 * Groups that the reward workers are asked about a second time: which are out, and what came back. A question is a message like
 * an actor's, and its answer one like any other; both say that they are of the second time. It does not know why it is asked.
 */
import { groupMessageId } from "@oarlock/bus";
import type { Stream } from "@oarlock/bus";
import { TrajectoryBatchSchema, create, toBinary } from "@oarlock/proto";
import type { Trajectory, TrajectoryBatch } from "@oarlock/proto";
import { workPurpose } from "@oarlock/run";
import { waitFor } from "@oarlock/runtime";
import type { Clock, Log } from "@oarlock/runtime";
import type { Pins, Question } from "./settle-versions.ts";
import type { StallingWaits } from "./stalling-waits.ts";

/** Twice the patience of the bus: what it gives up on, it names itself. */
const PUBLISH_TIMEOUT_MS = 120_000;

/** Key of the wait: there is one at a time. */
const WAIT = "second";

export interface SecondJudgementsOptions {
  readonly incarnation: number;
  /** Of the run's plan: workers of another one judge nothing of it (D1b). */
  readonly fingerprint: string;
  /** Where actors put what they have generated. */
  readonly generated: Pick<Stream, "publish">;
  readonly generatedSubject: string;
  /** Groups that are out at the same time at most (Q1). */
  readonly mostGroups: number;
  readonly waits: StallingWaits;
  readonly clock: Clock;
  readonly log: Log;
}

export interface SecondJudgements {
  /** The groups with the verdicts that come. */
  readonly judge: (questions: readonly Question[], signal: AbortSignal) => Promise<Trajectory[][]>;
  /** Whether it is an answer of a second time. One to nothing that is out has no effect. */
  take(answer: TrajectoryBatch): boolean;
  /** Whether the message is of a group that is out. */
  isOut(messageId: string): boolean;
  /** Since an answer came. */
  idleMs(): number;
}

/** Nothing is asked. */
export function createSecondJudgements(options: SecondJudgementsOptions): SecondJudgements {
  const { generated, generatedSubject, mostGroups, waits, clock, log } = options;
  /** What is out, by the message's id; the answer when it is there. */
  const out = new Map<string, { readonly group: readonly Trajectory[]; answer?: Trajectory[] }>();
  let movedMs = 0;
  const ask = async ({ group, pins }: Question): Promise<string> => {
    const batch = questionOf(group, pins, options);
    const msgId = messageIdOf(batch);
    out.set(msgId, { group });
    const stored = generated.publish(generatedSubject, toBinary(TrajectoryBatchSchema, batch), { msgId });
    await waitFor(`${generatedSubject} to store ${msgId}`, stored, { timeoutMs: PUBLISH_TIMEOUT_MS });
    return msgId;
  };
  const answersTo = (keys: readonly string[]): Trajectory[][] | undefined => {
    const answers = keys.flatMap((key) => {
      const answer = out.get(key)?.answer;
      return answer === undefined ? [] : [answer];
    });
    return answers.length < keys.length ? undefined : answers;
  };
  const judgeTogether = async (
    questions: readonly Question[],
    signal: AbortSignal,
  ): Promise<Trajectory[][]> => {
    const keys = await Promise.all(questions.map(ask));
    log.warn("a scorer changed within a step: groups are judged again", { groups: keys });
    const name = `second scores of ${keys.length} groups, ${keys[0] ?? ""} first, from reward workers`;
    const wait = { key: WAIT, name, get: () => answersTo(keys), who: () => `nobody gave ${name}` };
    const answers = await waits.until(wait, signal);
    for (const key of keys) out.delete(key);
    return answers;
  };
  return {
    async judge(questions, signal) {
      const judged: Trajectory[][] = [];
      for (let from = 0; from < questions.length; from += mostGroups)
        judged.push(...(await judgeTogether(questions.slice(from, from + mostGroups), signal)));
      return judged;
    },
    take(answer) {
      const asked = answer.again ? out.get(messageIdOf(answer)) : undefined;
      if (asked === undefined) return answer.again;
      // The verdicts alone are new: all else is as it was admitted (W2).
      asked.answer = asked.group.map((trajectory) => {
        const judged = answer.trajectories.find(({ sample }) => sample === trajectory.sample);
        return { ...trajectory, rewards: judged?.rewards ?? [] };
      });
      movedMs = clock.monotonicMs();
      waits.wake(WAIT);
      return true;
    },
    isOut: (messageId) => [...out.keys()].some((key) => messageId.startsWith(key)),
    idleMs: () => clock.monotonicMs() - movedMs,
  };
}

function questionOf(
  group: readonly Trajectory[],
  pins: Pins,
  { incarnation, fingerprint }: Pick<SecondJudgementsOptions, "incarnation" | "fingerprint">,
): TrajectoryBatch {
  const [first] = group;
  return create(TrajectoryBatchSchema, {
    ...(first?.group === undefined ? {} : { group: first.group }),
    ...(first?.trace === undefined ? {} : { trace: first.trace }),
    incarnation,
    trajectories: group.map((trajectory) => ({ ...trajectory, rewards: [] })),
    scorers: [...pins].map(([name, version]) => ({ name, version })),
    again: true,
    planDigest: fingerprint,
  });
}

/** A question and its answer have the same one; the reward worker adds to it. */
function messageIdOf({ group, incarnation, trajectories: [first] }: TrajectoryBatch): string {
  const purpose = (first && workPurpose(first.purpose)) ?? "rollout";
  return group === undefined ? "" : groupMessageId(group, incarnation, `${purpose}/again`);
}
