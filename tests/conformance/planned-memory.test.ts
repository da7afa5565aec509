/** The plan counts memory that others keep, and is below them in the layers: it has their number a second time. Here they are held to each other. */
import { DEAD_BYTES } from "@oarlock/runfile";
import { UNCOLLECTED_BYTES } from "@oarlock/runtime";
import { expect, test } from "vitest";

test("the plan's number is that of shared memory", () => {
  expect(DEAD_BYTES).toBe(UNCOLLECTED_BYTES);
});
