// oxlint-disable max-lines-per-function, typescript/no-non-null-assertion -- a test suite, though its name is no test's
/** The part of the bus contract about key-value buckets and object stores. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isOarlockError } from "@oarlock/errors";
import { sha256Hex } from "@oarlock/runtime";
import { subjects } from "./subjects.ts";
import type { Bus, ObjectGetOptions, ObjectStore } from "./types.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (data: Uint8Array): string => new TextDecoder().decode(data);

/** The bus and the run of the test that is running. */
export interface RunUnderTest {
  readonly bus: Bus;
  readonly uid: string;
}

/** Declares the tests of buckets. */
export function storesContract(run: RunUnderTest): void {
  describe("key-value", () => {
    it("gets, puts, creates, updates and deletes, with growing revisions", async () => {
      const kv = await run.bus.kv({ name: subjects(run.uid).stateBucket });
      expect(await kv.get("run")).toBeUndefined();
      const first = await kv.create("run", bytes("1"));
      await expect(kv.create("run", bytes("2"))).rejects.toMatchObject({ code: "BUS_REVISION_MISMATCH" });
      const second = await kv.update("run", bytes("2"), first);
      expect(second).toBeGreaterThan(first);
      await expect(kv.update("run", bytes("3"), first)).rejects.toMatchObject({
        code: "BUS_REVISION_MISMATCH",
      });
      const entry = await kv.get("run");
      expect([text(entry!.value), entry!.revision]).toEqual(["2", second]);
      await kv.put("other/key.x", bytes("x"));
      expect(await kv.keys()).toEqual(["other/key.x", "run"]);
      await kv.delete("run");
      expect(await kv.get("run")).toBeUndefined();
      expect(await kv.create("run", bytes("3"))).toBeGreaterThan(second);
      await expect(kv.put("a b", bytes("x"))).rejects.toMatchObject({ code: "BUS_NAME_INVALID" });
    });

    it("F1: of many that compare and set at once, exactly one wins each revision", async () => {
      const kv = await run.bus.kv({ name: subjects(run.uid).stateBucket });
      await kv.create("count", bytes("0"));
      const increment = async (): Promise<void> => {
        for (;;) {
          const entry = await kv.get("count");
          try {
            await kv.update("count", bytes(String(Number(text(entry!.value)) + 1)), entry!.revision);
            return;
          } catch (reason) {
            if (!isOarlockError(reason, "BUS_REVISION_MISMATCH")) throw reason;
          }
        }
      };
      await Promise.all(Array.from({ length: 12 }, increment));
      expect(text((await kv.get("count"))!.value)).toBe("12");
    });

    it("watches: the value that is there, then the newest, then the deletion", async () => {
      const kv = await run.bus.kv({ name: subjects(run.uid).stateBucket });
      await kv.put("policy", bytes("1"));
      await kv.put("unrelated", bytes("x"));
      const stop = new AbortController();
      const seen: string[] = [];
      const watching = (async () => {
        for await (const entry of kv.watch("policy", { signal: stop.signal })) {
          seen.push(entry.deleted ? "deleted" : text(entry.value));
        }
      })();
      await expect.poll(() => seen).toEqual(["1"]);
      await kv.put("policy", bytes("2"));
      await expect.poll(() => seen.at(-1)).toBe("2");
      await kv.delete("policy");
      await expect.poll(() => seen.at(-1)).toBe("deleted");
      stop.abort();
      await watching;
      expect(seen).toEqual(["1", "2", "deleted"]);
    });
  });

  describe("objects", () => {
    const CHUNK = 1_000;
    const openObjects = (): Promise<ObjectStore> =>
      run.bus.objects({ name: subjects(run.uid).policyBucket, maxBytes: 1_000_000, chunkBytes: CHUNK });
    const read = async (store: ObjectStore, object: string): Promise<Uint8Array> => {
      const parts: Uint8Array[] = [];
      for await (const chunk of store.get(object)) parts.push(chunk);
      return Buffer.concat(parts);
    };

    it("are found by their name where somebody made them", async () => {
      const { bundleBucket } = subjects(run.uid);
      expect(await run.bus.findObjects(bundleBucket)).toBeUndefined();
      const made = await run.bus.objects({ name: bundleBucket, maxBytes: 10_000 });
      await made.put("a", Buffer.from("content"));
      const found = await run.bus.findObjects(bundleBucket);
      expect(found === undefined ? "" : Buffer.from(await read(found, "a")).toString()).toBe("content");
    });

    it("gives back any bytes, whole or in parts, with their digest", async () => {
      const store = await openObjects();
      const sizes = fc.constantFrom(0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 7);
      await fc.assert(
        fc.asyncProperty(
          sizes,
          fc.integer({ min: 1, max: 2_500 }),
          fc.boolean(),
          async (size, part, streamed) => {
            const content = Uint8Array.from({ length: size }, (_, index) => (index * 31 + part) & 255);
            async function* parts() {
              for (let offset = 0; offset < size; offset += part)
                yield content.subarray(offset, offset + part);
            }
            const digest = sha256Hex(content);
            const info = await store.put("weights/1", streamed ? parts() : content, { digest });
            expect(info).toMatchObject({ name: "weights/1", bytes: size, digest });
            expect(await store.info("weights/1")).toEqual(info);
            expect(Buffer.from(await read(store, "weights/1")).equals(Buffer.from(content))).toBe(true);
          },
        ),
        { numRuns: 20 },
      );
    });

    it("W1: an object is there whole or not at all", async () => {
      const store = await openObjects();
      await store.put("a", bytes("old"));
      const wrong = store.put("a", bytes("new"), { digest: sha256Hex("other") });
      await expect(wrong).rejects.toMatchObject({ code: "BUS_OBJECT_DIGEST_MISMATCH" });
      async function* breaks() {
        yield new Uint8Array(2 * CHUNK);
        throw new Error("source failed");
      }
      await expect(store.put("b", breaks())).rejects.toThrow("source failed");
      expect(await store.info("b")).toBeUndefined();
      expect(text(await read(store, "a"))).toBe("old");
      await expect(read(store, "b")).rejects.toMatchObject({ code: "BUS_OBJECT_MISSING" });
    });

    it("W2: an object of another digest is refused before it is read; who verifies it takes it as it is", async () => {
      const store = await openObjects();
      const content = Uint8Array.from({ length: 3 * CHUNK + 7 }, (_, index) => (index * 31) & 255);
      const digest = sha256Hex(content);
      const info = await store.put("a", content, { digest, hashed: true });
      expect(info).toMatchObject({ bytes: content.length, digest });
      const take = async (options: ObjectGetOptions): Promise<string> => {
        const parts: Uint8Array[] = [];
        for await (const chunk of store.get("a", options)) parts.push(chunk);
        return sha256Hex(Buffer.concat(parts));
      };
      expect([await take({ digest }), await take({ digest, unverified: true })]).toEqual([digest, digest]);
      await expect(take({ digest: sha256Hex("other"), unverified: true })).rejects.toMatchObject({
        code: "BUS_OBJECT_CORRUPT",
      });
      // What a caller says of bytes that it did not hash is found out by whoever reads them.
      await store.put("a", content, { digest: sha256Hex("other"), hashed: true });
      await expect(take({})).rejects.toMatchObject({ code: "BUS_OBJECT_CORRUPT" });
    });

    it("Q1: refuses what does not fit, and counts failed and deleted objects as free", async () => {
      const store = await openObjects();
      for (let turn = 0; turn < 3; turn++) {
        await expect(store.put("big", new Uint8Array(1_000_001))).rejects.toMatchObject({
          code: "BUS_STORE_FULL",
        });
        await store.put("half", new Uint8Array(600_000));
        await store.delete("half");
      }
      expect(await store.list()).toEqual([]);
    });
  });
}
