/** Threads: calls, moved buffers, errors, kills, respawns; and digests off the loop (P1). */
import { Worker } from "node:worker_threads";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { OarlockError } from "@oarlock/errors";
import { watchIdleLoop } from "@oarlock/testkit";
import { bytesOf, createHasher, sha256Hex, sha256HexOffLoop } from "./digest.ts";
import { decodeError, encodeError } from "./error-codec.ts";
import { startLoopDelayMonitor } from "./event-loop-delay.ts";
import { WorkerClient } from "./worker-client.ts";

interface Methods {
  double(numbers: Float32Array): Float32Array;
  fail(code: string): never;
  spin(): never;
  die(): never;
  unknownToTheWorker(): void;
}

/** From sources, as a test may; packages start their built entries, with no flags at all. */
const ENTRY = `
  (async () => {
    (await import("tsx/esm/api")).register();
    const { serveWorker, withTransfer } = await import(${JSON.stringify(new URL("./serve-worker.ts", import.meta.url).href)});
    serveWorker({
      double: (numbers) => { const twice = numbers.map((x) => 2 * x); return withTransfer(twice, [twice.buffer]); },
      fail: (code) => {
        const cause = new Error("deeper");
        throw Object.assign(new Error("", { cause }), { code, rawMessage: "as asked", retryable: true });
      },
      spin: () => { for (;;); },
      die: () => process.exit(3),
    });
  })();`;

const client = new WorkerClient<Methods>({
  name: "test worker",
  start: () => new Worker(ENTRY, { eval: true, execArgv: ["--conditions=@oarlock/source"] }),
});
const quick = { timeoutMs: 20_000 };

afterEach(() => client.terminate());

describe("worker client", () => {
  it("calls by name and moves buffers both ways", async () => {
    const numbers = Float32Array.of(1, 2.5);
    const doubled = client.call("double", numbers, { ...quick, transfer: [numbers.buffer] });
    expect(numbers.length).toBe(0);
    expect([...(await doubled)]).toEqual([2, 5]);
  });

  it("keeps code, retryability and causes of errors", async () => {
    await expect(client.call("fail", "OUT_OF_SLOTS", quick)).rejects.toMatchObject({
      code: "OUT_OF_SLOTS",
      retryable: true,
      cause: { message: "deeper" },
    });
    await expect(client.call("unknownToTheWorker", undefined as never, quick)).rejects.toMatchObject({
      code: "WORKER_METHOD_UNKNOWN",
    });
  });

  it("L1: gives up on a thread that is stuck, kills it, and starts another", async () => {
    await client.call("double", Float32Array.of(1), quick);
    await expect(client.call("spin", undefined as never, { timeoutMs: 100 })).rejects.toMatchObject({
      code: "DEADLINE_EXCEEDED",
    });
    const behind = expect(client.call("double", Float32Array.of(1), quick)).rejects.toMatchObject({
      code: "WORKER_DIED",
    });
    await client.terminate("stuck");
    await behind;
    expect([...(await client.call("double", Float32Array.of(4), quick))]).toEqual([8]);
  });

  it("tells every caller when the thread dies", async () => {
    await expect(client.call("die", undefined as never, quick)).rejects.toMatchObject({
      code: "WORKER_DIED",
      retryable: true,
      message: expect.stringContaining("exit code 3"),
    });
    expect(client.inFlight).toBe(0);
  });
});

describe("error codec", () => {
  it("gives back what it took, through JSON", () => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.string(),
        fc.boolean(),
        fc.array(fc.string(), { maxLength: 4 }),
        (code, message, retryable, causes) => {
          const encoded = { code, message, retryable, causes };
          expect(encodeError(decodeError(JSON.parse(JSON.stringify(encoded))))).toEqual(encoded);
        },
      ),
    );
    expect(encodeError(new TypeError("x"))).toMatchObject({ code: "UNEXPECTED", message: "TypeError: x" });
    expect(encodeError("plain")).toMatchObject({ message: "plain" });
    expect(decodeError(encodeError(new OarlockError("A", "b"))).cause).toBeUndefined();
  });
});

describe("digests", () => {
  it("are the same on and off the loop, in any pieces, shared or not", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 300 }),
        fc.nat(300),
        fc.boolean(),
        async (data, cut, shared) => {
          const bytes = shared ? new Uint8Array(new SharedArrayBuffer(data.length)) : data;
          bytes.set(data);
          await using hasher = createHasher();
          await hasher.update(bytes.subarray(0, cut));
          await hasher.update(bytes.subarray(cut));
          expect(await hasher.finish()).toBe(sha256Hex(data));
        },
      ),
    );
    const pooled = Buffer.from("a Buffer shares the memory of its pool with others");
    await using ofPooled = createHasher();
    await ofPooled.update(pooled);
    expect(await ofPooled.finish()).toBe(sha256Hex(pooled));
    expect(pooled.toString()).toContain("shares the memory");
    const large = new Uint8Array(5_000_001).fill(7);
    expect(await sha256HexOffLoop(large)).toBe(sha256Hex(large));
    expect(bytesOf(Float32Array.of(1))).toEqual(Uint8Array.of(0, 0, 128, 63));
  });

  it("P1: of 256 MiB hold the loop for less than 100 ms at a time", async () => {
    const idle = await watchIdleLoop();
    using monitor = startLoopDelayMonitor();
    await sha256HexOffLoop(new Uint8Array(256 * 1024 * 1024));
    expect(monitor.read().maxMs).toBeLessThan(100 + 3 * (await idle.maxMs()));
  });
});
