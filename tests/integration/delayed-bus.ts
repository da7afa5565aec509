/**
 * A bus that delays what a service publishes by a number that depends on the message, so that groups finish in another
 * order than they were issued, and differently for every seed. Everything else is the wrapped bus.
 */
import type { Bus } from "@oarlock/bus";
import { sleep } from "@oarlock/runtime";
import { beforePublishing } from "./publishing-bus.ts";

export interface DelayOptions {
  readonly maxMs: number;
  /** In [0, 1) for message number `n`. */
  readonly random: (n: number) => number;
}

/** `bus` with delays before every publication. */
export function delayedBus(bus: Bus, { maxMs, random }: DelayOptions): Bus {
  return beforePublishing(bus, (n) => sleep(random(n) * maxMs));
}
