/**
 * A message that nobody can read is parked, and one that was made by other weights (W2) or another plan (D1b) is refused: its
 * group will never come. In streaming mode the group is dropped with that reason, and another takes its place; in lockstep
 * there is no other, so the run ends at once and says which message it was.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Bus } from "@oarlock/bus";
import { readNewestCheckpoint } from "@oarlock/checkpoint";
import { startLocalRun } from "@oarlock/cli/local";
import { RolloutPurpose, TrajectoryBatchSchema, fromBinary, toBinary } from "@oarlock/proto";
import type { PolicySegment, Trajectory } from "@oarlock/proto";
import { parseMetrics } from "@oarlock/report";
import type { GroupDropReason, Ledger, StreamCursor } from "@oarlock/run";
import { temporaryFolder } from "@oarlock/testkit";
import { describe, expect, test } from "vitest";
import { additionPlan } from "./addition-plan.ts";
import { beforePublishing } from "./publishing-bus.ts";

const STEPS = 6;
const GROUPS = 4;
const PLAN = ["stages.sft.sft.steps=2", "evaluation.every=100"];
const STREAMING = [...PLAN, "pipeline={mode: streaming, maxStaleness: 1}"];

type Spoil = (data: Uint8Array) => Uint8Array;

/** Trajectories of a batch, spoilt. */
const eachSpoilt =
  (spoil: (trajectory: Trajectory) => Trajectory): Spoil =>
  (data) => {
    const batch = fromBinary(TrajectoryBatchSchema, data);
    return toBinary(TrajectoryBatchSchema, { ...batch, trajectories: batch.trajectories.map(spoil) });
  };

interface Fault {
  readonly fault: string;
  readonly service: string;
  readonly spoil: Spoil;
  /** Why its group is dropped where the run streams. */
  readonly dropped: GroupDropReason;
  /** What is said of it where the run cannot go on. */
  readonly said: RegExp;
}

const UNREADABLE = { dropped: "unreadable", said: /a message of it is parked: ./ } as const;
const OTHER = "0123456789abcdef";

const FAULTS: readonly Fault[] = [
  {
    ...UNREADABLE,
    fault: "an answer of an actor is no record",
    service: "actor-0",
    spoil: () => Buffer.from("no record"),
  },
  {
    ...UNREADABLE,
    fault: "a scored message is no record",
    service: "reward-0",
    spoil: () => Buffer.from("no record"),
  },
  {
    ...UNREADABLE,
    fault: "it is not said which policy drew a token",
    service: "reward-0",
    spoil: eachSpoilt((trajectory) => ({ ...trajectory, segments: [] })),
  },
  {
    ...UNREADABLE,
    fault: "samples are not of the group",
    service: "reward-0",
    spoil: eachSpoilt((trajectory) => ({ ...trajectory, sample: trajectory.sample + 99 })),
  },
  {
    ...UNREADABLE,
    fault: "a sample that was asked for is missing",
    service: "actor-0",
    spoil: (data) => {
      const batch = fromBinary(TrajectoryBatchSchema, data);
      return toBinary(TrajectoryBatchSchema, { ...batch, trajectories: batch.trajectories.slice(1) });
    },
    said: /parked: \[SCORED_MALFORMED\] actor-0 answered with 3 \(1, 2, 3\) of a group of 4 samples$/,
  },
  {
    fault: "an actor follows another plan",
    service: "actor-0",
    spoil: eachSpoilt((trajectory) => ({ ...trajectory, fingerprintDigest: OTHER })),
    dropped: "other-fingerprint",
    said: /actor-0 made it by plan 0123456789ab, this run's is [\da-f]{12}/,
  },
  {
    fault: "an actor has other weights",
    service: "actor-0",
    spoil: eachSpoilt((trajectory) => ({ ...trajectory, segments: trajectory.segments.map(ofOther) })),
    dropped: "unknown-policy",
    said: /actor-0 made it by policy version (\d+) \(0123456789ab\), expected is policy version \1 \([\da-f]{12}\)/,
  },
];

function ofOther({ policy, ...segment }: PolicySegment): PolicySegment {
  return { ...segment, ...(policy === undefined ? {} : { policy: { ...policy, digest: OTHER } }) };
}

/** The first rollout group that the service answers is spoilt. */
const spoiling =
  (service: string, spoil: Spoil) =>
  (bus: Bus, of: string): Bus => {
    let spoilt = false;
    const isWanted = (data: Uint8Array): boolean =>
      fromBinary(TrajectoryBatchSchema, data).trajectories[0]?.purpose === RolloutPurpose.ROLLOUT;
    if (of !== service) return bus;
    return beforePublishing(bus, async (_, data) => {
      if (spoilt || !isWanted(data)) return data;
      spoilt = true;
      return spoil(data);
    });
  };

describe("a message that cannot count", () => {
  test.each(FAULTS)(
    "T1: $fault: a run that streams drops the group and goes on",
    async ({ service, spoil, dropped }) => {
      const outDir = temporaryFolder("unreadable");
      const busFor = spoiling(service, spoil);
      const local = await startLocalRun(additionPlan(STREAMING), { outDir, baseDir: outDir, busFor });
      expect(await local.finished).toMatchObject({ status: "completed" });
      const checkpoint = await readNewestCheckpoint({ folder: join(outDir, "checkpoints") });
      const { ledger, stream } = (checkpoint?.state ?? {}) as { ledger: Ledger; stream?: StreamCursor };
      expect(ledger).toMatchObject({ groupsTrained: STEPS * GROUPS, groupsDropped: { [dropped]: 1 } });
      expect(stream).toMatchObject({ outstanding: [] });
    },
  );

  test("D1, D1c: a run in lockstep ends at once each time, and goes on exactly where it is resumed", async () => {
    const plan = additionPlan(PLAN);
    const [outDir, calmDir] = [temporaryFolder("unreadable"), temporaryFolder("calm")];
    const folder = { outDir, baseDir: outDir, uid: "unreadable-1", resume: true };
    for (const { service, spoil, said } of FAULTS) {
      const local = await startLocalRun(plan, { ...folder, busFor: spoiling(service, spoil) });
      const reason = await local.finished.then(String, String);
      expect(reason).toMatch(/GROUP_LOST.*group \d+ of step \d/);
      expect(reason).toMatch(said);
    }
    const resumed = await startLocalRun(plan, folder);
    expect(await resumed.finished).toMatchObject({ status: "completed" });
    const calm = await startLocalRun(plan, { outDir: calmDir, baseDir: calmDir });
    await calm.finished;
    expect(digests(outDir)).toEqual(digests(calmDir));
  });
});

function digests(outDir: string): string[] {
  const lines = parseMetrics(readFileSync(join(outDir, "metrics.jsonl"), "utf8"));
  return lines.filter(({ kind }) => kind === "step").map(({ policyDigest }) => policyDigest);
}
