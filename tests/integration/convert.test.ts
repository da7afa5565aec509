/**
 * `oarlock convert` and `oarlock export` on real models: whatever format a model comes in, the folder that is written
 * holds the same weights, and nothing is written where something is wrong with the source or the target.
 */
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { main, recordingTerminal } from "@oarlock/cli";
import { createGenerator } from "@oarlock/generation";
import { loadLlama2c, loadModelFolder } from "@oarlock/models";
import { parseMetrics } from "@oarlock/report";
import { runDigest, type ResolvedRun } from "@oarlock/runfile";
import { requireFile, startFakeHub, temporaryFolder } from "@oarlock/testkit";
import { createTokenizer } from "@oarlock/tokenizer";
import { describe, expect, it, vi } from "vitest";
import { ADDITION_RUN_FILE } from "./addition-plan.ts";
import { goldenFile, readGolden, storiesFile } from "./stories260k.ts";

const tokenizerFile = requireFile("models", "../shared/models/stories260K/tok512.bin");
const hfFolder = requireFile("models", "../shared/models/stories260K/hf");
const gpt2 = requireFile("data", "../shared/data/tokenizers/gpt2_tokenizer.json");
const absent = storiesFile.absent || tokenizerFile.absent || hfFolder.absent || goldenFile.absent;

/** Runs a command line in this process: its exit code, and all that it said. */
async function oarlock(...args: string[]): Promise<{ readonly code: number; readonly text: string }> {
  const terminal = recordingTerminal();
  const code = await main(["node", "oarlock", ...args], terminal);
  return { code, text: terminal.lines.join("\n") };
}

const PUBLISHED =
  "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, red ball.";

