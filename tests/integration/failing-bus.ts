/** A bus that refuses one publication of a service, for good; everything else is the wrapped bus. */
import type { Bus } from "@oarlock/bus";
import { OarlockError } from "@oarlock/errors";
import { beforePublishing } from "./publishing-bus.ts";

/** `bus`, whose publication number `at` (from 0) fails. */
export function failingOnce(bus: Bus, at: number): Bus {
  return beforePublishing(bus, async (n) => {
    if (n === at) throw new OarlockError("BUS_TEST_FAULT", "this publication fails");
  });
}
