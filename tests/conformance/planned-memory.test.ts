/**
 * The plan counts memory that others keep, and is below them in the layers: it has their numbers a second time. Here they are held
 * to each other.
 */
import { DEAD_BYTES, LARGE_PARAMETERS as PLANNED_AS_LARGE } from "@oarlock/runfile";
import { UNCOLLECTED_BYTES } from "@oarlock/runtime";
import { LARGE_PARAMETERS } from "@oarlock/training";
import { expect, test } from "vitest";

test("the plan's numbers are those of the trainer's sessions and of shared memory", () => {
  expect(PLANNED_AS_LARGE).toBe(LARGE_PARAMETERS);
  expect(DEAD_BYTES).toBe(UNCOLLECTED_BYTES);
});
