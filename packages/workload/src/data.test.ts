/** Rows of a data set of the hub, through the real client against a local server that plays the hub. */
import { gzipSync } from "node:zlib";
import { expect, it } from "vitest";
import type { ResolvedHubData } from "@oarlock/runfile";
import { startFakeHub, temporaryFolder } from "@oarlock/testkit";
import { openData } from "./data.ts";

const lines = (...rows: readonly object[]): Buffer =>
  Buffer.from(rows.map((row) => JSON.stringify(row)).join("\n"));
const block = (
  more: Partial<ResolvedHubData> = {},
): { readonly type: "hub"; readonly hub: ResolvedHubData } => ({
  type: "hub",
  hub: {
    dataset: "hf://datasets/org/name",
    config: "",
    split: "train",
    fields: {},
    systemPrompt: "",
    chatTemplate: "auto",
    limit: 0,
    skip: 0,
    ...more,
  },
});
const files = new Map([
  ["main/train-00001-of-00002.jsonl", lines({ prompt: "c", answer: "3" })],
  [
    "main/train-00000-of-00002.jsonl.gz",
    gzipSync(lines({ prompt: "a", answer: "1" }, { prompt: "b", answer: "2" })),
  ],
  ["main/test-00000-of-00001.jsonl", lines({ prompt: "d", answer: "4" })],
  ["README.md", Buffer.from("of sums")],
]);
const card = {
  configs: [
    {
      config_name: "main",
      data_files: [
        { split: "train", path: "main/train-*" },
        { split: "test", path: "main/test-*" },
      ],
    },
  ],
};

it("are those of its files in order, fetched once, and only as many files as the limit needs", async () => {
  const server = await startFakeHub({ files, type: "datasets", card });
  const hub = { endpoint: server.endpoint, cacheDir: temporaryFolder("hub") };
  const downloads = (): string[] => server.requests.filter((request) => request.includes("/resolve/"));
  const first = await openData(block({ limit: 2 }), { baseDir: "/", hub });
  expect(first.rows.map(({ prompt }) => prompt)).toEqual(["a", "b"]);
  expect(downloads().join()).not.toContain("train-00001");
  const all = await openData(block(), { baseDir: "/", hub });
  expect(all).toMatchObject({ name: "name", rows: [{ answer: "1" }, { answer: "2" }, { answer: "3" }] });
  expect(all.placeOf?.(2)).toBe("line 1 of main/train-00001-of-00002.jsonl of name");
  const before = downloads().length;
  expect((await openData(block(), { baseDir: "/", hub })).digest).toBe(all.digest);
  expect(downloads()).toHaveLength(before);

  const test = await openData(block({ split: "test" }), { baseDir: "/", hub });
  expect(test.rows).toHaveLength(1);

  // Without a network, what is there is used, and what is not is named.
  const offline = { ...hub, endpoint: "http://127.0.0.1:1", offline: true };
  expect((await openData(block(), { baseDir: "/", hub: offline })).digest).toBe(all.digest);
  await expect(openData(block({ split: "dev" }), { baseDir: "/", hub: offline })).rejects.toMatchObject({
    code: "HUB_OFFLINE",
  });
});

it("is refused by name where there is no such split, and says what a private one needs", async () => {
  const server = await startFakeHub({ files, type: "datasets", card, token: "hf_secret" });
  const hub = { endpoint: server.endpoint, cacheDir: temporaryFolder("hub") };
  await expect(openData(block(), { baseDir: "/", hub })).rejects.toThrow(
    /private or gated repository needs HF_TOKEN/,
  );
  const refused = openData(block({ split: "validation" }), {
    baseDir: "/",
    hub: { ...hub, token: "hf_secret" },
  });
  await expect(refused).rejects.toThrow(/\[DATA_SPLIT\].*"validation".*accepted: train, test/);
});
