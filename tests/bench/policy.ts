/**
 * From an optimizer step to the last of several actors that serve the new version: snapshot, digest, publication over a real
 * nats-server, fetch, verification and switch in mid-sequence, against copying the same bytes to as many readers over loopback.
 * All of them share this process and its cores, as the readers of the yardstick do.
 */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, connect } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectJetStreamBus, startNatsServer } from "@oarlock/bus";
import { openPolicyStore } from "@oarlock/checkpoint";
import type { PolicyStore } from "@oarlock/checkpoint";
import { createGenerator } from "@oarlock/generation";
import type { Generator } from "@oarlock/generation";
import { initialWeights, parameterLayout } from "@oarlock/nn";
import type { LlamaConfig } from "@oarlock/nn";
import { initialNormals } from "@oarlock/rl";
import { createTrainer } from "@oarlock/training";
import { requireNatsServer } from "@oarlock/testkit";
import { type BenchRow, median, type SkippedRow } from "./row.ts";

const ACTORS = 4;
const VERSIONS = 7;
/** 5.4 M parameters, 21 MiB. */
const CONFIG: LlamaConfig = {
  vocabSize: 512,
  hiddenSize: 256,
  intermediateSize: 768,
  layers: 6,
  heads: 8,
  kvHeads: 8,
  headSize: 32,
  ropeTheta: 10_000,
  ropeConvention: "half-split",
  rmsNormEps: 1e-5,
  maxPositions: 64,
  tiedEmbeddings: true,
  qkvBias: false,
  qkNorm: false,
};

/** `policy.distribution_seconds`. */
export async function rows(): Promise<(BenchRow | SkippedRow)[]> {
  const program = requireNatsServer();
  if (program.absent) return [{ name: "policy.distribution_seconds", skipped: program.note }];
  const folder = mkdtempSync(join(tmpdir(), "oarlock-bench-nats-"));
  const server = await startNatsServer({ path: program.path, folder });
  const buses = await Promise.all(
    Array.from({ length: ACTORS + 1 }, () => connectJetStreamBus({ servers: server.url })),
  );
  const [own, ...theirs] = buses;
  if (own === undefined) return [];
  const weights = initialWeights(CONFIG, (count, index) => initialNormals(1, index, count));
  const bytes = parameterLayout(CONFIG).length * Float32Array.BYTES_PER_ELEMENT;
  const store = (bus: typeof own, incarnation: number): Promise<PolicyStore> =>
    openPolicyStore({ bus, uid: "bench", incarnation, configDigest: "c", maxBytes: 8 * (bytes + 1e6) });
  const stop = new AbortController();
  const generators: Generator[] = [];
  const trainer = await createTrainer({ config: CONFIG, weights });
  try {
    const policies = await store(own, 1);
    const served: number[] = theirs.map(() => -1);
    let tell: () => void = () => undefined;
    for (const [actor, bus] of theirs.entries()) {
      const generator = await createGenerator({ config: CONFIG, slots: 4 });
      generators.push(generator);
      void follow(await store(bus, 0), generator, stop.signal, (version) => {
        served[actor] = version;
        tell();
      });
    }
    const seconds: number[] = [];
    const row = { tokens: Int32Array.of(1, 2, 3), promptLength: 1, lossMask: Uint8Array.of(0, 1, 1) };
    for (let number = 0; number < VERSIONS; number++) {
      await trainer.step([row], {
        objective: { type: "sft" },
        aggregation: "token-mean-global",
        optimizer: { learningRate: 1e-4 },
        microBatchSize: 1,
      });
      const all = new Promise<void>((resolve) => {
        tell = () => served.every((version) => version >= number) && resolve();
      });
      const startMs = performance.now();
      const snapshot = await trainer.policy();
      await policies.publish({ number, ...snapshot, stage: 0, step: number });
      await all;
      seconds.push((performance.now() - startMs) / 1000);
      await policies.retain([{ number, digest: snapshot.digest }]);
    }
    const copies = [];
    for (let i = 0; i < VERSIONS; i++) copies.push(await copySeconds(new Uint8Array(bytes)));
    // The first of each opens sessions and connections.
    const [value, copy] = [median(seconds.slice(1)), median(copies.slice(1))];
    return [
      {
        name: "policy.distribution_seconds",
        value,
        unit: "s",
        relative_to: `${ACTORS} copies over loopback`,
        ratio: value / copy,
      },
      { name: "policy.loopback_seconds", value: copy, unit: "s" },
      { name: "policy.bytes", value: bytes, unit: "B" },
    ];
  } finally {
    stop.abort();
    await Promise.all(generators.map((generator) => generator.close()));
    await trainer.close();
    await Promise.all(buses.map((bus) => bus.close()));
    await server.stop("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What an actor in streaming mode does with every announcement. */
async function follow(
  store: PolicyStore,
  generator: Generator,
  signal: AbortSignal,
  onServed: (version: number) => void,
): Promise<void> {
  try {
    for await (const { current } of store.watch(signal)) {
      await generator.switchTo(await store.fetch(current, signal), current, signal);
      onServed(current.number);
    }
  } catch (reason) {
    if (!signal.aborted) throw reason;
  }
}

/** Until every reader has all of it. */
async function copySeconds(bytes: Uint8Array): Promise<number> {
  const server = createServer((socket) => socket.end(bytes));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const startMs = performance.now();
  const read = async (socket: Socket): Promise<void> => {
    let left = bytes.byteLength;
    for await (const chunk of socket) left -= (chunk as Uint8Array).byteLength;
    if (left !== 0) throw new Error(`${left} bytes are missing`);
  };
  await Promise.all(Array.from({ length: ACTORS }, () => read(connect(port, "127.0.0.1"))));
  const seconds = (performance.now() - startMs) / 1000;
  server.close();
  return seconds;
}
