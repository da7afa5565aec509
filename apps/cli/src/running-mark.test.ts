/** A run folder has one run at a time, whatever its processes died of. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { markRunning, RUNNING_FILE } from "./running-mark.ts";

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "oarlock-mark-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

test("a folder in which a process is at work is refused, one of a process that died is taken over", async () => {
  const folder = temporaryFolder();
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
  const folder = temporaryFolder();
  writeFileSync(join(folder, RUNNING_FILE), '{"pid":');
  await using _held = await markRunning(folder);
  expect(readFileSync(join(folder, RUNNING_FILE), "utf8")).toContain(`"pid":${process.pid},`);
});
