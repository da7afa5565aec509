/** `--seeds 0..2` and `--seeds 1,5,9`: which seeds a run is repeated with. Pure. */
import { OarlockError } from "@oarlock/errors";

/** Runs of one command at most: more is an experiment plan, not an option. */
const MOST_SEEDS = 100;

/** The seeds in order; refuses anything else than `a..b` or a list of integers. */
export function parseSeeds(text: string): readonly number[] {
  const range = /^(\d+)\.\.(\d+)$/.exec(text);
  const seeds =
    range === null
      ? text.split(",").map((part) => (/^\d+$/.test(part.trim()) ? Number(part) : Number.NaN))
      : Array.from(
          { length: Math.min(MOST_SEEDS + 1, Number(range[2]) - Number(range[1]) + 1) },
          (_, at) => Number(range[1]) + at,
        );
  const valid =
    seeds.length > 0 && seeds.length <= MOST_SEEDS && seeds.every((seed) => Number.isSafeInteger(seed));
  if (valid && new Set(seeds).size === seeds.length) return seeds;
  throw new OarlockError(
    "SEEDS_INVALID",
    `--seeds ${text}: expected a..b with a ≤ b, or a list like 1,5,9 (at most ${MOST_SEEDS})`,
  );
}
