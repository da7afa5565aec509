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

const VERSIONS = 7;
const ACTORS = [1, 4, 8] as const;

const shape = (hiddenSize: number, intermediateSize: number, layers: number): LlamaConfig => ({
  vocabSize: 512,
  hiddenSize,
  intermediateSize,
  layers,
  heads: 8,
  kvHeads: 8,
  headSize: hiddenSize / 8,
  ropeTheta: 10_000,
  ropeConvention: "half-split",
  rmsNormEps: 1e-5,
  maxPositions: 64,
  tiedEmbeddings: true,
  qkvBias: false,
  qkNorm: false,
});

/** By parameters: 0.8 MiB and 21 MiB. */
const MODELS: Readonly<Record<string, LlamaConfig>> = { "0.2M": shape(64, 192, 4), "5M": shape(256, 768, 6) };

/** `policy.distribution_seconds.<parameters>.<actors>`, and what it is made of. */
export async function rows(): Promise<(BenchRow | SkippedRow)[]> {
  const program = requireNatsServer();
  if (program.absent) return [{ name: "policy.distribution_seconds", skipped: program.note }];
  const folder = mkdtempSync(join(tmpdir(), "oarlock-bench-nats-"));
  const server = await startNatsServer({ path: program.path, folder });
  try {
    const all: BenchRow[] = [];
    for (const [model, config] of Object.entries(MODELS))
      for (const actors of ACTORS) all.push(...(await distribution(server.url, model, config, actors)));
    return all;
  } finally {
    await server.stop("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Seconds of one publication, from the optimizer step on. */
interface Phases {
  readonly snapshot: number;
  /** Until it is announced. */
  readonly publish: number;
  /** From the announcement until the last actor has verified weights. */
  readonly fetch: number;
  /** From there until the last actor serves them. */
  readonly serve: number;
}

const PHASES = ["snapshot", "publish", "fetch", "serve"] as const;

async function distribution(
  url: string,
  model: string,
  config: LlamaConfig,
  actors: number,
): Promise<BenchRow[]> {
  const buses = await Promise.all(
    Array.from({ length: actors + 1 }, () => connectJetStreamBus({ servers: url })),
  );
  const [own, ...theirs] = buses;
  if (own === undefined) return [];
  const uid = `bench-${model.replace(".", "-")}-${actors}`;
  const weights = initialWeights(config, (count, index) => initialNormals(1, index, count));
  const bytes = parameterLayout(config).length * Float32Array.BYTES_PER_ELEMENT;
  const store = (bus: typeof own, incarnation: number): Promise<PolicyStore> =>
    openPolicyStore({ bus, uid, incarnation, configDigest: "c", maxBytes: 8 * (bytes + 1e6) });
  const stop = new AbortController();
  const generators: Generator[] = [];
  const trainer = await createTrainer({ config, weights });
  try {
    const policies = await store(own, 1);
    const served: number[] = theirs.map(() => -1);
    let lastFetchMs = 0;
    let tell: () => void = () => undefined;
    for (const [actor, bus] of theirs.entries()) {
      const generator = await createGenerator({ config, slots: 4 });
      generators.push(generator);
      const onFetched = (): void => void (lastFetchMs = performance.now());
      const onServed = (version: number): void => {
        served[actor] = version;
        tell();
      };
      void follow({ store: await store(bus, 0), generator, signal: stop.signal, onFetched, onServed });
    }
    const measured: Phases[] = [];
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
      const snapshotMs = performance.now();
      await policies.publish({ number, ...snapshot, stage: 0, step: number });
      const publishedMs = performance.now();
      await all;
      const servedMs = performance.now();
      measured.push({
        snapshot: (snapshotMs - startMs) / 1000,
        publish: (publishedMs - snapshotMs) / 1000,
        fetch: (lastFetchMs - publishedMs) / 1000,
        serve: (servedMs - lastFetchMs) / 1000,
      });
      await policies.retain([{ number, digest: snapshot.digest }]);
    }
    const copies: number[] = [];
    for (let i = 0; i < VERSIONS; i++) copies.push(await copySeconds(new Uint8Array(bytes), actors));
    // The first of each opens sessions and connections.
    const total = ({ snapshot, publish, fetch, serve }: Phases): number => snapshot + publish + fetch + serve;
    const warm = measured.slice(1);
    const [value, copy] = [median(warm.map(total)), median(copies.slice(1))];
    const suffix = `${model}.${actors}`;
    const relative_to = `${actors} copies of ${bytes} bytes over loopback, ${copy.toPrecision(3)} s`;
    return [
      { name: `policy.distribution_seconds.${suffix}`, value, unit: "s", relative_to, ratio: value / copy },
      ...PHASES.map((phase) => ({
        name: `policy.${phase}_seconds.${suffix}`,
        value: median(warm.map((one) => one[phase])),
        unit: "s",
      })),
    ];
  } finally {
    stop.abort();
    await Promise.all(generators.map((generator) => generator.close()));
    await trainer.close();
    await own.removeRun(uid);
    await Promise.all(buses.map((bus) => bus.close()));
  }
}

interface Following {
  readonly store: PolicyStore;
  readonly generator: Generator;
  readonly signal: AbortSignal;
  readonly onFetched: () => void;
  readonly onServed: (version: number) => void;
}

/** What an actor in streaming mode does with every announcement. */
async function follow({ store, generator, signal, onFetched, onServed }: Following): Promise<void> {
  try {
    for await (const { current } of store.watch(signal)) {
      const weights = await store.fetch(current, signal);
      onFetched();
      await generator.switchTo(weights, current, signal);
      onServed(current.number);
    }
  } catch (reason) {
    if (!signal.aborted) throw reason;
  }
}

/** Until every reader has all of it. */
async function copySeconds(bytes: Uint8Array, readers: number): Promise<number> {
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
  await Promise.all(Array.from({ length: readers }, () => read(connect(port, "127.0.0.1"))));
  const seconds = (performance.now() - startMs) / 1000;
  server.close();
  return seconds;
}
