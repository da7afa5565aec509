import { TrajectorySchema, create } from "@oarlock/proto";
import type { Trajectory } from "@oarlock/proto";
import { describe, expect, it } from "vitest";
import { checkSignal, signalOf } from "./token-signals.ts";

const source = { version: 7, digest: "abc" };

/** A prompt of 2 tokens and a completion of 3, with what an actor says of it. */
const withReference = (referenceLogprobs?: object): Trajectory =>
  create(TrajectorySchema, {
    sample: 1,
    tokenIds: [1, 2, 3, 4, 5],
    promptLength: 2,
    ...(referenceLogprobs === undefined ? {} : { referenceLogprobs }),
  });

const check = (referenceLogprobs?: object) => (): void =>
  checkSignal(withReference(referenceLogprobs), {
    what: "reference log-probs",
    by: { number: 7, digest: "abc" },
  });

describe("log-probs of the reference that came with a trajectory", () => {
  it("lie beside its tokens", () => {
    const given = { source, values: [-1, -2, -0.5], positions: [2, 3, 4] };
    expect(check(given)).not.toThrow();
    expect(() => signalOf(withReference(), "values")).toThrow("sample 1: it came without its values");
    expect(Array.from(signalOf(withReference(given), "reference log-probs"))).toEqual([0, 0, -1, -2, -0.5]);
  });

  it.each([
    ["none at all", undefined, "log-probs of no version; its work asked for those of version 7 (abc)"],
    ["W2: another version's", { source: { version: 6, digest: "abc" } }, "of version 6 (abc)"],
    ["W2: another digest's", { source: { version: 7, digest: "abd" } }, "of version 7 (abd)"],
    [
      "too few",
      { values: [-1, -2], positions: [2, 3] },
      "2 reference log-probs at 2 positions; its completion needs 3",
    ],
    ["places unsaid", { positions: [] }, "3 reference log-probs at 0 positions"],
    ["other places", { positions: [2, 4, 3] }, "number 1 of its reference log-probs is at 4; expected at 3"],
    ["NaN", { values: [-1, Number.NaN, -1] }, "are NaN at token 3; expected a finite number"],
    ["infinity", { values: [-1, -1, -Infinity] }, "are -Infinity at token 4"],
  ])("are refused: %s", (_, change, said) => {
    const given = { source, values: [-1, -2, -0.5], positions: [2, 3, 4] };
    const refused = check(change === undefined ? undefined : { ...given, ...change });
    expect(refused).toThrow(said);
    expect(refused).toThrow(/^\[?SCORED_MALFORMED.*sample 1: /);
  });
});
