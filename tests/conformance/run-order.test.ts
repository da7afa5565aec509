/**
 * In which order ONNX Runtime runs a graph with gradients. Each weight's gradient comes as soon as it can be made: at the end,
 * where ONNX Runtime puts them by itself, everything that they are made from would have to be kept until then (ADR 2).
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gradients } from "@oarlock/autodiff";
import { createGraph, fusedMatMul, reduceSum, serializeModel, silu, type Value } from "@oarlock/onnx";
import { openOrt } from "@oarlock/ort";
import { expect, onTestFinished, test } from "vitest";

const LAYERS = 4;
const WIDTH = 8;

interface ProfiledNode {
  readonly cat: string;
  readonly name: string;
}

test("a weight's gradient is made before the gradients of the layers below", async () => {
  const folder = mkdtempSync(join(tmpdir(), "oarlock-order-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const graph = createGraph("layers");
  const x = graph.input("x", "float32", ["rows", WIDTH]);
  const square = (name: string): Value => graph.input(name, "float32", [WIDTH, WIDTH]);
  const weights = Array.from({ length: LAYERS }, (_, i) => square(`w${i}`));
  const known = weights.map((_, i) => square(`known${i}`));
  const y = weights.reduce((value, weight) => silu(fusedMatMul(value, weight, { transB: 1 })), x);
  const found = gradients(reduceSum(y), weights, known);
  found.forEach((gradient, i) => graph.output(`d${i}`, gradient));

  const ort = await openOrt({ driver: "native" });
  const session = await ort.createSession(serializeModel(graph), { profile: join(folder, "run") });
  const full = (rows: number) =>
    ort.tensor("float32", [rows, WIDTH], new Float32Array(rows * WIDTH).fill(0.1));
  const inputs = Object.fromEntries(session.inputs.map(({ name }) => [name, full(name === "x" ? 3 : WIDTH)]));
  const outputs = Object.fromEntries(session.outputs.map(({ name }) => [name, full(WIDTH)]));
  session.runSync(session.bind(inputs, outputs));
  await session.close();
  await ort.close();

  const [file = ""] = readdirSync(folder);
  const events = JSON.parse(readFileSync(join(folder, file), "utf8")) as ProfiledNode[]; // ONNX Runtime's own form
  const ran = events.flatMap(({ cat, name }) =>
    cat === "Node" && name.endsWith("_kernel_time") ? [name.replace("_kernel_time", "")] : [],
  );
  const whenMade = found.map(({ producer }) => ran.indexOf(producer?.name ?? ""));
  expect(Math.min(...whenMade)).toBeGreaterThan(0);
  expect(whenMade).toEqual(whenMade.toSorted((a, b) => b - a)); // the last layer's first
  // Between two of them lies the way from one layer down to the next, and nothing of it after the lowest.
  const gaps = whenMade.slice(1).map((at, i) => (whenMade[i] ?? 0) - at);
  expect(Math.min(...gaps)).toBeGreaterThan(3);
  expect(whenMade[0]).toBe(ran.length - 1);
});