describe.skipIf(absent)(`oarlock convert${storiesFile.note}`, () => {
  const convertStories = async (target: string, ...more: string[]) =>
    oarlock("convert", storiesFile.path, target, "--tokenizer", tokenizerFile.path, ...more);

  it("llama2.c to Hugging Face: the same weights to the last bit, and the published text", async () => {
    const target = join(temporaryFolder("convert"), "stories");
    const { code, text } = await convertStories(target);
    const { digest } = await loadLlama2c(storiesFile.path);
    expect(text).toContain("260,032 parameters in float32");
    expect(text).toContain(digest);
    expect(code).toBe(0);
    const model = await loadModelFolder(target);
    expect(model.digest).toBe(digest);
    expect(model.specials).toEqual({ bosTokenId: 1, padTokenId: 0, eosTokenIds: [2] });

    const tokenizer = createTokenizer(model.tokenizer!);
    expect([...tokenizer.encode("Once upon a time")]).toEqual([1, 403, 407, 261, 378]);
    const generator = await createGenerator({ config: model.config, slots: 1, maxLength: 80 });
    await generator.load(model.weights, { number: 0, digest });
    const [story] = await generator.submit({
      id: "story",
      prompt: tokenizer.encode(""),
      samples: [{ seed: 0, purpose: "evaluation", stage: 0, step: 0, group: 0, draw: 0, sample: 0 }],
      params: { temperature: 0, topK: 0, topP: 1, maxNewTokens: 64, stopTokens: [] },
    });
    await generator.close();
    expect([1, ...story!.tokens]).toEqual(readGolden().greedy_from_bos_64);
    expect(tokenizer.decode(story!.tokens, { skipSpecialTokens: true }).trimStart()).toContain(PUBLISHED);
  });

  it("a folder or a hub's repository is written again as it is, in the precision asked for", async () => {
    const folder = temporaryFolder("convert");
    const names = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"];
    const files = new Map(names.map((name) => [name, readFileSync(join(hfFolder.path, name))]));
    const hub = await startFakeHub({ files });
    vi.stubEnv("HF_ENDPOINT", hub.endpoint);
    vi.stubEnv("OARLOCK_CACHE", join(folder, "cache"));
    try {
      expect((await oarlock("convert", "hf://org/name@v1", join(folder, "hub"))).code).toBe(0);
    } finally {
      vi.unstubAllEnvs();
    }
    const { code, text } = await oarlock("convert", hfFolder.path, join(folder, "half"), "--dtype", "bf16");
    expect([code, text]).toEqual([0, expect.stringContaining("before rounding to bfloat16")]);
    const [source, fromHub, half] = [
      await loadModelFolder(hfFolder.path),
      await loadModelFolder(join(folder, "hub")),
      await loadModelFolder(join(folder, "half")),
    ];
    expect(fromHub.digest).toBe(source.digest);
    expect(fromHub.tokenizer?.tokenizer).toBe(source.tokenizer?.tokenizer);
    expect(half.weights).not.toEqual(source.weights);
    expect(half.weights).toBeAllclose(source.weights, { relative: 2 ** -8 });
  });

  it("X1: refuses what is not a model, not its tokenizer, or would overwrite something, and writes nothing", async () => {
    const folder = temporaryFolder("convert");
    const place = (name: string): string => join(folder, name);
    cpSync(storiesFile.path, place("cut.bin"));
    truncateSync(place("cut.bin"), 1_000_000);
    writeFileSync(place("noise.gguf"), Buffer.alloc(4096, 7));
    writeFileSync(place("model.pt"), "pickle");
    writeFileSync(place("tokenizer.json"), "{}");
    mkdirSync(place("empty"));
    cpSync(tokenizerFile.path, place("cut-tok.bin"));
    truncateSync(place("cut-tok.bin"), 3000);
    const mine = "written by hand";
    mkdirSync(place("taken"));
    writeFileSync(join(place("taken"), "notes.txt"), mine);
    const stories = storiesFile.path;
    const refusals: readonly (readonly [string[], RegExp])[] = [
      [
        [place("nowhere.bin"), place("new")],
        /MODEL_SOURCE.*nowhere\.bin" does not exist.*accepted: a folder/,
      ],
      [[place("model.pt"), place("new")], /MODEL_SOURCE.*is a file of another kind/],
      [["https://example.org/model", place("new")], /MODEL_SOURCE.*is an address of another kind/],
      [["hf://datasets/org/name", place("new")], /MODEL_SOURCE.*is a data set/],
      [[place("cut.bin"), place("new")], /MODEL_LLAMA2C.*describes 1056540 bytes, it has 1000000/],
      [[tokenizerFile.path, place("new")], /MODEL_LLAMA2C.*is no llama2\.c checkpoint/],
      [[place("noise.gguf"), place("new")], /MODEL_GGUF/],
      [[place("empty"), place("new")], /MODEL_FILE.*no config\.json/],
      [[place("cut.bin"), place("taken")], /TARGET_TAKEN.*is not empty/],
      [[stories, place("model.pt")], /TARGET_TAKEN.*is a file/],
      [
        [stories, place("model.pt/below"), "--tokenizer", tokenizerFile.path],
        /FOLDER_IMPOSSIBLE.*cannot be made: .*model\.pt is a file/,
      ],
      [[stories, place("new"), "--tokenizer", place("cut-tok.bin")], /MODEL_LLAMA2C.*of 512 tokens/],
      [[stories, place("new"), "--tokenizer", stories], /MODEL_LLAMA2C.*no llama2\.c tokenizer/],
      [[stories, place("new"), "--tokenizer", place("tokenizer.json")], /TOKENIZER_FILE.*model\.vocab/],
      [[stories, place("new"), "--tokenizer", place("empty")], /MODEL_TOKENIZER.*no tokenizer\.json/],
      [[stories, place("new"), "--tokenizer", place("model.pt")], /MODEL_TOKENIZER.*another kind/],
    ];
    for (const [args, reason] of refusals) {
      const { code, text } = await oarlock("convert", ...args);
      expect(text.replaceAll("\n", " ")).toMatch(reason);
      expect([args, code]).toEqual([args, 3]);
    }
    expect(existsSync(place("new"))).toBe(false);
    expect(readdirSync(place("taken"))).toEqual(["notes.txt"]);
    expect(readdirSync(folder).filter((name) => name.startsWith("."))).toEqual([]);
    expect((await oarlock("convert", stories, place("new"), "--dtype", "int4")).code).toBe(2);
  });

  it("X1: a checkpoint without its tokenizer is refused with what to add", async () => {
    const folder = temporaryFolder("convert");
    cpSync(storiesFile.path, join(folder, "lone.bin"));
    const { code, text } = await oarlock("convert", join(folder, "lone.bin"), join(folder, "new"));
    expect([code, text]).toEqual([3, expect.stringMatching(/TOKENIZER_MISSING.*--tokenizer FILE/)]);
  });

  it.skipIf(gpt2.absent)(
    `X1: a tokenizer that knows more tokens than the model is refused${gpt2.note}`,
    async () => {
      const folder = temporaryFolder("convert");
      cpSync(gpt2.path, join(folder, "tokenizer.json"));
      const target = join(folder, "new");
      const { code, text } = await oarlock("convert", storiesFile.path, target, "--tokenizer", folder);
      expect([code, text]).toEqual([
        3,
        expect.stringMatching(/50295 tokens; accepted by this model: at most 512/),
      ]);
      expect(existsSync(target)).toBe(false);
    },
  );
});

