/**
 * A bus that delays what a service publishes by a number that depends on the message, so that groups finish in another
 * order than they were issued, and differently for every seed. Everything else is the wrapped bus.
 */
import type { Bus, Stream } from "@oarlock/bus";
import { sleep } from "@oarlock/runtime";

export interface DelayOptions {
  readonly maxMs: number;
  /** In [0, 1) for message number `n`. */
  readonly random: (n: number) => number;
}

/** `bus` with delays before every publication. */
export function delayedBus(bus: Bus, { maxMs, random }: DelayOptions): Bus {
  let count = 0;
  const delayedStream = (stream: Stream): Stream => ({
    config: stream.config,
    async publish(subject, data, options) {
      await sleep(random(count++) * maxMs);
      return stream.publish(subject, data, options);
    },
    consumer: (config) => stream.consumer(config),
    info: () => stream.info(),
    purge: () => stream.purge(),
    delete: () => stream.delete(),
  });
  return {
    driver: bus.driver,
    maxPayloadBytes: bus.maxPayloadBytes,
    stream: async (config) => delayedStream(await bus.stream(config)),
    kv: (config) => bus.kv(config),
    objects: (config) => bus.objects(config),
    info: () => bus.info(),
    removeRun: (uid) => bus.removeRun(uid),
    close: () => bus.close(),
    [Symbol.asyncDispose]: () => bus[Symbol.asyncDispose](),
  };
}
