/** Bundles: what is packed is fetched bit for bit, and what is stored is not believed. */
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { createMemoryBus, subjects } from "@oarlock/bus";
import { bundleReference, type RunSpec } from "@oarlock/runfile";
import { bundlesOf, fetchBundles } from "./bundle-fetch.ts";
import { parseManifest } from "./bundle-manifest.ts";
import { entriesOf, packFiles, storeBundle } from "./bundle-pack.ts";

const uid = "u-1";
const spec = (reference: string): RunSpec => ({
  model: { from: reference },
  stages: [{ name: "a", type: "sft", sft: { data: { type: "task", task: { name: "addition" } }, steps: 1 } }],
});

describe("bundles", () => {
  const folders: string[] = [];
  const folder = (): string => {
    const made = mkdtempSync(join(tmpdir(), "oarlock-bundle-"));
    folders.push(made);
    return made;
  };
  afterEach(() => folders.splice(0).forEach((path) => rmSync(path, { recursive: true, force: true })));

  const packed = async () => {
    const home = join(folder(), "model");
    mkdirSync(join(home, "deep"), { recursive: true });
    writeFileSync(join(home, "config.json"), "{}");
    writeFileSync(join(home, "deep/weights.bin"), Buffer.alloc(3_000_000, 7));
    writeFileSync(join(home, ".secret"), "stays at home");
    return packFiles(await entriesOf(home));
  };

  it("bring a folder to a pod as it was, without what is hidden", async () => {
    await using bus = createMemoryBus();
    const bundle = await packed();
    await storeBundle({ bus, uid, bundles: [bundle] });
    // Again: what is there is not sent twice.
    await storeBundle({ bus, uid, bundles: [bundle] });
    const there = folder();
    await fetchBundles({ spec: spec(bundleReference(bundle.digest, "model")), bus, uid, folder: there });
    const home = join(there, "bundle", bundle.digest, "model");
    expect(readFileSync(join(home, "deep/weights.bin")).equals(Buffer.alloc(3_000_000, 7))).toBe(true);
    expect(readFileSync(join(home, "config.json"), "utf8")).toBe("{}");
    expect(() => readFileSync(join(home, ".secret"))).toThrow("ENOENT");
  });

  it("are fetched by those who read them: a reward model by the learner alone", () => {
    const [model, scorer] = ["a", "b"].map((digit) => digit.repeat(64));
    const rewards = [
      { name: "liked", type: "model", model: { from: bundleReference(scorer!, "rm") } },
    ] as const;
    const data = { type: "task", task: { name: "addition" } } as const;
    const run: RunSpec = {
      model: { from: bundleReference(model!, "model") },
      stages: [{ name: "a", type: "grpo", grpo: { data, steps: 1, rewards } }],
    };
    expect(bundlesOf(run)).toEqual([model, scorer]);
    expect(bundlesOf(run, "learner")).toEqual([model, scorer]);
    expect(bundlesOf(run, "actor")).toEqual([model]);
    expect(bundlesOf(run, "reward")).toEqual([model]);
  });

  it("have one name for one content", async () => {
    expect((await packed()).digest).toBe((await packed()).digest);
  });

  it("hold what is wanted of a folder, and end where it leads back to itself or to no file", async () => {
    const home = join(folder(), "rm");
    mkdirSync(join(home, "checkpoint-1"), { recursive: true });
    writeFileSync(join(home, "weights"), "w");
    symlinkSync(join(home, "weights"), join(home, "model"));
    writeFileSync(join(home, "checkpoint-1/model"), "old");
    const paths = async (wanted?: (path: string) => boolean): Promise<readonly string[]> =>
      (await entriesOf(home, wanted)).map(({ path }) => path);
    expect(await paths((path) => path === "model")).toEqual(["rm/model"]);
    expect(await paths()).toEqual(["rm/checkpoint-1/model", "rm/model", "rm/weights"]);
    await expect(paths(() => false)).rejects.toMatchObject({ code: "BUNDLE_SOURCE_INVALID" });
    symlinkSync(home, join(home, "checkpoint-1/up"));
    await expect(paths()).rejects.toThrow(/BUNDLE_SOURCE_INVALID.*up leads back to/);
    rmSync(join(home, "checkpoint-1/up"));
    symlinkSync("/dev/null", join(home, "device"));
    await expect(paths()).rejects.toThrow(/BUNDLE_SOURCE_INVALID.*device is no plain file/);
    rmSync(join(home, "device"));
    symlinkSync(join(home, "nowhere"), join(home, "broken"));
    await expect(paths()).rejects.toThrow(/BUNDLE_SOURCE_ABSENT.*broken/);
  });

  it("are waited for: what is not stored yet may be on its way", async () => {
    await using bus = createMemoryBus();
    const missing = fetchBundles({
      spec: spec(bundleReference("a".repeat(64), "model")),
      bus,
      uid,
      folder: folder(),
    });
    await expect(missing).rejects.toMatchObject({ code: "BUNDLE_MISSING", retryable: true });
  });

  it("under a name that is not their digest are refused", async () => {
    await using bus = createMemoryBus();
    const store = await bus.objects({ name: subjects(uid).bundleBucket, maxBytes: 10_000 });
    await store.put("b".repeat(64), Buffer.from('{"files":[]}'));
    const wrong = fetchBundles({
      spec: spec(bundleReference("b".repeat(64), "m")),
      bus,
      uid,
      folder: folder(),
    });
    await expect(wrong).rejects.toMatchObject({ code: "BUNDLE_INVALID" });
  });

  const file = { path: "a", bytes: 1, sha256: "0".repeat(64) };
  it.each([
    ["no JSON", "{"],
    ["no files", '{"files":[]}'],
    ["a path that leaves the folder", JSON.stringify({ files: [{ ...file, path: "../a" }] })],
    ["an absolute path", JSON.stringify({ files: [{ ...file, path: "/etc/passwd" }] })],
    ["a path of another system", JSON.stringify({ files: [{ ...file, path: "..\\a" }] })],
    ["one path twice", JSON.stringify({ files: [file, file] })],
    ["a negative size", JSON.stringify({ files: [{ ...file, bytes: -1 }] })],
    ["a short digest", JSON.stringify({ files: [{ ...file, sha256: "00" }] })],
  ])("with a manifest that has %s are refused", (_, text) => {
    expect(() => parseManifest(text)).toThrow("the bundle's manifest");
  });
});
