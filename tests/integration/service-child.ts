/** Services as their own programs start them, for tests that play the supervisor themselves. */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { onTestFinished } from "vitest";

/** A service started by its own program, without a supervisor. */
export interface Service {
  readonly child: ChildProcess;
  readonly log: string[];
  readonly lines: string[];
  address(): string | undefined;
  readonly exit: Promise<number | null>;
}

/** Starts a service with these settings alone; it is killed when the test ends. */
export function service(role: string, environment: Readonly<Record<string, string>>): Service {
  const bin = createRequire(import.meta.url).resolve(`@oarlock/${role}/bin`);
  const child = spawn(process.execPath, [bin], {
    env: { PATH: process.env["PATH"], OARLOCK_INSTANCE: `${role}-0`, ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const [log, lines]: [string[], string[]] = [[], []];
  createInterface({ input: child.stderr }).on("line", (line) => log.push(line));
  createInterface({ input: child.stdout }).on("line", (line) => lines.push(line));
  const exit = new Promise<number | null>((resolve) => void child.once("close", resolve));
  const started = (): string | undefined => log.find((line) => line.includes('"message":"started"'));
  const address = (): string | undefined => /"address":"([^"]+)"/.exec(started() ?? "")?.[1];
  return { child, log, lines, address, exit };
}
