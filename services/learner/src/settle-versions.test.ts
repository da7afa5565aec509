import { NamedRewardSchema, TrajectorySchema, create } from "@oarlock/proto";
import type { Trajectory } from "@oarlock/proto";
import { describe, expect, test, vi } from "vitest";
import { createHeardVersions, settleVersions } from "./settle-versions.ts";
import type { Pins, Question } from "./settle-versions.ts";

/** A group of two samples, each with a score by these versions. */
const groupOf = (step: number, versions: Readonly<Record<string, string>>): Trajectory[] =>
  [0, 1].map((sample) =>
    create(TrajectorySchema, {
      sample,
      group: { step },
      rewards: Object.entries(versions).map(([name, scorerVersion]) =>
        create(NamedRewardSchema, {
          name,
          scorerVersion,
          verdict: { case: "scored", value: { values: [1] } },
        }),
      ),
    }),
  );
const versionsOf = (group: readonly Trajectory[]): readonly string[] =>
  group.flatMap(({ rewards }) => rewards.map(({ name, scorerVersion }) => `${name} ${scorerVersion}`));
const none: Pins = new Map();

/** Judges by the pins, and by version 9 where there is none. */
function judge(questions: readonly Question[]): Promise<Trajectory[][]> {
  const judged = questions.map(({ group, pins }) =>
    group.map((trajectory) => ({
      ...trajectory,
      rewards: trajectory.rewards.map((one) => ({ ...one, scorerVersion: pins.get(one.name) ?? "9" })),
    })),
  );
  return Promise.resolve(judged);
}

describe("scores of one version", () => {
  const judgeAgain = vi.fn<typeof judge>(judge);
  const options = { changeable: ["mine", "other"], pinsOf: () => none, newest: () => "2", judgeAgain };

  test("D1: where nothing changed, nothing is asked and the groups are the same", async () => {
    const groups = [groupOf(0, { mine: "1", other: "a" }), groupOf(0, { mine: "1", other: "a" })];
    expect(await settleVersions(groups, options)).toEqual(groups);
    expect(
      await settleVersions([groupOf(0, { code: "1" }), groupOf(0, { code: "2" })], options),
    ).toHaveLength(2);
    expect(judgeAgain).not.toHaveBeenCalled();
  });

  test("S1: groups of an older version are asked about, by that scorer, and the others stay as they are", async () => {
    const groups = [
      groupOf(0, { mine: "1", other: "a" }),
      groupOf(0, { mine: "2", other: "a" }),
      groupOf(0, { mine: "1", other: "a" }),
    ];
    const settled = await settleVersions(groups, options);
    const asked = judgeAgain.mock.calls.flatMap(([questions]) => questions.map(({ group }) => group));
    expect(asked).toEqual([groups[0], groups[2]]);
    expect(settled[1]).toBe(groups[1]);
    for (const group of settled) expect(new Set(versionsOf(group))).toEqual(new Set(["mine 2", "other a"]));
  });

  test("what is pinned is left alone: in streaming mode a batch holds groups of before and after a replacement", async () => {
    const pinsOf = (group: readonly Trajectory[]): Pins =>
      group[0]?.group?.step === 0 ? none : new Map([["mine", "8"]]);
    const groups = [groupOf(0, { mine: "1" }), groupOf(1, { mine: "8" }), groupOf(0, { mine: "2" })];
    const settled = await settleVersions(groups, { ...options, pinsOf });
    expect(settled.map(versionsOf)).toEqual([
      ["mine 2", "mine 2"],
      ["mine 8", "mine 8"],
      ["mine 2", "mine 2"],
    ]);
  });
});

test("the newest version is the one that was first heard of last, whatever comes late", () => {
  const heard = createHeardVersions();
  for (const version of ["1", "2", "1"]) heard.note(groupOf(0, { mine: version }));
  expect(heard.newest("mine")).toBe("2");
  for (let version = 3; version < 100; version++) heard.note(groupOf(0, { mine: `${version}` }));
  expect(heard.newest("mine")).toBe("99");
  expect(heard.newest("nobody")).toBeUndefined();
});
