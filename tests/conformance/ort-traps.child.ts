/**
 * Run in a process of its own by `ort-traps.test.ts`, because without their cures these traps end in a crash.
 *
 * `lifetime`: many sessions, forced collections, a worker thread that loads the library and ends: the library must stay
 * mapped. `stacks`: a graph of thousands of nodes with hundreds of inputs, created and run by asynchronous calls.
 * `telemetry-…`: a session with the home and temporary folders that the test looks into.
 */
import { readFileSync } from "node:fs";
import { add, createGraph, matMul, mul, serializeModel } from "@oarlock/onnx";
import { openOrt } from "@oarlock/ort";

const collect = (globalThis as { gc?: () => void }).gc;

const SIZE = 64;

function chain(inputs: number, nodes: number): Uint8Array {
  const graph = createGraph("chain");
  const values = Array.from({ length: inputs }, (_, i) =>
    graph.input(`input.${i}.with.a.name.as.long.as.those.of.real.models`, "float32", [SIZE, SIZE]),
  );
  let sum = values[0] ?? graph.input("none", "float32", [SIZE, SIZE]);
  for (let i = 1; i < nodes; i++) sum = i % 3 === 0 ? mul(sum, 0.5) : add(sum, values[i % inputs] ?? sum);
  graph.output("y", matMul(sum, sum)); // a matrix product packs its panels on the stack
  return serializeModel(graph);
}

async function runChain(
  inputs: number,
  nodes: number,
  calls: number,
  driver: "native" | "binding" = "native",
): Promise<void> {
  const ort = await openOrt({ driver, threads: 2 });
  const session = await ort.createSession(chain(inputs, nodes), { optimization: "all" });
  const given = Object.fromEntries(
    session.inputs.map(({ name }) => [
      name,
      ort.tensor("float32", [SIZE, SIZE], new Float32Array(SIZE * SIZE).fill(1)),
    ]),
  );
  const bindings = Array.from({ length: calls }, () =>
    session.bind(given, { y: ort.tensor("float32", [SIZE, SIZE]) }),
  );
  await Promise.all(bindings.map((binding) => session.run(binding)));
  for (const { outputs } of bindings)
    if (!Number.isFinite(Number(outputs["y"]?.data[0]))) throw new Error("no finite result");
  await ort.close();
}

/** Frees garbage, native finalizers included: those run between two turns of the event loop. */
async function collectHard(): Promise<void> {
  for (let i = 0; i < 4; i++) {
    collect?.();
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

async function lifetime(): Promise<void> {
  if (collect === undefined) throw new Error("start node with --expose-gc");
  const ort = await openOrt({ driver: "native" });
  await collectHard();
  if (!readFileSync("/proc/self/maps", "utf8").includes("libonnxruntime"))
    throw new Error("the library was unloaded");
  for (let round = 0; round < 25; round++) {
    await runChain(8, 60, 2);
    await collectHard();
  }
  await ort.close();
}

const modes: Readonly<Record<string, () => Promise<void>>> = {
  lifetime,
  stacks: () => runChain(800, 6000, 4),
  "telemetry-native": () => runChain(2, 4, 1),
  "telemetry-binding": () => runChain(2, 4, 1, "binding"),
};
await modes[process.argv[2] ?? ""]?.();
console.log("survived");
