/** The traps of calling ONNX Runtime through an FFI, each pinned where it would bite again without its cure. */
import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { Worker } from "node:worker_threads";
import {
  createGraph,
  type Graph,
  matMul,
  mul,
  reduceSum,
  serializeModel,
  sqrt,
  sub,
  type Value,
} from "@oarlock/onnx";
import { openOrt, type OrtRuntime } from "@oarlock/ort";
import { temporaryFolder } from "@oarlock/testkit";
import { expect, test } from "vitest";

const here = dirname(fileURLToPath(import.meta.url));
const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;

async function child(mode: string, env: NodeJS.ProcessEnv = process.env): Promise<string> {
  const flags = ["--expose-gc", "--import", tsx, "--conditions=@oarlock/source"];
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [...flags, join(here, "ort-traps.child.ts"), mode],
    { env },
  );
  return stdout.trim();
}

test("the library stays mapped through forced collections and many sessions", async () => {
  expect(await child("lifetime")).toBe("survived");
});

test("graphs of thousands of nodes and hundreds of inputs fit the stacks of asynchronous calls", async () => {
  expect(await child("stacks")).toBe("survived");
});

test.each(["native", "binding"])("the library (%s) tells nobody what is done with it", async (driver) => {
  const home = temporaryFolder("telemetry");
  // Anywhere else than on CI, where the library is silent by itself.
  const { CI: _, ORT_DISABLE_TELEMETRY: __, ...env } = process.env;
  const elsewhere = { ...env, HOME: home, XDG_CACHE_HOME: home, TMPDIR: home };
  expect(await child(`telemetry-${driver}`, elsewhere)).toBe("survived");
  const kept = (await readdir(home, { recursive: true })).filter((name) => !name.startsWith("tsx-"));
  expect(kept).toEqual([]);
});

const D = 48;
const noise = (seed: number): Float32Array =>
  Float32Array.from({ length: D * D }, (_, i) => Math.sin((i + 1) * (seed + 0.37)) * 0.3);

/** Gradients of |X·W1·W2·W1|²/2 in both weights (W1 is read late in the backward), written out by hand. */
function gradients(graph: Graph, w1: Value, w2: Value): readonly [Value, Value] {
  const x = graph.input("x", "float32", [D, D]);
  const a = matMul(x, w1);
  const b = matMul(a, w2);
  const y = matMul(b, w1);
  const db = matMul(y, transposed(w1));
  const da = matMul(db, transposed(w2));
  const dw1 = graph.one("Add", [matMul(transposed(b), y), matMul(transposed(x), da)], {});
  return [dw1, matMul(transposed(a), db)];
}
const transposed = (value: Value): Value => value.graph.one("Transpose", [value], { perm: [1, 0] });

/** One graph: W ← W − 0.01·g/|g|, where |g| is the norm over both gradients: the barrier that all updates wait for. */
function stepWithBarrier(): Uint8Array {
  const graph = createGraph("barrier");
  const weights = ["w1", "w2"].map((name) => graph.input(name, "float32", [D, D])) as [Value, Value];
  const grads = gradients(graph, ...weights);
  const squares = grads.map((g) => reduceSum(mul(g, g), { axes: [0, 1] })) as [Value, Value];
  const scale = graph.one(
    "Div",
    [
      graph.constant({ dtype: "float32", shape: [], data: Float32Array.of(0.01) }),
      sqrt(graph.one("Add", squares, {})),
    ],
    {},
  );
  weights.forEach((w, i) => graph.output(`w${i + 1}Next`, sub(w, mul(grads[i]!, scale))));
  return serializeModel(graph);
}

async function steps(
  ort: OrtRuntime,
  aliased: boolean,
  optimization: "disabled" | "all",
  threads: number,
): Promise<string> {
  const session = await ort.createSession(stepWithBarrier(), { optimization, threads });
  const x = ort.tensor("float32", [D, D], noise(3));
  const state = ["w1", "w2"].map((_, i) => ort.tensor("float32", [D, D], noise(i + 1)));
  const next = aliased ? state : state.map(() => ort.tensor("float32", [D, D]));
  const binding = session.bind({ x, w1: state[0]!, w2: state[1]! }, { w1Next: next[0]!, w2Next: next[1]! });
  for (let step = 0; step < 10; step++) {
    await session.run(binding);
    if (!aliased)
      state.forEach((tensor, i) => (tensor.data as Float32Array).set(next[i]!.data as Float32Array));
  }
  await session.close();
  return state.map(({ data }) => Buffer.from(data.buffer).toString("base64")).join();
}

test.each([
  ["disabled", 1],
  ["all", 1],
  ["all", 2],
] as const)(
  "behind the barrier of a gradient norm, in place = separate bit for bit (optimization %s, %i threads)",
  async (optimization, threads) => {
    const ort = await openOrt({ driver: "native" });
    expect(await steps(ort, true, optimization, threads)).toBe(
      await steps(ort, false, optimization, threads),
    );
    await ort.close();
  },
);

test("P1: with every native call in flight, files are still read and timers still tick", async () => {
  const ort = await openOrt({ driver: "native" });
  const graph = createGraph("slow");
  let product = graph.input("a", "float32", [512, 512]);
  for (let i = 0; i < 40; i++) product = mul(matMul(product, product), 1e-3);
  graph.output("y", product);
  const session = await ort.createSession(serializeModel(graph));
  const a = ort.tensor("float32", [512, 512]);
  const calls = Array.from({ length: 8 }, () =>
    session.run(session.bind({ a }, { y: ort.tensor("float32", [512, 512]) })),
  );
  let done = false;
  const all = Promise.all(calls).then(() => (done = true));
  await readFile(fileURLToPath(import.meta.url)); // needs a thread of the pool that the calls run on
  expect(done).toBe(false);
  await all;
  await ort.close();
});

test("a worker thread that loads the library and ends leaves it usable", async () => {
  const ort = await openOrt({ driver: "native" });
  const session = await ort.createSession(stepWithBarrier());
  const entry = join(
    dirname(createRequire(import.meta.url).resolve("@oarlock/ort/worker")),
    "../../index.js",
  );
  const source = `import(${JSON.stringify(pathToFileURL(entry).href)}).then(async ({ openOrt }) => { await openOrt({ driver: "native" }); })`;
  const worker = new Worker(source, { eval: true, execArgv: [] });
  await new Promise((resolve, reject) => worker.once("exit", resolve).once("error", reject));
  const tensors = ["x", "w1", "w2"].map((_, i) => ort.tensor("float32", [D, D], noise(i)));
  const next = ort.tensor("float32", [D, D]);
  await session.run(session.bind({ x: tensors[0]!, w1: tensors[1]!, w2: tensors[2]! }, { w1Next: next }));
  expect((next.data as Float32Array).every(Number.isFinite)).toBe(true);
  await ort.close();
});
