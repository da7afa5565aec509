/** A bus that refuses one publication of a service, for good; everything else is the wrapped bus. */
import type { Bus, Stream } from "@oarlock/bus";
import { OarlockError } from "@oarlock/errors";

/** `bus`, whose publication number `at` (from 0) fails. */
export function failingOnce(bus: Bus, at: number): Bus {
  let count = 0;
  const failing = (stream: Stream): Stream => ({
    config: stream.config,
    async publish(subject, data, options) {
      if (count++ === at) throw new OarlockError("BUS_TEST_FAULT", "this publication fails");
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
    stream: async (config) => failing(await bus.stream(config)),
    kv: (config) => bus.kv(config),
    objects: (config) => bus.objects(config),
    info: () => bus.info(),
    removeRun: (uid) => bus.removeRun(uid),
    close: () => bus.close(),
    [Symbol.asyncDispose]: () => bus[Symbol.asyncDispose](),
  };
}
