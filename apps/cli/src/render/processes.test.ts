/** L1: what `oarlock status` says of processes: who waits for whom, what lies where and how old it is, which versions are held. */
import { create, durationFromMs, ServiceStatusSchema } from "@oarlock/proto";
import { PLAIN } from "@oarlock/report";
import { expect, test } from "vitest";
import type { LiveProcess } from "../processes/index.ts";
import { renderProcesses } from "./processes.ts";

const STREAM = "OARLOCK_32012fe6-6e52-4a12-818e-deaf9d661493_TRAJECTORY";
const wait = (name: string, ageMs: number) => ({ name, age: durationFromMs(ageMs) });
const queue = (name: string, depth: bigint, oldestMs: number) => {
  return { name, depth, capacity: 2_048n, oldest: durationFromMs(oldestMs) };
};

test("says each thing once, without the run's uid, and leaves out what is no news", () => {
  const processes: LiveProcess[] = [
    {
      instance: "learner-0",
      role: "learner",
      address: "127.0.0.1:1",
      pid: 1,
      restarts: 2,
      message: `step 3 of stage 1 waits for 2 of 8 groups; parked messages of ${STREAM}: 1, the last one is 7: \u001b[2Jtorn`,
      service: create(ServiceStatusSchema, {
        eventLoopDelayP99: durationFromMs(12),
        queues: [
          queue(`messages in ${STREAM}`, 3n, 6_800),
          queue("generated groups at the reward workers", 3n, 6_800),
          queue("scored groups at the learner", 0n, 0),
        ],
        waits: [
          wait("the batch rollout/1/3 from actors and reward workers", 6_900),
          wait(`a message on ${STREAM}/learner`, 4_000),
          wait(`a message on ${STREAM}/learner`, 19_000),
          wait(`a message on ${STREAM}/learner`, 300),
        ],
      }),
    },
    {
      instance: "reward-0",
      role: "reward",
      address: undefined,
      pid: 2,
      restarts: 0,
      message: "does not answer",
      service: undefined,
    },
  ];
  expect(renderProcesses(processes, PLAIN)).toBe(
    [
      "  learner-0 127.0.0.1:1, started again 2 times step 3 of stage 1 waits for 2 of 8 groups; parked messages of TRAJECTORY: 1, the last one is 7: \\u001b[2Jtorn",
      "    event loop 12.0 ms late (99th percentile)",
      "    3 of 2048 messages in TRAJECTORY, the oldest 6 s old",
      "    3 of 2048 generated groups at the reward workers, the oldest 6 s old",
      "    waits 6 s for the batch rollout/1/3 from actors and reward workers",
      "    waits 19 s for a message on TRAJECTORY/learner (2 times)",
      "  reward-0 no address does not answer",
    ].join("\n"),
  );
});
