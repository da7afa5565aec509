/** `processes.json` of a run folder: who is who in a run of several processes. Written whole, and only by the supervisor. */
import { renameSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { TlsFiles } from "../config.ts";
import type { ChildFacts } from "./child.ts";

export interface ProcessesFile {
  readonly uid: string;
  readonly broker: { readonly servers: string; readonly pid?: number };
  /** The services' PEM files, where they speak TLS: who asks them shows the same. */
  readonly tls: TlsFiles;
  readonly children: readonly ChildFacts[];
}

const FILE = "processes.json";

/** Undefined where the folder's run is none of several processes. */
export async function readProcesses(folder: string): Promise<ProcessesFile | undefined> {
  const text = await readFile(join(folder, FILE), "utf8").catch(() => undefined);
  return text === undefined ? undefined : (JSON.parse(text) as ProcessesFile);
}

export function writeProcesses(folder: string, file: ProcessesFile): void {
  const path = join(folder, FILE);
  writeFileSync(`${path}.tmp`, `${JSON.stringify(file, undefined, 2)}\n`);
  renameSync(`${path}.tmp`, path);
}
