/** Who is at work: not the dead whose parent sleeps. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { expect, onTestFinished, test, vi } from "vitest";
import { isAlive } from "./is-alive.ts";

test("a process is alive until it is dead, also where nobody has asked what of", async () => {
  const parent = spawn("sh", ["-c", "sleep 600 & echo $!; wait"], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  onTestFinished(() => void parent.kill("SIGKILL"));
  const [printed] = (await once(parent.stdout, "data")) as [Buffer]; // what a stream gives
  const pid = Number(printed.toString());
  expect(await isAlive(pid)).toBe(true);
  // Who stands still does not ask.
  parent.kill("SIGSTOP");
  process.kill(pid, "SIGKILL");
  if (existsSync("/proc/self/stat")) await expect.poll(() => isAlive(pid)).toBe(false);
  expect(() => process.kill(pid, 0)).not.toThrow();
});

test("what is no process id is nobody", async () => {
  expect(await Promise.all([0, -1, Number.NaN, 2 ** 40].map(isAlive))).toEqual([false, false, false, false]);
  expect(await isAlive(process.pid)).toBe(true);
});

test("a process that may not be asked is another user's, and alive", async () => {
  const kill = vi.spyOn(process, "kill").mockImplementation(() => {
    throw Object.assign(new Error("kill EPERM"), { code: "EPERM" });
  });
  onTestFinished(() => kill.mockRestore());
  expect(await isAlive(1)).toBe(true);
});