describe("oarlock export", () => {
  it("writes the final policy and that of a checkpoint, and says which there are", async () => {
    const folder = temporaryFolder("export");
    const [runFile, run] = [join(folder, "run.yaml"), join(folder, "run")];
    writeFileSync(runFile, ADDITION_RUN_FILE);
    expect((await oarlock("run", runFile, "--out", run)).code).toBe(0);
    const digests = parseMetrics(readFileSync(join(run, "metrics.jsonl"), "utf8"))
      .filter(({ kind }) => kind === "step")
      .map(({ policyDigest }) => policyDigest);

    const [final, early] = [join(folder, "final"), join(folder, "early")];
    const whole = await oarlock("export", run, final);
    expect([whole.code, whole.text]).toEqual([0, expect.stringContaining(digests.at(-1)!)]);
    expect((await oarlock("export", run, early, "--step", "10")).code).toBe(0);
    const [lastModel, earlyModel] = [await loadModelFolder(final), await loadModelFolder(early)];
    expect([earlyModel.digest, lastModel.digest]).toEqual([digests[9], digests[11]]);
    expect(earlyModel.tokenizer).toEqual(lastModel.tokenizer);
    expect(earlyModel.specials).toEqual(lastModel.specials);
    expect(earlyModel.config).toEqual(lastModel.config);

    const none = await oarlock("export", run, join(folder, "new"), "--step", "3");
    expect([none.code, none.text]).toEqual([
      3,
      expect.stringMatching(/CHECKPOINT_MISSING.*no checkpoint at step 3; accepted: 10, 12/),
    ]);
    const taken = await oarlock("export", run, final);
    expect([taken.code, taken.text]).toEqual([3, expect.stringContaining("TARGET_TAKEN")]);
    const stranger = await oarlock("export", final, join(folder, "new"));
    expect([stranger.code, stranger.text]).toEqual([3, expect.stringContaining("RUN_FOLDER_INVALID")]);
    const asSource = await oarlock("convert", run, join(folder, "new"));
    expect([asSource.code, asSource.text]).toEqual([3, expect.stringContaining("oarlock export")]);

    rmSync(join(run, "final"), { recursive: true });
    const unfinished = await oarlock("export", run, join(folder, "new"));
    expect([unfinished.code, unfinished.text]).toEqual([
      3,
      expect.stringMatching(/RUN_NOT_COMPLETE.*oarlock resume.*--step 10, --step 12/),
    ]);
    // Planned with a tokenizer that is not the one of today.
    const document = JSON.parse(readFileSync(join(run, "plan.json"), "utf8")) as { run: ResolvedRun };
    const { spec, inputs: were } = document.run;
    const inputs = { ...were, model: { ...were.model, tokenizerDigest: "00" } };
    const other = { ...document, run: { ...document.run, inputs, digest: runDigest(spec, inputs) } };
    writeFileSync(join(run, "plan.json"), JSON.stringify(other));
    const changed = await oarlock("export", run, join(folder, "new"), "--step", "12");
    expect([changed.code, changed.text]).toEqual([3, expect.stringContaining("MODEL_CHANGED")]);
    expect(existsSync(join(folder, "new"))).toBe(false);
  });
});
