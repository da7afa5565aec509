/** A run folder has one run at a time, whatever its processes died of. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { temporaryFolder } from "@oarlock/testkit";
import { expect, test } from "vitest";
import { markRunning, RUNNING_FILE } from "./running-mark.ts";

test("a folder in which a process is at work is refused, one of a process that died is taken over", async () => {
  const folder = temporaryFolder("mark");
  const path = join(folder, RUNNING_FILE);
  const other = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);
  const mark = (pid: number, host = hostname()) => writeFileSync(path, JSON.stringify({ pid, host }));
  mark(other.pid ?? 0);
  await expect(markRunning(folder)).rejects.toThrow(`process ${other.pid} is running in ${folder}`);
  other.kill("SIGKILL");
  await once(other, "exit");
  {
    await using _held = await markRunning(folder);
    expect(existsSync(path)).toBe(true);
  }
  expect(existsSync(path)).toBe(false);
  mark(process.ppid, "another-machine");
  await using _held = await markRunning(folder);
});

test("a mark cut off in mid-word holds nobody up", async () => {
  const folder = temporaryFolder("mark");
  writeFileSync(join(folder, RUNNING_FILE), '{"pid":');
  await using _held = await markRunning(folder);
  expect(readFileSync(join(folder, RUNNING_FILE), "utf8")).toContain(`"pid":${process.pid},`);
});
