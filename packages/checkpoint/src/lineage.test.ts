/** F1 as properties of the pure choice. */
import { describe, expect, it } from "vitest";
import fc from "fast-check";
import { type CheckpointPlace, comparePlaces, type IncarnationRecord, survivingLineage } from "./lineage.ts";

/** Incarnations that each resume from some checkpoint of the lineage as it was, and write on from there; zombies too. */
const histories = fc
  .array(fc.record({ pick: fc.nat(), fresh: fc.boolean(), steps: fc.nat(4), late: fc.nat(3) }), {
    minLength: 1,
    maxLength: 6,
  })
  .map((moves) => {
    const records: IncarnationRecord[] = [];
    const zombies: CheckpointPlace[] = [];
    moves.forEach(({ pick, fresh, steps, late }, index) => {
      const incarnation = index + 1;
      const past = survivingLineage(records);
      const base = fresh || past.length === 0 ? null : past[pick % past.length]!;
      // What the one before still writes after this one has begun lies above everything that it had.
      const before = records[index - 1];
      const top = before?.places.at(-1)?.step ?? before?.base?.step ?? 0;
      const after = Array.from({ length: before === undefined ? 0 : late }, (_, n) => ({
        incarnation: index,
        step: top + 1 + n,
        revision: 0,
      }));
      zombies.push(...after);
      if (before !== undefined) records[index - 1] = { ...before, places: [...before.places, ...after] };
      const from = base?.step ?? 0;
      const places = Array.from({ length: steps }, (_, n) => ({
        incarnation,
        step: from + 1 + n,
        revision: 0,
      }));
      records.push({ incarnation, base, places });
    });
    return { records, zombies };
  });

describe("survivingLineage", () => {
  it("F1: never holds what a superseded incarnation wrote after its successor began", () => {
    fc.assert(
      fc.property(histories, ({ records, zombies }) => {
        const lineage = survivingLineage(records);
        for (const zombie of zombies) expect(lineage).not.toContainEqual(zombie);
      }),
    );
  });

  it("holds all of the newest incarnation, its base next, each once, and falls strictly", () => {
    fc.assert(
      fc.property(histories, ({ records }) => {
        const lineage = survivingLineage(records);
        const newest = records.at(-1)!;
        expect(lineage.slice(0, newest.places.length)).toEqual(newest.places.toReversed());
        expect(lineage[newest.places.length] ?? null).toEqual(newest.base);
        for (let index = 1; index < lineage.length; index++) {
          expect(comparePlaces(lineage[index - 1]!, lineage[index]!)).toBeGreaterThan(0);
        }
      }),
    );
  });

  it("ends on records that point to themselves or upwards", () => {
    const place = { incarnation: 2, step: 1, revision: 0 };
    expect(survivingLineage([{ incarnation: 2, base: place, places: [place] }])).toEqual([place]);
  });
});
