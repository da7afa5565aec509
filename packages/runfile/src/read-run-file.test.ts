/** Reading run files: overrides, places, and what survives hostile or careless text. The table of errors is bad-input.test.ts. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MAX_FILE_BYTES } from "./document.ts";
import { readRunFile } from "./read-run-file.ts";
import { minimalRun } from "./specimens.ts";

const read = (text: string, ...set: string[]) => readRunFile(text, { file: "run.yaml", set });

function accepted(text: string, ...set: string[]) {
  const result = read(text, ...set);
  if (!result.ok) throw new Error(result.problems.map((problem) => JSON.stringify(problem)).join("\n"));
  return result.file;
}

function codes(text: string, ...set: string[]): string[] {
  const result = read(text, ...set);
  return result.ok ? [] : result.problems.map(({ code }) => code);
}

describe("reading", () => {
  it("accepts YAML and the same run as JSON", () => {
    const { run } = accepted(minimalRun());
    expect(run.spec.stages.map(({ name }) => name)).toEqual(["warm", "learn"]);
    expect(accepted(JSON.stringify(run, undefined, "\t")).run).toEqual(run);
  });

  it("knows where each value stands", () => {
    const file = accepted(minimalRun(), "seed=9");
    expect(file.source(["spec", "seed"])).toEqual({ type: "set", text: "seed=9" });
    expect(file.source(["metadata", "name"])).toEqual({
      type: "file",
      file: "run.yaml",
      line: 3,
      column: 13,
    });
    expect(file.source(["spec", "pipeline", "lag"])).toBeUndefined();
  });

  it("of a block that is set, takes only what it holds as set: the rest of what stood there is gone", () => {
    const file = accepted(minimalRun(), "stages.learn.optimizer={learningRate: 0.01, beta2:}");
    const optimizer = ["spec", "stages", 1, "grpo", "optimizer"];
    const set = { type: "set", text: "stages.learn.optimizer={learningRate: 0.01, beta2:}" };
    expect(file.source(optimizer)).toEqual(set);
    expect(file.source([...optimizer, "learningRate"])).toEqual(set);
    expect(file.source([...optimizer, "schedule"])).toBeUndefined();
    expect(file.source([...optimizer, "beta2"])).toBeUndefined();
  });

  it("takes a field without a value as absent, as the API server does, and keeps unknown ones", () => {
    const run = minimalRun().replace("seed: 7", "seed:\n  pipeline: ~");
    expect(accepted(run).run.spec).not.toHaveProperty("seed");
    expect(codes(minimalRun().replace("seed: 7", "sed:"))).toEqual(["UNKNOWN_FIELD"]);
    expect(codes(minimalRun().replace(/model:[^]*stages:/, "model:\n  stages:"))).toEqual(["REQUIRED"]);
  });

  it("counts the characters of a text as the API server does: by code point", () => {
    const named = (alphabet: string): string => minimalRun().replace("0123456789+=", alphabet);
    expect(codes(named("𝕏".repeat(4096)))).toEqual([]);
    expect(codes(named("𝕏".repeat(4097)))).toEqual(["OUT_OF_RANGE"]);
  });

  it("follows an alias to the place of its anchor", () => {
    const text = minimalRun().replace("sft: { data: {", "sft: { data: &sums {");
    const twice = `${text}  evaluation: { data: *sums, samples: zero }\n`;
    const result = read(twice);
    expect(result.ok || result.problems.map(({ field }) => field)).toEqual(["spec.evaluation.samples"]);
  });
});

it.each([
  [".inf", "Infinity"],
  ["-.inf", "-Infinity"],
  ["1e400", "Infinity"],
  [".nan", "NaN"],
])("shows %s, which JSON has no number for, as %s", (written, shown) => {
  const result = read(minimalRun().replace("seed: 7", `seed: ${written}`));
  expect(result.ok || result.problems.map(({ code, value }) => [code, value])).toEqual([
    ["WRONG_TYPE", shown],
  ]);
});

describe("--set", () => {
  it("types values by the schema, and finds list items by index and by name", () => {
    const { spec, metadata } = accepted(
      minimalRun(),
      "stages.1.grpo.steps=5",
      "spec.stages.learn.grpo.sampling.temperature=5e-1",
      "stages[0].name=first",
      "compute.libraryPath=017",
      "metadata.name=other",
      "stages.learn.grpo.clip={low: 0.1, high: 0.3}",
    ).run;
    expect(spec.stages[1]?.grpo?.steps).toBe(5);
    expect(spec.stages[1]?.grpo?.sampling?.temperature).toBe(0.5);
    expect(spec.stages[1]?.grpo?.clip).toEqual({ low: 0.1, high: 0.3 });
    expect(spec.stages[0]?.name).toBe("first");
    expect(spec.compute?.libraryPath).toBe("017");
    expect(metadata.name).toBe("other");
  });

  it("takes the block of a type as understood, wherever its fields are not those of the item itself", () => {
    const { spec } = accepted(
      minimalRun(),
      "stages.learn.steps=6",
      "stages.warm.steps=7",
      "stages.learn.sampling.topK=8",
      "stages.learn.data.name=copy-text",
      "stages.learn.name=again",
    ).run;
    expect(spec.stages.map(({ sft, grpo }) => sft?.steps ?? grpo?.steps)).toEqual([7, 6]);
    expect(spec.stages[1]?.grpo?.sampling).toEqual({ maxNewTokens: 8, topK: 8 });
    expect(spec.stages[1]?.grpo?.data.task?.name).toBe("copy-text");
    expect(spec.stages[1]?.name).toBe("again");
    // A block that the item's type does not have is not guessed.
    expect(codes(minimalRun(), "stages.warm.sampling.topK=8")).toContain("SET_PATH");
  });

  it("removes a field with null: a new model becomes one from files", () => {
    const { model } = accepted(minimalRun(), "model.init=null", "model.from=./folder").run.spec;
    expect(model).toEqual({ from: "./folder" });
  });

  it.each([
    ["steps", "SET_FORM"],
    ["sead=1", "SET_PATH"],
    ["stages.learn.grpo.steps.x=1", "SET_PATH"],
    ["stages.other.grpo.steps=1", "SET_PATH"],
    ["seed=one", "SET_VALUE"],
    ["seed=-1", "OUT_OF_RANGE"],
    ["seed=1e400", "WRONG_TYPE"],
    ["__proto__.polluted=1", "SET_PATH"],
  ])("refuses %s", (set, code) => {
    expect(codes(minimalRun(), set)).toContain(code);
    expect(Reflect.get({}, "polluted")).toBeUndefined();
  });

  it.each([
    ["steps", "has no '='"],
    ["=5", "names nothing before '='"],
  ])("says of %s what it lacks", (set, message) => {
    const result = read(minimalRun(), set);
    expect(result.ok || result.problems.map((problem) => problem.message)).toEqual([message]);
  });

  it.each([
    ["017", "17"],
    ["-00", "0"],
    ["+08", "8"],
  ])(
    "refuses a number like %s as a file's, with the spelling that every reader reads alike",
    (written, instead) => {
      const result = read(minimalRun(), `seed=${written}`);
      expect(result.ok || result.problems).toEqual([
        {
          code: "SET_VALUE",
          file: "--set",
          field: "seed",
          message: "is an octal number in YAML 1.1 and a decimal one in YAML 1.2",
          value: `"${written}"`,
          accepted: instead,
        },
      ]);
    },
  );
});

describe("hostile text", () => {
  it.each([
    [
      "a bomb of aliases",
      `a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [${"*a,".repeat(9)}]\nc: &c [${"*b,".repeat(9)}]\nd: [${"*c,".repeat(9)}]`,
      "ALIAS_BOMB",
    ],
    ["an endless bracket", "[".repeat(100_000), "TOO_DEEP"],
    ["a huge file", " ".repeat(MAX_FILE_BYTES + 1), "FILE_TOO_LARGE"],
    ["nothing", "", "EMPTY"],
    ["a comment", "# only\n", "EMPTY"],
    ["two documents", `${minimalRun()}---\n${minimalRun()}`, "SEVERAL_DOCUMENTS"],
    ["a duplicate key", `${minimalRun()}kind: TrainingRun\n`, "DUPLICATE_KEY"],
    ["an unknown alias", "a: *b", "ALIAS_UNKNOWN"],
    ["a tab as indentation", "a:\n\tb: 1\n", "YAML_SYNTAX"],
    ["a list", "- 1\n", "WRONG_TYPE"],
    ["a binary file", "\u0000\u0001\ufffd", "WRONG_TYPE"],
  ])("refuses %s", (_name, text, code) => {
    expect(codes(text)).toContain(code);
  });

  it("X1: never throws, whatever the text", () => {
    const refused = (text: string) => {
      expect(read(text).ok).toBe(false);
    };
    fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 200 }), refused));
  });

  it("X1: never throws on --set", () => {
    const answered = (key: string, value: string) => {
      expect(read(minimalRun(), `${key}=${value}`)).toHaveProperty("ok");
    };
    fc.assert(fc.property(fc.string({ maxLength: 40 }), fc.string({ maxLength: 20 }), answered));
  });
});

describe("scalars that YAML 1.1 and 1.2 read differently", () => {
  const inTemplate = (scalar: string) =>
    minimalRun().replace("seed: 7", `seed: 7\n  compute: { libraryPath: ${scalar} }`);

  it.each([
    "yes",
    "No",
    "on",
    "OFF",
    "y",
    "017",
    "0o17",
    "0b11",
    "1_000",
    "12:30",
    "1:02:03",
    "2026-11-24",
    "1_0.5",
  ])("refuses %s, accepts it quoted", (scalar) => {
    const result = read(inTemplate(scalar));
    const problem = result.ok ? undefined : result.problems.find(({ code }) => code === "AMBIGUOUS_SCALAR");
    expect(problem).toMatchObject({ field: "spec.compute.libraryPath", line: 6, value: scalar });
    expect(problem?.accepted).toContain(`"${scalar}"`);
    expect(accepted(inTemplate(`"${scalar}"`)).run.spec.compute?.libraryPath).toBe(scalar);
  });

  it.each(["no-op", "yes.txt", "./017", "1_a", "12:99:ab", "10", "a:b"])(
    "accepts %s where both read it alike",
    (scalar) => {
      const numeric = /^\d+$/.test(scalar);
      expect(codes(inTemplate(scalar))).toEqual(numeric ? ["WRONG_TYPE"] : []);
    },
  );
});
