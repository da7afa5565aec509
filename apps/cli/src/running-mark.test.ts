/** A run folder has one run at a time, whatever its processes died of. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { markRunning, RUNNING_FOLDER } from "./running-mark.ts";

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "oarlock-mark-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** As a process leaves it that does not end in order. */
function writeMark(folder: string, text: string): void {
  mkdirSync(join(folder, RUNNING_FOLDER), { recursive: true });
  writeFileSync(join(folder, RUNNING_FOLDER, "0.json"), text);
}

test("a folder in which a process is at work is refused, one of a process that died is taken over", async () => {
  const folder = temporaryFolder();
  const path = join(folder, RUNNING_FOLDER);
  const other = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);
  const mark = (pid: number, host = hostname()) => writeMark(folder, JSON.stringify({ pid, host }));
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
  writeMark(folder, '{"pid":');
  await using _held = await markRunning(folder);
  const [name = ""] = readdirSync(join(folder, RUNNING_FOLDER));
  expect(readFileSync(join(folder, RUNNING_FOLDER, name), "utf8")).toContain(`"pid":${process.pid},`);
});

test("who ends removes its own mark, not that of one who took over", async () => {
  const folder = temporaryFolder();
  const first = await markRunning(folder);
  // Of the same process id, as where a container begins anew.
  const second = await markRunning(folder);
  await first[Symbol.asyncDispose]();
  expect(readdirSync(join(folder, RUNNING_FOLDER))).toHaveLength(1);
  await second[Symbol.asyncDispose]();
  expect(readdirSync(folder)).toEqual([]);
});

test("of several that wait for a process to die, one takes its mark over", async () => {
  const folder = temporaryFolder();
  const dying = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);
  writeMark(folder, JSON.stringify({ pid: dying.pid, host: hostname() }));
  const program = `import { markRunning } from ${JSON.stringify(new URL("running-mark.ts", import.meta.url).href)};
process.stdin.resume();
console.log("waits");
console.log(await markRunning(${JSON.stringify(folder)}).then(() => "held", ({ code }) => code));`;
  const node = ["--conditions=@oarlock/source", "--import", "tsx", "--input-type=module", "-e", program];
  const others = [1, 2, 3].map(() => {
    const child = spawn(process.execPath, node, { stdio: ["pipe", "pipe", "inherit"] });
    onTestFinished(() => void child.kill("SIGKILL"));
    return child.stdout.setEncoding("utf8");
  });
  const next = async (): Promise<string[]> =>
    (await Promise.all(others.map((output) => once(output, "data")))).map(([line]) => String(line).trim());
  expect(await next()).toEqual(["waits", "waits", "waits"]);
  await sleep(200);
  dying.kill("SIGKILL");
  expect((await next()).toSorted()).toEqual(["RUN_FOLDER_BUSY", "RUN_FOLDER_BUSY", "held"]);
}, 30_000);
