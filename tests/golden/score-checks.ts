/** The golden vectors of what is learned from scores: the critic's loss and the reward model's, in both forms. */
import { createGraph, evaluate, type Graph, type Value } from "@oarlock/onnx";
import {
  allPairsGraph,
  allPairsLoss,
  bradleyTerryLoss,
  criticLoss,
  pairLoss,
  plackettLuceGraph,
  plackettLuceLoss,
  valueLoss,
} from "@oarlock/rl";
import { flat, type GoldenCheck, type GoldenFile } from "./file.ts";

/** The clipped value loss, averaged over its tokens, in both forms. */
export function valueChecks(policy: GoldenFile["policy"]): GoldenCheck[] {
  const key = "value_clip_0.2";
  const entry = policy[key] as { v: number[]; v_old: number[]; ret: number[]; loss: number } | undefined;
  if (!entry) return [];
  const { v, v_old: old, ret, loss: expected } = entry;
  const tokens = v.map((value, i) => ({ value, oldValue: old[i] ?? 0, return: ret[i] ?? 0 }));
  const actual = tokens.reduce((total, token) => total + valueLoss(token, 0.2), 0) / v.length;
  const graph = createGraph("critic");
  const input = (name: string): Value => graph.input(name, "float32", [v.length]);
  const values = { values: input("values"), oldValues: input("oldValues"), returns: input("returns") };
  graph.output("loss", criticLoss({ ...values, weight: input("weight") }, 0.2).loss);
  const weight = v.map(() => 1 / v.length);
  const feeds = { values: v, oldValues: old, returns: ret, weight };
  return [
    { name: `policy.${key}.loss`, form: "reference", actual: [actual], expected: [expected] },
    { name: `policy.${key}.loss`, form: "graph", actual: [evaluated(graph, feeds)], expected: [expected] },
  ];
}

/** The scalar "loss" of a graph whose inputs are vectors. */
function evaluated(graph: Graph, feeds: Readonly<Record<string, readonly number[]>>): number {
  const shaped = Object.entries(feeds).map(([name, data]) => [name, { shape: [data.length], data }]);
  return Number(evaluate(graph, Object.fromEntries(shaped))["loss"]?.data[0]);
}

/** Losses over preferences: reward models. */
export function preferenceChecks(preference: Record<string, unknown>): GoldenCheck[] {
  const rm = preference["rm"] as (Record<string, number> & { r_w: number; r_l: number }) | undefined;
  if (!rm) return [];
  const pair = { preferred: rm.r_w, rejected: rm.r_l };
  const of = (key: string, reference: number, graph: number): GoldenCheck[] =>
    (["reference", "graph"] as const).map((form) => ({
      name: `preference.rm.${key}`,
      form,
      actual: [form === "graph" ? graph : reference],
      expected: flat(rm[key]),
    }));
  const pairs = (key: string, settings: { margin?: number; centering?: number }): GoldenCheck[] =>
    of(key, bradleyTerryLoss(pair.preferred, pair.rejected, settings), pairOnGraph(pair, settings));
  const ranked = [2, 1, 0.5];
  return [
    ...pairs("bt", {}),
    ...pairs("bt_margin0.5", { margin: 0.5 }),
    ...pairs("bt_center0.01", { centering: 0.01 }),
    ...of("plackett_luce[2,1,.5]", plackettLuceLoss(ranked), rankingOnGraph(ranked, plackettLuceGraph)),
    ...of("instructgpt_K3[2,1,.5]", allPairsLoss(ranked), rankingOnGraph(ranked, allPairsGraph)),
  ];
}

function pairOnGraph(
  { preferred, rejected }: { readonly preferred: number; readonly rejected: number },
  { margin = 0, centering = 0 }: { readonly margin?: number; readonly centering?: number },
): number {
  const graph = createGraph("pairs");
  const input = (name: string): Value => graph.input(name, "float32", [1]);
  const scores = { preferred: input("preferred"), rejected: input("rejected") };
  const { loss } = pairLoss({ ...scores, margin: input("margin"), weight: input("weight") }, centering);
  graph.output("loss", loss);
  return evaluated(graph, { preferred: [preferred], rejected: [rejected], margin: [margin], weight: [1] });
}

function rankingOnGraph(ranked: readonly number[], build: typeof plackettLuceGraph): number {
  const graph = createGraph("ranking");
  const scores = graph.input("scores", "float32", [1, ranked.length]);
  graph.output("loss", build(scores, graph.input("weight", "float32", [1])));
  const shaped = { scores: { shape: [1, ranked.length], data: ranked }, weight: { shape: [1], data: [1] } };
  return Number(evaluate(graph, shaped)["loss"]?.data[0]);
}
