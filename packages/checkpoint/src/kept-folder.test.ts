/** T3, F1, Q1 of a run folder that is kept in a bucket, on the memory bus. */
import { mkdtemp, mkdir, readdir, readFile, rm, unlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import fc from "fast-check";
import { type Bus, createMemoryBus, type ObjectStore, subjects } from "@oarlock/bus";
import { sha256Hex } from "@oarlock/runtime";
import { encodeFiles, encodePointer } from "./folder-manifest.ts";
import { openKeptCheckpoints } from "./kept-checkpoints.ts";
import { fetchKeptFolder, openKeptFolder, type KeptFolder } from "./kept-folder.ts";
import { readNewestCheckpoint } from "./run-checkpoints.ts";
import type { RunCheckpoints } from "./types.ts";

const UID = "run-1";
const MAX_BYTES = 1 << 20;
let bus: Bus;
let home: string;
beforeEach(async () => {
  bus = createMemoryBus();
  home = await mkdtemp(join(tmpdir(), "kept-test-"));
});
afterEach(async () => {
  await bus.close();
  await rm(home, { recursive: true, force: true });
});

/** The folder of a node, which may not be there yet. */
const on = (node: string): string => join(home, node, "run");
const keeperOn = async (node: string, over: Bus = bus): Promise<KeptFolder> => {
  await mkdir(on(node), { recursive: true });
  return openKeptFolder({ bus: over, uid: UID, folder: on(node), maxBytes: MAX_BYTES });
};
const write = async (node: string, files: Readonly<Record<string, string>>): Promise<void> => {
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(on(node), path)), { recursive: true });
    await writeFile(join(on(node), path), text);
  }
};
const read = async (node: string): Promise<Record<string, string>> => {
  const entries = await readdir(on(node), { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name));
  const texts = paths.map(async (path) => [path.slice(on(node).length + 1), await readFile(path, "utf8")]);
  return Object.fromEntries(await Promise.all(texts)) as Record<string, string>;
};
const restored = async (node: string): Promise<Record<string, string>> => {
  await (await keeperOn(node)).restore();
  return read(node);
};
const bucket = () => bus.objects({ name: subjects(UID).folderBucket, maxBytes: MAX_BYTES });

