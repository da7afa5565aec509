/**
 * The same GRPO step on TRL and in a hand-written PyTorch loop, timed in this very sitting. Needs a Python with torch,
 * transformers, trl and datasets: `OARLOCK_PYTHON` names it (default `python3`).
 */
import { spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export interface PeerResult {
  readonly peer: string;
  readonly step_seconds: number;
  readonly tokens_per_second?: number;
}

/** What a peer measured, or the reason why it could not. */
export type PeerOutcome = PeerResult | { readonly absent: string };

const scripts = { trl: "trl_grpo.py", pytorch: "pytorch_grpo.py" } as const;
const needs = { trl: "torch, transformers, trl, datasets", pytorch: "torch, transformers" } as const;

export interface PeerJob {
  /** Hugging Face folder of the policy. */
  readonly model: string;
  /** Story text that the prompts are cut from. */
  readonly text: string;
  readonly steps: number;
}

export function runPeer(which: keyof typeof scripts, job: PeerJob): PeerOutcome {
  const python = process.env["OARLOCK_PYTHON"] ?? "python3";
  const modules = needs[which];
  if (spawnSync(python, ["-c", `import ${modules}`], { stdio: "ignore" }).status !== 0) {
    return { absent: `${python} lacks ${modules}: pip install them, or set OARLOCK_PYTHON` };
  }
  const script = join(dirname(fileURLToPath(import.meta.url)), "peers", scripts[which]);
  const run = spawnSync(python, [script, job.model, job.text, String(job.steps)], {
    encoding: "utf8",
    maxBuffer: 64 << 20,
  });
  const last = run.stdout.trim().split("\n").at(-1) ?? "";
  if (run.status !== 0 || !last.startsWith("{"))
    return { absent: `${script} failed: ${run.stderr.trim().split("\n").at(-1)}` };
  return JSON.parse(last) as PeerResult; // the script's last line is one such object
}
