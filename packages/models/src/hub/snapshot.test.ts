import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { HUB_COMMIT as COMMIT, startFakeHub, temporaryFolder } from "@oarlock/testkit";
import { describe, expect, it } from "vitest";
import { isModelFile } from "../load-model.ts";
import type { HubReference } from "../source.ts";
import { hubSettings } from "./config.ts";
import { downloadSnapshot } from "./snapshot.ts";
import { expectedDigest } from "./verify.ts";

const reference: HubReference = { type: "model", name: "org/name", revision: "main" };
const weights = Buffer.from(Uint8Array.from({ length: 300_000 }, (_, i) => i % 251));
const files = new Map([
  ["config.json", Buffer.from('{"model_type":"llama"}')],
  ["model.safetensors", weights],
  ["README.md", Buffer.from("text")],
  ["onnx/model.safetensors", Buffer.from("other")],
]);

describe("a snapshot", () => {
  it("holds the wanted files of one commit, and is asked for once", async () => {
    const hub = await startFakeHub({ files });
    const options = { endpoint: `${hub.endpoint}/`, cacheDir: temporaryFolder("hub"), wanted: isModelFile };
    const progress: number[] = [];
    const folder = await downloadSnapshot(reference, {
      ...options,
      onProgress: ({ doneBytes, totalBytes }) => progress.push(doneBytes / totalBytes),
    });
    expect(folder).toBe(join(options.cacheDir, "models--org--name", COMMIT));
    expect(readdirSync(folder).toSorted()).toEqual([
      ".oarlock-complete.json",
      "config.json",
      "model.safetensors",
    ]);
    expect(readFileSync(join(folder, "model.safetensors"))).toEqual(weights);
    expect(progress.at(-1)).toBe(1);
    const before = hub.requests.length;
    expect(await downloadSnapshot({ ...reference, revision: "v1" }, options)).toBe(folder);
    expect(await downloadSnapshot({ ...reference, revision: COMMIT }, options)).toBe(folder);
    expect(hub.requests.slice(before)).toEqual(["GET /api/models/org/name/revision/v1"]);
  });

  it("serves data sets, their folders included", async () => {
    const data = new Map([["data/train.jsonl", Buffer.from("{}")]]);
    const hub = await startFakeHub({ files: data, type: "datasets" });
    const folder = await downloadSnapshot(
      { ...reference, type: "dataset" },
      { endpoint: hub.endpoint, cacheDir: temporaryFolder("hub"), wanted: () => true },
    );
    expect(readFileSync(join(folder, "data", "train.jsonl"), "utf8")).toBe("{}");
  });

  it("continues a cut download where it was cut", async () => {
    const hub = await startFakeHub({ files });
    const options = { endpoint: hub.endpoint, cacheDir: temporaryFolder("hub"), wanted: isModelFile };
    hub.cuts.set("model.safetensors", 100_000);
    await expect(downloadSnapshot(reference, options)).rejects.toMatchObject({
      code: "HUB_REQUEST",
      retryable: true,
    });
    const snapshot = join(options.cacheDir, "models--org--name", COMMIT);
    expect(existsSync(join(snapshot, "model.safetensors"))).toBe(false);
    // Offline, a revision is still what it was: nothing of this commit is whole.
    expect(existsSync(join(snapshot, "../revisions/main"))).toBe(false);
    const before = hub.requests.length;
    await downloadSnapshot(reference, options);
    expect(hub.requests.slice(before).join()).toContain("model.safetensors bytes=100000-299999");
    expect(readFileSync(join(snapshot, "model.safetensors"))).toEqual(weights);
    expect(readdirSync(snapshot).filter((name) => name.endsWith(".partial"))).toEqual([]);
  });

  it("is refused where a digest differs, small file or large, and nothing of it stays", async () => {
    for (const name of ["config.json", "model.safetensors"]) {
      const hub = await startFakeHub({ files });
      const options = { endpoint: hub.endpoint, cacheDir: temporaryFolder("hub"), wanted: isModelFile };
      hub.corrupt.add(name);
      await expect(downloadSnapshot(reference, options)).rejects.toMatchObject({
        code: "HUB_DIGEST",
        retryable: true,
      });
      const snapshot = join(options.cacheDir, "models--org--name", COMMIT);
      expect(readdirSync(snapshot).filter((file) => file.startsWith(name))).toEqual([]);
      hub.corrupt.clear();
      await downloadSnapshot(reference, options);
      expect(readFileSync(join(snapshot, name))).toEqual(files.get(name));
    }
  });

  it("is fetched by two at a time, and each has it whole", async () => {
    const hub = await startFakeHub({ files });
    const options = { endpoint: hub.endpoint, cacheDir: temporaryFolder("hub"), wanted: isModelFile };
    const folders = await Promise.all([1, 2, 3].map(() => downloadSnapshot(reference, options)));
    for (const folder of folders) expect(readFileSync(join(folder, "model.safetensors"))).toEqual(weights);
    const left = readdirSync(folders[0] ?? "").filter((name) => name.includes(".partial"));
    expect(left).toEqual([]);
  });

  it("is refused where a digest of the listing would lead out of the folder", async () => {
    const entry = { path: "f.jsonl", oid: "/../../../../x" };
    expect(() => expectedDigest(entry)).toThrow(/HUB_REQUEST.*f\.jsonl.*no digest/);
  });

  it("stops when told", async () => {
    const hub = await startFakeHub({ files });
    const signal = AbortSignal.abort(new Error("enough"));
    const options = { endpoint: hub.endpoint, cacheDir: temporaryFolder("hub"), wanted: isModelFile, signal };
    await expect(downloadSnapshot(reference, options)).rejects.toThrow("enough");
  });
});