/** The bus, whose bucket does only so much work before its server is gone. */
function dying(work: number): Bus {
  let left = work;
  const spend = (): void => {
    if (left-- <= 0) throw new Error("gone");
  };
  const watched = (inner: ObjectStore): ObjectStore => ({
    config: inner.config,
    info: (name) => inner.info(name),
    list: () => inner.list(),
    get: (name, options) => inner.get(name, options),
    async put(name, content, options) {
      spend();
      return inner.put(name, content, options);
    },
    async delete(name) {
      spend();
      return inner.delete(name);
    },
  });
  const objects: Bus["objects"] = async (config) => watched(await bus.objects(config));
  return new Proxy(bus, {
    get(target, key) {
      if (key === "objects") return objects;
      const value: unknown = Reflect.get(target, key);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
}

describe("a kept folder", () => {
  it("comes back on another node as it was kept, without drafts and what is gone, and holds nothing else (Q1)", async () => {
    const keeper = await keeperOn("a");
    await write("a", { "metrics.jsonl": "1\n", "checkpoints/000001/base.json": "{}", empty: "" });
    await keeper.keep();
    await write("a", {
      "metrics.jsonl": "1\n2\n",
      "checkpoints/.writing-x/half": "no",
      "later/deep/file": "y",
    });
    await unlink(join(on("a"), "checkpoints/000001/base.json"));
    await keeper.keep();
    await write("a", { "metrics.jsonl": "1\n2\n3\n" });
    const wanted = { "metrics.jsonl": "1\n2\n", "later/deep/file": "y", empty: "" };
    expect(await restored("b")).toEqual(wanted);
    // What lay there is not the run's past.
    await write("b", { stray: "x" });
    expect(await restored("b")).toEqual(wanted);
    expect(await (await bucket()).list()).toHaveLength(1 + Object.keys(wanted).length);
  });

  it("says what does not fit, and keeps what it kept (Q1)", async () => {
    const keeper = await keeperOn("a");
    await write("a", { small: "1" });
    await keeper.keep();
    await write("a", { large: "x".repeat(MAX_BYTES) });
    await expect(keeper.keep()).rejects.toMatchObject({
      code: "CHECKPOINT_DISK_FULL",
      message: expect.stringContaining(`its bucket takes ${MAX_BYTES} bytes`),
    });
    expect(await restored("b")).toEqual({ small: "1" });
  });

  it("is read by whoever claims nothing", async () => {
    const folder = join(home, "read");
    expect(await fetchKeptFolder({ bus, uid: UID, folder })).toBeUndefined();
    const keeper = await keeperOn("a");
    expect(await fetchKeptFolder({ bus, uid: UID, folder })).toBeUndefined();
    await write("a", { mine: "1" });
    await keeper.keep();
    expect(await fetchKeptFolder({ bus, uid: UID, folder })).toBe("fetched");
    expect(await readFile(join(folder, "mine"), "utf8")).toBe("1");
    await keeper.keep();
  });

  it("T3: a writer that dies at any moment leaves the old state or the new one", async () => {
    const states = [
      { one: "1", two: "2" },
      { two: "22", three: "3" },
    ];
    for (let work = 0; ; work++) {
      bus = createMemoryBus();
      await rm(home, { recursive: true });
      await mkdir(on("a"), { recursive: true });
      await write("a", states[0]!);
      const first = await keeperOn("a");
      await first.keep();
      const second = await keeperOn("a", dying(work));
      await second.restore();
      await rm(on("a"), { recursive: true });
      await write("a", states[1]!);
      const died = await second.keep().then(
        () => false,
        () => true,
      );
      const after = await restored("b");
      expect(died ? states : [states[1]]).toContainEqual(after);
      if (!died) break;
      // Whoever goes on has room: nothing of the dead one stays.
      const third = await keeperOn("b");
      await third.restore();
      await third.keep();
      expect(await (await bucket()).list()).toHaveLength(1 + Object.keys(after).length);
    }
  });

  it("F1: of learners that began from one state one alone goes on, the others from what it kept (property)", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat({ max: 2 }), { maxLength: 8 }), async (turns) => {
        bus = createMemoryBus();
        await rm(home, { recursive: true, force: true });
        const open = async (node: string): Promise<RunCheckpoints> =>
          openKeptCheckpoints(await keeperOn(node), { folder: join(on(node), "checkpoints"), keep: 2 });
        const learners = [await open("0"), await open("1"), await open("2")];
        expect(learners.map(({ incarnation }) => incarnation)).toEqual([1, 2, 3]);
        let step = 0;
        for (const turn of turns) {
          const content = { step: step + 1, state: { turn }, arrays: {} };
          const done = await learners[turn]!.write(content).then(
            () => true,
            (reason: unknown) => {
              expect(reason).toMatchObject({ code: "CHECKPOINT_FENCED" });
              return false;
            },
          );
          expect(done).toBe(turn === 2);
          if (done) step++;
        }
        await (await keeperOn("last")).restore();
        const newest = await readNewestCheckpoint({ folder: join(on("last"), "checkpoints") });
        expect(newest?.step ?? 0).toBe(step);
      }),
      { numRuns: 10 },
    );
  });

  it("a claim that loses against a learner that still writes is tried again from what that one kept", async () => {
    const options = (node: string) => ({ folder: join(on(node), "checkpoints"), keep: 2 });
    const old = await openKeptCheckpoints(await keeperOn("a"), options("a"));
    const keeper = await keeperOn("b");
    let raced = false;
    const next = await openKeptCheckpoints(
      {
        restore: async () => keeper.restore(),
        async keep() {
          if (!raced) await old.write({ step: 7, state: {}, arrays: {} });
          raced = true;
          await keeper.keep();
        },
      },
      options("b"),
    );
    expect([next.incarnation, next.resumed?.step]).toEqual([2, 7]);
  });

  it.each(["../out", "a/../../out", "/out", ".hidden", "a//b", "a\\b", ""])(
    "refuses a list that names the file %j",
    async (path) => {
      const store = await bucket();
      const sha256 = sha256Hex(new Uint8Array([1]));
      await store.put("file", new Uint8Array([1]));
      const list = encodeFiles([{ path, object: "file", bytes: 1, sha256 }]);
      await store.put("list", list);
      const state = await bus.kv({ name: subjects(UID).stateBucket });
      const { folderKey } = subjects(UID);
      await state.put(folderKey, encodePointer({ object: "list", sha256: sha256Hex(list) }));
      await write("a", { mine: "stays" });
      await expect((await keeperOn("a")).restore()).rejects.toMatchObject({ code: "FOLDER_CORRUPT" });
      expect(await read("a")).toEqual({ mine: "stays" });
    },
  );
});
