/**
 * A scorer that nothing pins may get another version from whoever runs it, in the middle of a step. The samples of a step are
 * compared with each other: groups that an older version judged are asked about once more, pinned to the newest one. What that
 * version does not judge then has failed (S1). Where no version changes nobody is asked, and no bit depends on this (D1).
 */
import type { NamedReward, Trajectory } from "@oarlock/proto";

/** Versions by the scorer's name. */
export type Pins = ReadonlyMap<string, string>;

type Group = readonly Trajectory[];

/** Which versions there are, in the order in which they were first heard of. */
export interface HeardVersions {
  note(trajectories: Group): void;
  /** The last one that is new. */
  readonly newest: (scorer: string) => string | undefined;
}

/** Versions of one scorer that are remembered (Q1): a service could say another one with every answer. */
const REMEMBERED = 16;

/** Nothing is heard of yet. First sight decides, so that an answer of an older version that comes late does not. */
export function createHeardVersions(): HeardVersions {
  const heard = new Map<string, readonly string[]>();
  return {
    note(trajectories) {
      for (const { name, scorerVersion, verdict } of trajectories.flatMap(({ rewards }) => rewards)) {
        const known = heard.get(name) ?? [];
        if (verdict.case !== "scored" || known.includes(scorerVersion)) continue;
        heard.set(name, [...known, scorerVersion].slice(-REMEMBERED));
      }
    },
    newest: (scorer) => heard.get(scorer)?.at(-1),
  };
}

/** A group that is asked about again, and the versions that shall judge it. */
export interface Question {
  readonly group: Group;
  readonly pins: Pins;
}

export interface SettleOptions {
  /** Names of scorers that may change by themselves. */
  readonly changeable: readonly string[];
  /** What the group was issued with. */
  readonly pinsOf: (group: Group) => Pins;
  readonly newest: HeardVersions["newest"];
  /** Each group's trajectories with the verdicts of its versions. */
  readonly judgeAgain: (questions: readonly Question[]) => Promise<readonly Group[]>;
}

/** The groups with the scores of one version of each scorer, as far as nothing else is pinned. */
export async function settleVersions(
  groups: readonly Trajectory[][],
  { changeable, pinsOf, newest, judgeAgain }: SettleOptions,
): Promise<Trajectory[][]> {
  const free = (group: Group, name: string): boolean => !pinsOf(group).has(name);
  const wanted = new Map<string, string>();
  for (const name of changeable) {
    const versions = new Set(
      groups.filter((group) => free(group, name)).flatMap((group) => versionsIn(group, name)),
    );
    const [last = ""] = [...versions].toReversed();
    if (versions.size > 1) wanted.set(name, newest(name) ?? last);
  }
  const questions = groups.flatMap((group, index) => {
    const pins = new Map([...wanted].filter(([name]) => free(group, name)));
    const names = [...pins.keys()].filter((name) =>
      versionsIn(group, name).some((version) => version !== pins.get(name)),
    );
    return names.length === 0 ? [] : [{ index, names, group, pins: new Map([...pinsOf(group), ...pins]) }];
  });
  if (questions.length === 0) return [...groups];
  const judged = await judgeAgain(questions);
  const settled = [...groups];
  for (const [at, { index, names, group }] of questions.entries()) {
    settled[index] = group.map((trajectory, i) =>
      withRewards(trajectory, judged[at]?.[i]?.rewards ?? [], names),
    );
  }
  return settled;
}

function versionsIn(group: Group, scorer: string): readonly string[] {
  const rewards = group.flatMap((trajectory) => trajectory.rewards);
  return rewards.flatMap(({ name, verdict, scorerVersion }) =>
    name === scorer && verdict.case === "scored" ? [scorerVersion] : [],
  );
}

/** The trajectory with these scorers' new verdicts; where one is missing there is none (S1). */
function withRewards(
  trajectory: Trajectory,
  judged: readonly NamedReward[],
  names: readonly string[],
): Trajectory {
  const rewards = trajectory.rewards.flatMap((reward) =>
    names.includes(reward.name) ? judged.filter(({ name }) => name === reward.name) : [reward],
  );
  return { ...trajectory, rewards };
}