describe("the environment", () => {
  it("sends the token with every request, and shows it in no message", async () => {
    const token = "hf_secretsecretsecret";
    const hub = await startFakeHub({ files, token });
    const options = { endpoint: hub.endpoint, cacheDir: temporaryFolder("hub"), wanted: isModelFile };
    await downloadSnapshot(reference, { ...options, token });
    expect(new Set(hub.tokens)).toEqual(new Set([`Bearer ${token}`]));
    const wrong = await downloadSnapshot(
      { ...reference, revision: "v1" },
      { ...options, token: "hf_wrongwrongwrong" },
    ).catch((reason: unknown) => reason as Error & { cause?: unknown });
    expect(String(wrong)).toMatch(/HUB_REQUEST.*hf:\/\/org\/name@v1: Unauthorized.*needs HF_TOKEN/);
    expect(`${String(wrong)} ${JSON.stringify(wrong)}`).not.toContain("hf_wrong");
  });

  it("offline: uses the cache, and asks for nothing", async () => {
    const hub = await startFakeHub({ files });
    const options = { endpoint: hub.endpoint, cacheDir: temporaryFolder("hub"), wanted: isModelFile };
    const offline = { ...options, offline: true };
    await expect(downloadSnapshot(reference, offline)).rejects.toThrow(
      /HUB_OFFLINE.*hf:\/\/org\/name@main is not in/,
    );
    expect(hub.requests).toEqual([]);
    const folder = await downloadSnapshot(reference, options);
    const before = hub.requests.length;
    expect(await downloadSnapshot(reference, offline)).toBe(folder);
    expect(await downloadSnapshot({ ...reference, revision: COMMIT }, offline)).toBe(folder);
    await expect(downloadSnapshot({ ...reference, revision: "v1" }, offline)).rejects.toThrow(/HUB_OFFLINE/);
    writeFileSync(join(folder, "..", "revisions", "evil"), "../../..");
    await expect(downloadSnapshot({ ...reference, revision: "evil" }, offline)).rejects.toThrow(
      /HUB_OFFLINE/,
    );
    expect(hub.requests).toHaveLength(before);
  });

  it("names a repository that is not there", async () => {
    const hub = await startFakeHub({ files });
    const options = { endpoint: hub.endpoint, cacheDir: temporaryFolder("hub"), wanted: isModelFile };
    await expect(downloadSnapshot({ ...reference, name: "org/other" }, options)).rejects.toMatchObject({
      message: expect.stringMatching(/HUB_REQUEST.*hf:\/\/org\/other@main: Repository not found/) as string,
      retryable: false,
    });
  });

  it("is read from the hub's own variables", () => {
    const read = { HF_ENDPOINT: "http://mirror/", HF_TOKEN: " t ", HF_HUB_OFFLINE: "1", OARLOCK_CACHE: "/c" };
    expect(hubSettings(read)).toEqual({
      endpoint: "http://mirror",
      token: "t",
      offline: true,
      cacheDir: "/c/hub",
    });
    expect(hubSettings({ XDG_CACHE_HOME: "/x", HF_HUB_OFFLINE: "0" })).toEqual({
      endpoint: "https://huggingface.co",
      offline: false,
      cacheDir: "/x/oarlock/hub",
    });
    for (const bad of ["https://me:hf_secret@mirror", "mirror", "ftp://mirror"])
      expect(() => hubSettings({ HF_ENDPOINT: bad })).toThrow(
        /SETTING_INVALID.*HF_ENDPOINT: accepted: (?!.*hf_secret)/,
      );
  });
});
