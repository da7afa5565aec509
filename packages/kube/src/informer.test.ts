/** The view under every fault of a watch, against a hand-driven API: tests/kube holds it against the real one. */
import { describe, expect, it } from "vitest";
import { createManualClock, type ManualClock } from "@oarlock/runtime";
import { apiError, noAnswer } from "./api-error.ts";
import type { KubeClient, WatchEvent } from "./client.ts";
import { createController } from "./controller.ts";
import { createInformer } from "./informer.ts";
import type { KubeObject } from "./object.ts";

const RESOURCE = { apiVersion: "v1", kind: "ConfigMap", plural: "configmaps" };

const object = (name: string, resourceVersion: string): KubeObject => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, namespace: "a", resourceVersion },
});

/** One life of a watch: what is listed before, what comes, and how it ends. */
interface Life {
  /** Undefined: the list is not read again, the watch continues. */
  readonly list?: readonly KubeObject[] | Error;
  readonly events?: readonly WatchEvent[];
  /** Default: it stays open until the test ends. */
  readonly end?: Error | "timeout";
}

/** A client that plays the lives in order. */
function scripted(lives: readonly Life[]): { client: KubeClient; asked: string[] } {
  const asked: string[] = [];
  let at = 0;
  const client: Pick<KubeClient, "list" | "watch"> = {
    async list() {
      const { list } = lives[at] ?? {};
      asked.push("list");
      if (list instanceof Error) {
        at++;
        throw list;
      }
      // The script says which kind it plays.
      return { items: (list ?? []) as never, resourceVersion: `list-${at}` };
    },
    async *watch(_, { resourceVersion, signal }) {
      const life = lives[at++];
      asked.push(`watch ${resourceVersion}`);
      yield* life?.events ?? [];
      if (life?.end instanceof Error) throw life.end;
      if (life?.end === "timeout") return;
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
    },
  };
  return { client: client as KubeClient, asked };
}

async function play(lives: readonly Life[], clock: ManualClock = createManualClock()) {
  const { client, asked } = scripted(lives);
  const changes: string[] = [];
  const informer = createInformer({
    client,
    resource: RESOURCE,
    clock,
    random: () => 0.5,
    onChange: ({ before, after }) => {
      const name = (after ?? before)?.metadata.name;
      const what = before === undefined ? "+" : after === undefined ? "-" : "~";
      changes.push(`${what}${name}`);
    },
  });
  const stop = new AbortController();
  const running = informer.run(stop.signal);
  for (let round = 0; round < 20; round++) await clock.advance(5_000);
  stop.abort();
  await running;
  return { informer, asked, changes };
}

describe("informer", () => {
  it("continues a watch that ended in order from the last version, bookmarks included", async () => {
    const bookmark: WatchEvent = { type: "BOOKMARK", object: object("", "77") };
    const { asked, changes } = await play([
      { list: [object("x", "1")], events: [bookmark], end: "timeout" },
      { events: [{ type: "ADDED", object: object("y", "78") }] },
    ]);
    expect(asked).toEqual(["list", "watch list-0", "watch 77"]);
    expect(changes).toEqual(["+x", "+y"]);
  });

  it.each([
    ["an expired version (410)", apiError("watch", { status: 410, body: "too old" })],
    ["a reset connection", noAnswer("watch", "ECONNRESET")],
    ["an overloaded server (429)", apiError("watch", { status: 429, body: "busy" })],
    ["a broken server (500)", apiError("watch", { status: 500, body: "no" })],
    ["a line that is no JSON", new SyntaxError("Unexpected token")],
  ])("lists again after %s, and tells what vanished meanwhile", async (_, end) => {
    const { informer, changes } = await play([
      { list: [object("x", "1"), object("y", "2")], end },
      { list: [object("x", "1"), object("z", "3")] },
    ]);
    expect(changes).toEqual(["+x", "+y", "+z", "-y"]);
    expect(informer.list().map(({ metadata }) => metadata.name)).toEqual(["x", "z"]);
  });

  it("lists again where the watch itself says that it is over", async () => {
    const expired: WatchEvent = { type: "ERROR", object: { kind: "Status", code: 410 } };
    const { asked } = await play([{ list: [], events: [expired] }, { list: [object("x", "1")] }]);
    expect(asked).toEqual(["list", "watch list-0", "list", "watch list-1"]);
  });

  it("survives lists that fail, with longer and longer pauses", async () => {
    const away = noAnswer("list", "ECONNREFUSED");
    const clock = createManualClock();
    const { informer, asked } = await play(
      [{ list: away }, { list: away }, { list: [object("x", "1")] }],
      clock,
    );
    expect(asked).toEqual(["list", "list", "list", "watch list-2"]);
    expect(informer.synced).toBe(true);
  });

  it("pauses longer and longer where watches end in order at once, and still sees what comes", async () => {
    const short: Life = { end: "timeout" };
    const { asked, changes } = await play([
      ...Array.from({ length: 6 }, () => short),
      { events: [{ type: "ADDED", object: object("x", "7") }], end: "timeout" },
      ...Array.from({ length: 100 }, () => short),
    ]);
    expect(changes).toEqual(["+x"]);
    expect(asked.filter((each) => each === "list")).toHaveLength(1);
    // Of 0.15 s, twice that and so on, in 100 s, begun anew after what was seen.
    expect(asked.length).toBeLessThan(25);
  });

  it("tells nothing twice: an event of a version that it has is no change", async () => {
    const again: WatchEvent = { type: "MODIFIED", object: object("x", "1") };
    const { changes } = await play([{ list: [object("x", "1")], events: [again] }]);
    expect(changes).toEqual(["+x"]);
  });
});

describe("controller", () => {
  it("waits as long as a busy server asks, and takes the key up again", async () => {
    const clock = createManualClock();
    const timesMs: number[] = [];
    const controller = createController({
      name: "test",
      clock,
      async reconcile() {
        timesMs.push(clock.monotonicMs());
        if (timesMs.length === 1) throw apiError("PATCH", { status: 429, body: "busy", retryAfter: "3" });
        return {};
      },
    });
    const stop = new AbortController();
    const running = controller.run(stop.signal);
    controller.enqueue("a");
    await clock.advance(2_999);
    expect(timesMs).toEqual([0]);
    await clock.advance(1);
    expect(timesMs).toEqual([0, 3_000]);
    stop.abort();
    await running;
  });

  it("gives a reconcile up that hangs, and tries again (L1)", async () => {
    const clock = createManualClock();
    let attempts = 0;
    const controller = createController({
      name: "test",
      clock,
      timeoutMs: 1_000,
      reconcile: () => (++attempts === 1 ? new Promise(() => undefined) : Promise.resolve({})),
    });
    const stop = new AbortController();
    const running = controller.run(stop.signal);
    controller.enqueue("a");
    await clock.advance(1_000);
    await clock.advance(10);
    expect(attempts).toBe(2);
    expect(controller.metrics.count("error")).toBe(1);
    stop.abort();
    await running;
  });
});
