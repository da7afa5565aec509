import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  compareArrays,
  repositoryRoot,
  requiredKinds,
  requireFile,
  suiteFolder,
  temporaryFolder,
} from "./index.ts";

describe("requireFile", () => {
  it("finds a file of the repository", () => {
    const file = requireFile("models", "package-lock.json");
    expect(file).toMatchObject({ exists: true, absent: false, note: "" });
    expect(file.path).toBe(join(repositoryRoot(), "package-lock.json"));
  });

  it("marks an absent file and says which", () => {
    const file = requireFile("models", "no/such/file", { required: new Set(["data"]) });
    expect(file).toMatchObject({ absent: true, note: " (skipped: no/such/file is absent)" });
  });

  it("throws where the environment demands the kind", () => {
    const required = requiredKinds({ OARLOCK_REQUIRE: "data, models,,nats" });
    expect([...required]).toEqual(["data", "models", "nats"]);
    expect(() => requireFile("models", "no/such/file", { required })).toThrow(
      /TESTKIT_FILE_ABSENT.*no\/such\/file.*"models"/,
    );
  });
});

describe("temporaryFolder", () => {
  let before = "";
  it("gives a folder of its own", () => {
    before = temporaryFolder("kit");
    writeFileSync(join(before, "x"), "x");
    expect(temporaryFolder("kit")).not.toBe(before);
  });
  it("removes it when the test is over", () => {
    expect(before).not.toBe("");
    expect(existsSync(before)).toBe(false);
  });
});

describe("suiteFolder", () => {
  let [whileCollected, folder] = [true, ""];
  describe("of a suite", () => {
    folder = suiteFolder("kit");
    whileCollected = existsSync(folder);
    it("is there once its tests run", () => {
      writeFileSync(join(folder, "x"), "x");
      expect(whileCollected).toBe(false);
    });
    it("is shared by them", () => expect(existsSync(join(folder, "x"))).toBe(true));
  });
  it("is gone after them", () => {
    expect(folder).not.toBe("");
    expect(existsSync(folder)).toBe(false);
  });
});

describe("toBeAllclose", () => {
  it("accepts within tolerance and refuses beyond", () => {
    expect([1, 100]).toBeAllclose([1.0000001, 100.0001]);
    expect([1]).not.toBeAllclose([1.1]);
    expect(Float32Array.of(1)).toBeAllclose([1.1], { absolute: 0.2 });
    expect([Number.NaN, Infinity]).toBeAllclose([Number.NaN, Infinity]);
    expect([Number.NaN]).not.toBeAllclose([0], { absolute: Infinity });
    expect([1]).not.toBeAllclose([1, 2]);
    expect("text").not.toBeAllclose([1]);
  });
  it("names the worst element", () => {
    expect(compareArrays([0, 1, 9], [0, 2, 3]).message).toMatch(/2 of 3 .* worst at 2: 9 instead of 3/);
  });
});
