/**
 * Logits of a model folder for token ids given on standard input, as ONNX Runtime computes them in training:
 * `tsx --conditions=@oarlock/source tests/interop/logits.ts FOLDER < ids.json > logits.f32` with ids as [[1, 2], …], all
 * rows equally long, and logits as little-endian float32 [B, T, V]. Of a reward model its scores, as reward workers compute
 * them, [B, 1]. For check_transformers.py.
 */
import { readFileSync } from "node:fs";
import { loadModelFolder } from "@oarlock/models";
import { llamaTraining, parameterLayout } from "@oarlock/nn";
import { createGraph, serializeModel } from "@oarlock/onnx";
import { openOrt } from "@oarlock/ort";
import { openScoreCore } from "@oarlock/training";

const rows = JSON.parse(readFileSync(0, "utf8")) as readonly (readonly number[])[]; // from our own script
const { config, weights } = await loadModelFolder(process.argv[2] ?? "");

async function logitsOf(): Promise<Float32Array<ArrayBuffer>> {
  const [B, T, V] = [rows.length, rows[0]?.length ?? 0, config.vocabSize];
  const graph = createGraph("logits");
  const model = llamaTraining(graph, { config, batch: B, length: T });
  graph.output("logits", model.logits);
  graph.output("logprobs", model.logprobs);

  const ort = await openOrt({ threads: 2 });
  const session = await ort.createSession(serializeModel(graph));
  const integers = (shape: readonly number[], values: readonly number[]) =>
    ort.tensor("int64", shape, BigInt64Array.from(values, BigInt));
  const views = parameterLayout(config).views.map(
    ({ name, shape, offset, size }) =>
      [name, ort.tensor("float32", shape, weights.subarray(offset, offset + size))] as const,
  );
  const logits = new Float32Array(B * T * V);
  await session.run(
    session.bind(
      {
        ...Object.fromEntries(views),
        ids: integers([B, T], rows.flat()),
        positions: integers(
          [B, T],
          rows.flatMap((row) => row.map((_, at) => at)),
        ),
        targets: integers([B * T], rows.flat()),
      },
      {
        logits: ort.tensor("float32", [B * T, V], logits),
        logprobs: ort.tensor("float32", [B * T], new Float32Array(B * T)),
      },
    ),
  );
  await ort.close();
  return logits;
}

async function scoresOf(): Promise<Float32Array<ArrayBuffer>> {
  const core = await openScoreCore({ config, weights });
  const scores = await core.score(rows.map((row) => Int32Array.from(row)));
  await core.close();
  return Float32Array.from(scores);
}

const numbers = await (config.head === "score" ? scoresOf() : logitsOf());
process.stdout.write(new Uint8Array(numbers.buffer));
