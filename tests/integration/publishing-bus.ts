/** A bus that does something before a service publishes or stores: faults and delays for tests. Else it is the wrapped bus. */
import type { Bus, ObjectStore, Stream } from "@oarlock/bus";

/** Hears of each publication, from 0; what it gives, if anything, is published instead. */
export type Before = (n: number, data: Uint8Array) => Promise<Uint8Array | void>;

/** `bus`, which awaits `before`, and then publishes. */
export function beforePublishing(bus: Bus, before: Before): Bus {
  let count = 0;
  const watched = (stream: Stream): Stream => ({
    config: stream.config,
    async publish(subject, data, options) {
      const instead = await before(count++, data);
      return stream.publish(subject, instead ?? data, options);
    },
    consumer: (config) => stream.consumer(config),
    info: () => stream.info(),
    mark: () => stream.mark(),
    purge: (upTo) => stream.purge(upTo),
    delete: () => stream.delete(),
  });
  return withParts(bus, { stream: async (config) => watched(await bus.stream(config)) });
}

/** `bus`, which awaits `before` with an object's name, and then stores the object. */
export function beforeStoring(bus: Bus, before: (name: string) => Promise<void>): Bus {
  const watched = (store: ObjectStore): ObjectStore => ({
    config: store.config,
    async put(name, content, options) {
      await before(name);
      return store.put(name, content, options);
    },
    get: (name, options) => store.get(name, options),
    info: (name) => store.info(name),
    delete: (name) => store.delete(name),
    list: () => store.list(),
  });
  return withParts(bus, { objects: async (config) => watched(await bus.objects(config)) });
}

function withParts(bus: Bus, parts: Partial<Pick<Bus, "stream" | "objects">>): Bus {
  return {
    driver: bus.driver,
    maxPayloadBytes: bus.maxPayloadBytes,
    stream: (config) => bus.stream(config),
    kv: (config) => bus.kv(config),
    objects: (config) => bus.objects(config),
    findObjects: (name) => bus.findObjects(name),
    info: () => bus.info(),
    removeRun: (uid) => bus.removeRun(uid),
    close: () => bus.close(),
    [Symbol.asyncDispose]: () => bus[Symbol.asyncDispose](),
    ...parts,
  };
}
