import { describe, expect, it } from "vitest";
import { decideLease, type LeaseRecord, releasedLease, seeLease, type SeenLease } from "./lease.ts";

const record: LeaseRecord = {
  holder: "one",
  leaseSeconds: 15,
  acquireTime: "t0",
  renewTime: "t1",
  transitions: 3,
};
const seen: SeenLease = { record, sinceMs: 1_000 };
const at = (monotonicMs: number) => ({ monotonicMs, time: "t9" });
const two = { identity: "two", leaseSeconds: 15 };

describe("lease", () => {
  it("is taken where there is none", () => {
    expect(decideLease(undefined, two, at(0))).toEqual({
      type: "write",
      record: { holder: "two", leaseSeconds: 15, acquireTime: "t9", renewTime: "t9", transitions: 0 },
    });
  });

  it("is renewed by its holder, keeping when it was acquired", () => {
    const decision = decideLease(seen, { identity: "one", leaseSeconds: 15 }, at(99_999));
    expect(decision).toEqual({ type: "write", record: { ...record, renewTime: "t9" } });
  });

  it("is left to its holder until it has not been seen to change for its whole length", () => {
    expect(decideLease(seen, two, at(15_999))).toEqual({ type: "wait", holder: "one" });
    expect(decideLease(seen, two, at(16_000))).toMatchObject({
      type: "write",
      record: { holder: "two", transitions: 4 },
    });
  });

  it("goes over at once when it is released", () => {
    const released = { record: releasedLease(record, "t5"), sinceMs: 1_000 };
    expect(decideLease(released, two, at(1_000))).toMatchObject({ type: "write", record: { holder: "two" } });
  });

  it("counts only changes seen with the own clock: times written by others mean nothing", () => {
    const first = seeLease(undefined, { ...record, renewTime: "2099-01-01T00:00:00Z" }, 5_000);
    expect(seeLease(first, { ...record, renewTime: "2099-01-01T00:00:00Z" }, 9_000)?.sinceMs).toBe(5_000);
    expect(seeLease(first, { ...record, renewTime: "1999-01-01T00:00:00Z" }, 9_000)?.sinceMs).toBe(9_000);
    expect(seeLease(first, undefined, 9_000)).toBeUndefined();
  });
});
