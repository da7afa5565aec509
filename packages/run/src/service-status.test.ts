/** The status message can be written to the wire whatever the clock says. */
import { ServiceStatusSchema, durationMs, fromBinary, toBinary } from "@oarlock/proto";
import { describe, expect, test } from "vitest";
import { serviceStatus } from "./service-status.ts";

describe("serviceStatus", () => {
  test("rounds fractions of milliseconds, which durations cannot say, and survives the wire", () => {
    const message = serviceStatus({
      instance: "actor-0",
      version: "0.1.0",
      uptimeMs: 12.3456,
      draining: false,
      waits: [{ name: "a batch", ageMs: 1500.75, remainingMs: -2.5 }],
      queues: [{ name: "groups", depth: 3, capacity: 8 }],
      loopDelay: { p50Ms: 1.894783, p99Ms: 7.6 },
      fingerprintDigest: "abc",
    });
    const read = fromBinary(ServiceStatusSchema, toBinary(ServiceStatusSchema, message));
    expect(read.queues.map(({ name, depth, capacity }) => [name, depth, capacity])).toEqual([
      ["groups", 3n, 8n],
    ]);
    expect(read.waits.map(({ age }) => (age === undefined ? -1 : durationMs(age)))).toEqual([1501]);
    expect(read.eventLoopDelayP99 && durationMs(read.eventLoopDelayP99)).toBe(8);
  });
});
