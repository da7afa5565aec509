import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { temporaryFolder } from "@oarlock/testkit";
import { describe, expect, test } from "vitest";
import { openStageArtifacts, type StageArtifact } from "./stage-artifacts.ts";

const weights = Float32Array.of(1, -2.5, 3);
const digest = createHash("sha256").update(new Uint8Array(weights.buffer)).digest("hex");
const artifact: StageArtifact = {
  stage: "rm",
  kind: "reward-model",
  digest,
  elements: 3,
  parents: ["start"],
};

describe("stage artifacts", () => {
  test("come back by their content, with what they were made from beside them", async () => {
    const folder = join(temporaryFolder("artifacts"), "new");
    const artifacts = openStageArtifacts(folder);
    await artifacts.save(artifact, weights);
    await artifacts.save(artifact, weights);
    expect(await artifacts.load(artifact)).toEqual(weights);
    expect(readdirSync(folder).toSorted()).toEqual([`${digest}.f32`, "rm.json"].toSorted());
    expect(JSON.parse(readFileSync(join(folder, "rm.json"), "utf8"))).toEqual(artifact);
  });

  test("are refused where a byte has changed, and where the digest is another's", async () => {
    const folder = temporaryFolder("artifacts");
    const artifacts = openStageArtifacts(folder);
    await artifacts.save(artifact, weights);
    writeFileSync(join(folder, `${digest}.f32`), new Uint8Array(12));
    await expect(artifacts.load(artifact)).rejects.toThrow(/CHECKPOINT_CORRUPT.*SHA-256/);
    const other = { ...artifact, digest: "0".repeat(64) };
    for (const _ of ["first", "again"])
      await expect(artifacts.save(other, weights)).rejects.toThrow(/ARTIFACT_CHANGED.*rm/);
    await expect(artifacts.load({ ...artifact, digest: "1".repeat(64) })).rejects.toThrow(/no bytes/);
  });

  test("leave no draft behind where they could not be saved", async () => {
    const folder = temporaryFolder("artifacts");
    const artifacts = openStageArtifacts(folder);
    const givenUp = AbortSignal.abort(new Error("given up"));
    await expect(artifacts.save(artifact, weights, givenUp)).rejects.toThrow("given up");
    const other = { ...artifact, digest: "0".repeat(64) };
    await expect(artifacts.save(other, weights)).rejects.toThrow("ARTIFACT_CHANGED");
    expect(readdirSync(folder)).toEqual([]);
  });
});
