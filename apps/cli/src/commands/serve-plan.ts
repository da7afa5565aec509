/**
 * `oarlock serve-plan FOLDER`, for the controller: in a pod that mounts what a run reads, plans the run of the environment and
 * serves what `plan` said, until the process is told to end; what may pass, such as a hub that is busy, is tried again meanwhile.
 */
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Command } from "commander";
import { OarlockError } from "@oarlock/errors";
import { createSettingsReader, processEnvironment } from "@oarlock/runtime";
import type { CommandContext } from "../context.ts";
import { EXIT } from "../exit-codes.ts";

const MAX_PORT = 65_535;
const AGAIN_MS = 10_000;
const MAX_PLAN_BYTES = 16 * 1024 * 1024;

/** What the command line said and how it ended. */
interface Execution {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export function servePlanCommand({ terminal }: CommandContext): Command {
  return new Command("serve-plan")
    .description("Plan the run of OARLOCK_RUN beside what it reads, and serve the outcome over HTTP.")
    .argument("<folder>", "folder of what the run reads")
    .action(async (folder: string) => {
      const settings = createSettingsReader(processEnvironment());
      const document = settings.text("OARLOCK_RUN");
      if (document === undefined)
        throw new OarlockError(
          "SETTING_MISSING",
          "environment variable OARLOCK_RUN is not set; accepted: a run file as JSON",
        );
      const host = settings.text("OARLOCK_HOST", "127.0.0.1");
      const port = settings.integer("OARLOCK_PORT", { min: 0, max: MAX_PORT, fallback: 0 });
      const file = join(folder, "run.json");
      await writeFile(file, document);
      const outcome = { answer: "" };
      const look = async (): Promise<boolean> => {
        const execution = await plan(file);
        terminal.note(`the plan of ${file} ended with code ${execution.code}`);
        outcome.answer = JSON.stringify(execution);
        return execution.code !== EXIT.notYet;
      };
      const stop = new AbortController();
      const again = (await look()) ? undefined : repeatUntil(look, stop.signal);
      await serveUntilTold(outcome, { host, port });
      stop.abort();
      await again;
    });
}

/** Looks again at what was not there, or not then, while the last answer is served. */
async function repeatUntil(look: () => Promise<boolean>, signal: AbortSignal): Promise<void> {
  try {
    do await sleep(AGAIN_MS, undefined, { signal });
    while (!(await look()));
  } catch (reason) {
    if (!signal.aborted) throw reason;
  }
}

/** In a process of its own, as the controller itself has plans made: one way to read what it says. */
function plan(file: string): Promise<Execution> {
  const [, program = ""] = process.argv;
  const args = [program, "plan", "--elsewhere", "--json", file];
  return new Promise((resolve, reject) => {
    execFile(process.execPath, args, { maxBuffer: MAX_PLAN_BYTES }, (error, stdout, stderr) => {
      if (error !== null && typeof error.code !== "number") reject(error);
      else resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

async function serveUntilTold(
  outcome: { readonly answer: string },
  { host, port }: { readonly host: string; readonly port: number },
): Promise<void> {
  const server = createServer((_, response) => {
    response.writeHead(200, { "content-type": "application/json" }).end(outcome.answer);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, resolve);
  });
  await new Promise<void>((resolve) =>
    process.once("SIGTERM", () => resolve()).once("SIGINT", () => resolve()),
  );
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}
