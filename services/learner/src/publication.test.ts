/** What of the published versions is held, on the memory bus. */
import { createMemoryBus } from "@oarlock/bus";
import { openPolicyStore } from "@oarlock/checkpoint";
import { sha256Hex, bytesOf, silentTracer } from "@oarlock/runtime";
import { expect, onTestFinished, test } from "vitest";
import { createPublication } from "./publication.ts";
import type { ServedPolicy } from "./publication.ts";

const served = (number: number): ServedPolicy => {
  const weights = Float32Array.of(number, 1);
  return { policy: { number, digest: sha256Hex(bytesOf(weights)) }, weights };
};

test("the reference of a stage stays announced while newer versions come and go, until another stage has one", async () => {
  const bus = createMemoryBus();
  onTestFinished(() => bus.close());
  const store = await openPolicyStore({
    bus,
    uid: "publication-1",
    configDigest: "c".repeat(64),
    maxBytes: 1 << 20,
    incarnation: 1,
  });
  const publication = createPublication(store, {
    signal: new AbortController().signal,
    tracer: silentTracer,
    what: "policy",
  });
  const held = async (): Promise<number[]> => {
    await publication.settled();
    return (await store.current())?.held.map(({ number }) => number) ?? [];
  };
  const at = { stage: 0, step: 0 };
  publication.keepReference({ stage: 0, served: served(0) });
  for (const number of [0, 1, 2, 3]) await publication.publish(served(number), at);
  publication.forget(3);
  expect(await held()).toEqual([0, 3]);
  // An actor that comes now finds it.
  expect(await store.fetch(served(0).policy)).toEqual(served(0).weights);
  expect(publication.reference(0)?.policy).toEqual(served(0).policy);
  expect(publication.reference(1)).toBeUndefined();
  expect(publication.recent(2).map(({ policy }) => policy.number)).toEqual([0, 3]);
  publication.keepReference({ stage: 1, served: served(3) });
  await publication.publish(served(4), at);
  publication.forget(4);
  expect(await held()).toEqual([3, 4]);
});
