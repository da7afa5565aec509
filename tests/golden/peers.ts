/**
 * `npm run golden:peers`: our objectives against the loss functions of OpenRLHF and TRL on the same random tensors. Prints a
 * table in Markdown: the greatest absolute difference of the loss (our plain formulas; our graph on ONNX Runtime, float32) and
 * of its gradient, and the reason where it is more than rounding. `OARLOCK_PYTHON` names a Python with torch and either
 * library (default `python3`). Exits with 1 where a difference has no reason or a reason no difference, 2 where neither
 * library is there.
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { gradients } from "@oarlock/autodiff";
import { serializeModel } from "@oarlock/onnx";
import { openOrt, type OrtRuntime } from "@oarlock/ort";
import type { PeerCase, PeerGraph } from "./peer-case.ts";
import { peerCases } from "./peer-cases.ts";

/** Of float32, against the greatest number that is compared. */
const ROUNDING = 1e-6;
const python = process.env["OARLOCK_PYTHON"] ?? "python3";
const script = join(import.meta.dirname, "peers", "losses.py");
const needs = { openrlhf: "torch, openrlhf", trl: "torch, trl, transformers, datasets" } as const;

interface PeerAnswer {
  readonly values: readonly number[];
  readonly gradient: readonly number[];
}
interface PeerOutcome {
  readonly versions: Readonly<Record<string, string>>;
  readonly answers: readonly PeerAnswer[];
}

/** What a library says of the cases, or why it says nothing. */
function askPeer(library: PeerCase["library"], cases: readonly PeerCase[]): PeerOutcome | string {
  const find = `import importlib.util as u, sys; sys.exit(any(u.find_spec(m) is None for m in "${needs[library]}".split(", ")))`;
  if (spawnSync(python, ["-c", find], { stdio: "ignore" }).status !== 0)
    return `${library} is not compared: ${python} lacks one of ${needs[library]}; pip install them (openrlhf with --no-deps), or set OARLOCK_PYTHON`;
  const asked = cases.map(({ call, settings, tensors, variable }) => ({
    call,
    settings,
    variable,
    tensors: Object.fromEntries(
      Object.entries(tensors).map(([name, { shape, data }]) => [name, { shape, data: [...data] }]),
    ),
  }));
  const run = spawnSync(python, [script, library], {
    encoding: "utf8",
    input: JSON.stringify(asked),
    maxBuffer: 64 << 20,
  });
  if (run.status !== 0) throw new Error(`${script} ${library} failed:\n${run.stderr}`);
  return JSON.parse(run.stdout) as PeerOutcome; // the script prints one such object
}

/** Loss and gradient of the graph on the engine, in float32. */
async function compute(ort: OrtRuntime, { graph, loss, variable, feeds }: PeerGraph): Promise<PeerAnswer> {
  const [gradient] = gradients(loss, [variable]);
  if (gradient === undefined) throw new Error("the loss has no gradient");
  graph.output("loss", loss);
  graph.output("gradient", gradient);
  const session = await ort.createSession(serializeModel(graph));
  const inputs = Object.entries(feeds).map(
    ([name, data]) => [name, ort.tensor("float32", [data.length], data)] as const,
  );
  const outputs = {
    loss: ort.tensor("float32", []),
    gradient: ort.tensor("float32", variable.shape.map(Number)),
  };
  await session.run(session.bind(Object.fromEntries(inputs), outputs));
  const found = {
    values: Array.from(outputs.loss.data, Number),
    gradient: Array.from(outputs.gradient.data, Number),
  };
  await session.close();
  return found;
}

interface Difference {
  readonly absolute: number;
  /** Against the greatest number of theirs, 1 at least. */
  readonly relative: number;
}

function difference(ours: readonly number[], theirs: readonly number[]): Difference {
  if (ours.length !== theirs.length) return { absolute: Number.NaN, relative: Number.NaN };
  const absolute = ours.reduce(
    (most, one, i) => Math.max(most, Math.abs(one - (theirs[i] ?? Number.NaN))),
    0,
  );
  const size = theirs.reduce((most, one) => Math.max(most, Math.abs(one)), 1);
  return { absolute, relative: absolute / size };
}

/** A line of the table, and whether the case is as it says. */
async function compare(ort: OrtRuntime, one: PeerCase, theirs: PeerAnswer): Promise<[string, boolean]> {
  const ours = one.graph && (await compute(ort, one.graph));
  const plain = difference(
    one.reference,
    one.call === "advantages" ? unmasked(one, theirs.values) : theirs.values,
  );
  const graph = ours && difference(ours.values, theirs.values);
  const gradient = ours && difference(ours.gradient, theirs.gradient);
  const found = [plain, graph, gradient].filter((each) => each !== undefined);
  const isRounding = found.every(({ relative }) => relative <= ROUNDING);
  const isAsSaid = isRounding === (one.reason === undefined);
  const cell = (each: Difference | undefined): string => each?.absolute.toExponential(1) ?? "";
  const reason = isAsSaid ? (one.reason ?? "") : `**${one.reason ?? "no reason is known"}**`;
  return [`| ${one.name} | ${cell(plain)} | ${cell(graph)} | ${cell(gradient)} | ${reason} |`, isAsSaid];
}

/** The tokens of completions, of values [B · T]. */
function unmasked({ tensors }: PeerCase, values: readonly number[]): number[] {
  return values.filter((_, i) => tensors["mask"]?.data[i] === 1);
}

const ort = await openOrt({ threads: 1 });
let [compared, failed] = [0, 0];
for (const library of ["openrlhf", "trl"] as const) {
  const cases = peerCases.filter((one) => one.library === library);
  const outcome = askPeer(library, cases);
  if (typeof outcome === "string") {
    console.log(outcome);
    continue;
  }
  const title = Object.entries(outcome.versions).map((version) => version.join(" "));
  console.log(`\n| ${title.join(", ")} | loss, plain | loss, graph | gradient, graph | reason |`);
  console.log("| --- | --- | --- | --- | --- |");
  for (const [i, one] of cases.entries()) {
    const [line, isAsSaid] = await compare(ort, one, outcome.answers[i] ?? { values: [], gradient: [] });
    console.log(line);
    compared += 1;
    if (!isAsSaid) failed += 1;
  }
}
await ort.close();
if (compared > 0)
  console.log(
    `\n${compared - failed} of ${compared} agree within ${ROUNDING}, or differ for the reason given.`,
  );
process.exitCode = compared === 0 ? 2 : failed > 0 ? 1 : 0;
