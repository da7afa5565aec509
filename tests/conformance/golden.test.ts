/** The golden vectors of the objectives: reference form and graph form in float64, and the same graph on ONNX Runtime. */
import { readFileSync } from "node:fs";
import { serializeModel } from "@oarlock/onnx";
import { openOrt } from "@oarlock/ort";
import { requireFile, testedEngine } from "@oarlock/testkit";
import { describe, expect, test } from "vitest";
import { goldenChecks, greatestDifference, objectiveFeeds, objectiveGraph } from "../golden/checks.ts";
import type { GoldenFile } from "../golden/file.ts";

const wanted = requireFile("golden", "../shared/golden/objectives.json");

describe.skipIf(wanted.absent)(`golden vectors${wanted.note}`, () => {
  const file = JSON.parse(wanted.exists ? readFileSync(wanted.path, "utf8") : "{}") as GoldenFile;

  test("every check agrees within 1e-6", () => {
    const checks = goldenChecks(file);
    expect(checks.length).toBeGreaterThanOrEqual(46);
    expect(checks.filter((check) => greatestDifference(check) > 1e-6).map(({ name }) => name)).toEqual([]);
  });

  test("files with large numbers are held to the same relative difference, and not to less", () => {
    const times = (factor: number, value: unknown): unknown =>
      Array.isArray(value) ? value.map((part) => times(factor, part)) : Number(value) * factor;
    const aggregated = Object.entries(file.policy["ppo_clip_0.2_agg"] as Record<string, number>);
    // The losses are linear in the advantages.
    const scaled = (factor: number): string[] => {
      const input = file.policy.input.map((sequence) => ({ ...sequence, A: sequence.A * 1024 }));
      const losses = aggregated.map(([key, value]) => [key, value * factor]);
      const policy = {
        input,
        "ppo_clip_0.2_agg": Object.fromEntries(losses) as Record<string, number>,
        "ppo_clip_0.2_grad_token-mean": times(factor, file.policy["ppo_clip_0.2_grad_token-mean"]),
      };
      const checks = goldenChecks({ policy } as unknown as GoldenFile);
      return checks.filter((check) => greatestDifference(check) <= 1e-6).map(({ name }) => name);
    };
    expect(scaled(1024)).toHaveLength(9);
    expect(scaled(1024.01)).toEqual([]);
  });

  test("the objective's graph on ONNX Runtime agrees within 1e-5, gradient included", async () => {
    const feeds = objectiveFeeds(file, "token-mean-global");
    const size = feeds["weight"]?.length ?? 0;
    const ort = await openOrt(testedEngine());
    const session = await ort.createSession(serializeModel(objectiveGraph(size, { low: 0.2, high: 0.2 })));
    const inputs = Object.entries(feeds).map(([name, data]) => [
      name,
      ort.tensor("float32", [size], Float32Array.from(data)),
    ]);
    const [loss, refKl, gradient] = [new Float32Array(1), new Float32Array(1), new Float32Array(size)];
    const outputs = {
      loss: ort.tensor("float32", [], loss),
      refKl: ort.tensor("float32", [], refKl),
      gradient: ort.tensor("float32", [size], gradient),
    };
    await session.run(session.bind(Object.fromEntries(inputs), outputs));
    await ort.close();
    const aggregated = file.policy["ppo_clip_0.2_agg"] as Record<string, number>;
    const expected = (file.policy["ppo_clip_0.2_grad_token-mean"] as number[][]).flat();
    const k3 = (file.policy["kl_theta_ref"] as { k3: number[][] }).k3.flat();
    expect(refKl[0]).toBeCloseTo(k3.reduce((total, value) => total + value, 0) / size, 5);
    expect(loss[0]).toBeCloseTo(aggregated["token-mean"] ?? Number.NaN, 5);
    gradient.forEach((value, i) => expect(value).toBeCloseTo(expected[i] ?? Number.NaN, 5));
  });
});
