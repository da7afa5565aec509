import { describe, expect, it } from "vitest";
import { chooseDataFiles } from "./data-files.ts";

const choose = (
  paths: readonly string[],
  split = "train",
  config = "",
  configs?: unknown,
): readonly string[] => chooseDataFiles(paths, { config, split }, configs);

describe("the files of a split", () => {
  const shards = [
    "data/train-00001-of-00002.parquet",
    "data/test-00000-of-00001.parquet",
    "data/train-00000-of-00002.parquet",
  ];

  it("are in the order of their numbers", () => {
    expect(choose(shards)).toEqual([
      "data/train-00000-of-00002.parquet",
      "data/train-00001-of-00002.parquet",
    ]);
    expect(choose(["data/train_sft-00000-of-00001.parquet"], "train_sft")).toHaveLength(1);
  });

  it.each([
    ["train.jsonl", "train"],
    ["train/part.csv", "train"],
    ["my-dev.json", "validation"],
    ["sets/val.jsonl.gz", "validation"],
    ["gsm8k_test.jsonl", "test"],
    ["evaluation/rows.parquet", "test"],
  ])("%s is of %s", (path, split) => expect(choose([path, "README.md"], split)).toEqual([path]));

  it("are all files where no name tells of a split, and words inside of words tell nothing", () => {
    expect(choose(["b.jsonl", "a.jsonl", "constraints.jsonl"])).toEqual([
      "a.jsonl",
      "b.jsonl",
      "constraints.jsonl",
    ]);
  });

  it("are told by folders before files, and by what is below the config's folder", () => {
    const parts = ["train/part-00000-of-00002.jsonl", "test/part-00000-of-00002.jsonl"];
    expect(choose(parts)).toEqual([parts[0]]);
    expect(choose(parts, "test")).toEqual([parts[1]]);
    expect(choose(["test/train_subset.jsonl", "train/all.jsonl"], "test")).toEqual([
      "test/train_subset.jsonl",
    ]);
    const config = ["training_v1/test.jsonl", "training_v1/train.jsonl"];
    expect(choose(config, "test", "training_v1")).toEqual(["training_v1/test.jsonl"]);
    const hidden = [
      ".ipynb_checkpoints/train-checkpoint.jsonl",
      "__pycache__/train.json",
      "dataset_info.json",
    ];
    expect(choose(["a.jsonl", ...hidden])).toEqual(["a.jsonl"]);
  });

  it("are those in the folder of that name where the card tells of no config", () => {
    const paths = [
      "harmless-base/train.jsonl.gz",
      "helpful-base/train.jsonl.gz",
      "helpful-base/test.jsonl.gz",
    ];
    expect(choose(paths, "train", "helpful-base")).toEqual(["helpful-base/train.jsonl.gz"]);
    expect(choose(paths)).toEqual(["harmless-base/train.jsonl.gz", "helpful-base/train.jsonl.gz"]);
  });

  it("are what the card says of a config", () => {
    const paths = [
      "main/train-00000-of-00001.parquet",
      "main/test-00000-of-00001.parquet",
      "socratic/train-00000-of-00001.parquet",
    ];
    const configs = [
      {
        config_name: "main",
        data_files: [
          { split: "train", path: "main/train-*" },
          { split: "test", path: ["main/test-*"] },
        ],
      },
      { config_name: "socratic", data_dir: "socratic" },
    ];
    expect(choose(paths, "train", "main", configs)).toEqual([paths[0]]);
    expect(choose(paths, "test", "main", configs)).toEqual([paths[1]]);
    expect(choose(paths, "train", "socratic", configs)).toEqual([paths[2]]);
    expect(() => choose(paths, "train", "", configs)).toThrow(/config is required; accepted: main, socratic/);
    expect(() => choose(paths, "train", "other", configs)).toThrow(
      /no config "other"; accepted: main, socratic/,
    );
    expect(choose(paths, "train", "", [{ ...configs[0], default: true }, configs[1]])).toEqual([paths[0]]);
  });

  it("follow the card's patterns", () => {
    const paths = ["a/b/x1.jsonl", "a/x2.jsonl", "a/y.jsonl", "x3.jsonl"];
    const by = (data_files: unknown): readonly string[] =>
      choose(paths, "train", "", [{ config_name: "default", data_files }]);
    expect(by("a/**/*.jsonl")).toEqual(["a/b/x1.jsonl", "a/x2.jsonl", "a/y.jsonl"]);
    expect(by("**/x[0-9].jsonl")).toEqual(["a/b/x1.jsonl", "a/x2.jsonl", "x3.jsonl"]);
    expect(by(["./x3.jsonl", "a/?.jsonl"])).toEqual(["x3.jsonl", "a/y.jsonl"]);
    expect(by("a/x2.jsonl")).toEqual(["a/x2.jsonl"]);
    expect(() => by("a.x2.jsonl")).toThrow(/no file of the split "train"/);
  });

  it("are of one format, and no file that describes others", () => {
    expect(choose(["train.csv", "train.parquet", "dataset_infos.json", ".train.json"])).toEqual([
      "train.parquet",
    ]);
  });

  it("are refused by name where there are none, with the splits that there are", () => {
    expect(() => choose(shards, "validation")).toThrow(/"validation".*accepted: test, train/);
    expect(() => choose(["weights.bin"])).toThrow(/there is no split at all/);
  });
});
