import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { temporaryFolder } from "@oarlock/testkit";
import { describe, expect, it } from "vitest";
import { Child, parseLine } from "./child.ts";

describe("a child's lines", () => {
  it("are objects, or nothing of ours: half of one from a process that was killed, too", () => {
    expect(parseLine('{"type":"step","globalStep":3}')).toEqual({ type: "step", globalStep: 3 });
    expect(["", "warning: x", '{"type":"step","glob'].map(parseLine)).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });

  it.runIf(existsSync("/dev/full"))("are lost where the disk is full, and nothing else is", async () => {
    const program = join(temporaryFolder("child"), "program.cjs");
    writeFileSync(program, `for (let i = 0; i < 99; i++) console.error("{}"); console.log("done");`);
    const lines: string[] = [];
    const child = new Child({
      role: "learner",
      instance: "learner-0",
      program,
      environment: process.env,
      logPath: "/dev/full",
      onLine: (line) => lines.push(line),
      onChange: () => undefined,
    });
    await child.over;
    expect(lines).toEqual(["done"]);
  });
});
