/**
 * The names of one run on the bus. Every one carries the run's uid, never its bare name, so that two runs of one name, or
 * a run deleted and created again, never meet.
 */
import { OarlockError } from "@oarlock/errors";

/** Subjects, streams and buckets of one run. */
export interface RunSubjects {
  readonly uid: string;
  /** Rollout work: `RolloutWork` messages, a work queue. */
  readonly workRollout: string;
  /** `TrajectoryBatch` messages from actors. */
  readonly trajectoryGenerated: string;
  /** `TrajectoryBatch` messages from reward workers. */
  readonly trajectoryScored: string;
  readonly workStream: string;
  /** Holds both trajectory subjects, as a work queue with one consumer each. */
  readonly trajectoryStream: string;
  /** Key-value bucket of run state and of the policy pointer. */
  readonly stateBucket: string;
  /** Object bucket of policy shards and manifests. */
  readonly policyBucket: string;
  /** Object bucket of the files that the run reads. */
  readonly bundleBucket: string;
  /** Object bucket of the run folder's files, where the folder is kept there. */
  readonly folderBucket: string;
  /** Key of the policy pointer in `stateBucket`. */
  readonly policyPointerKey: string;
  /** Key of the run's state in `stateBucket`. */
  readonly runStateKey: string;
  /** Key in `stateBucket` of what the folder's bucket holds. */
  readonly folderKey: string;
}

const UID = /^[A-Za-z0-9-]{1,64}(_[a-z0-9]{1,16})?$/;

/**
 * Of a run, or of a part of it that has a policy store of its own: `<uid>_<part>`. A part's names begin with the run's, so that
 * it is removed with the run.
 * @throws OarlockError `BUS_NAME_INVALID` unless the uid is 1 to 64 letters, digits or `-`, and a part 1 to 16 small letters or digits.
 */
export function subjects(uid: string): RunSubjects {
  if (!UID.test(uid)) {
    throw new OarlockError(
      "BUS_NAME_INVALID",
      `run uid ${JSON.stringify(uid)}: 1 to 64 letters, digits or "-", and _part for a part of the run`,
    );
  }
  return {
    uid,
    workRollout: `oarlock.${uid}.work.rollout`,
    trajectoryGenerated: `oarlock.${uid}.trajectory.generated`,
    trajectoryScored: `oarlock.${uid}.trajectory.scored`,
    workStream: `OARLOCK_${uid}_WORK`,
    trajectoryStream: `OARLOCK_${uid}_TRAJECTORY`,
    stateBucket: `OARLOCK_${uid}_STATE`,
    policyBucket: `OARLOCK_${uid}_POLICY`,
    bundleBucket: `OARLOCK_${uid}_BUNDLE`,
    folderBucket: `OARLOCK_${uid}_FOLDER`,
    policyPointerKey: "policy",
    runStateKey: "run",
    folderKey: "folder",
  };
}

/** A message id: the group's identity and the learner's incarnation (T1, F1), plus what tells its messages apart. */
export function groupMessageId(group: MessageGroup, incarnation: number, part: string): string {
  return [group.runUid, group.stage, group.step, group.group, group.draw, incarnation, part].join("/");
}

/** A group's identity, as messages carry it. */
export interface MessageGroup {
  readonly runUid: string;
  readonly stage: number;
  readonly step: number;
  readonly group: number;
  readonly draw: number;
}

const GROUP_MESSAGE_ID = /^([^/]+)\/(\d+)\/(\d+)\/(\d+)\/(\d+)\/(\d+)\/(.+)$/;

/** Reads such an id back; undefined where it is none. */
export function readGroupMessageId(
  id: string,
): { readonly group: MessageGroup; readonly incarnation: number; readonly part: string } | undefined {
  const found = GROUP_MESSAGE_ID.exec(id);
  if (found === null) return undefined;
  const [, runUid = "", stage, step, group, draw, incarnation, part = ""] = found;
  const identity = { stage: Number(stage), step: Number(step), group: Number(group), draw: Number(draw) };
  return { group: { runUid, ...identity }, incarnation: Number(incarnation), part };
}

/** Whether a subject falls under a pattern: `*` is one token, a last `>` is one or more. */
export function subjectMatches(pattern: string, subject: string): boolean {
  const wanted = pattern.split(".");
  const given = subject.split(".");
  for (const [index, token] of wanted.entries()) {
    if (token === ">") return given.length > index;
    if (index >= given.length || (token !== "*" && token !== given[index])) return false;
  }
  return wanted.length === given.length;
}

/** Whether some subject could fall under both patterns. */
export function subjectsOverlap(left: string, right: string): boolean {
  const a = left.split(".");
  const b = right.split(".");
  for (let index = 0; ; index++) {
    const x = a[index];
    const y = b[index];
    if (x === undefined || y === undefined) return x === y;
    if (x === ">" || y === ">") return true;
    if (x !== y && x !== "*" && y !== "*") return false;
  }
}
