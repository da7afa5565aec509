/**
 * A real node for a test: the machine of `machine.sh`, and a control plane in its network.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type ControlPlane, eventually, repositoryRoot, startControlPlane } from "@oarlock/testkit";
import type { NodeNeeds } from "./needs.ts";

const ADDRESS = "10.99.0.1";

export interface Machine extends AsyncDisposable {
  readonly plane: ControlPlane;
  /** Runs a command in all namespaces of the machine; gives what it prints. */
  run(...command: readonly string[]): Promise<string>;
  /** The end of a log of the node: kubelet, containerd, kube-proxy, images. */
  log(name: string): string;
}

/** Starts it in `folder`, with the images of `folder/images`; the node is ready when this resolves. */
export async function startMachine(needs: NodeNeeds, folder: string): Promise<Machine> {
  mkdirSync(join(folder, "images"), { recursive: true });
  const script = join(repositoryRoot(), "tests/node/machine.sh");
  const child = spawn("bash", [script, folder, needs.programs], { stdio: ["pipe", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (data: Buffer) => void (output = (output + data.toString()).slice(-10_000)));
  const log = (name: string): string => {
    const path = join(folder, "log", `${name}.log`);
    return existsSync(path) ? readFileSync(path, "utf8").slice(-3_000) : "";
  };
  const detail = (): string => `\n${output}\n${log("containerd")}\n${log("images")}\n${log("kubelet")}`;
  try {
    const pid = await eventually(
      "the machine's first process and its images",
      () =>
        existsSync(join(folder, "images-ready"))
          ? readFileSync(join(folder, "pid"), "utf8").trim()
          : undefined,
      { timeoutMs: 120_000, detail },
    );
    // Its network and mounts are enough for the control plane: then signals reach it directly.
    const enter = ["nsenter", "--target", pid, "--net", "--mount", "--"] as const;
    const plane = await startControlPlane({ controllers: true, place: { enter, address: ADDRESS } });
    writeFileSync(join(folder, "kubeconfig"), readFileSync(plane.kubeconfig()));
    await eventually(
      "the node to be ready",
      async () => {
        const args = ["wait", "--for=condition=Ready", "node/node1", "--timeout=1s"];
        return (await plane.kubectl(args)).code === 0 ? true : undefined;
      },
      { timeoutMs: 120_000, everyMs: 500, detail },
    );
    return {
      plane,
      log,
      run: (...command) => capture("nsenter", ["--target", pid, "--all", "--", ...command]),
      async [Symbol.asyncDispose]() {
        await end(child);
        await plane[Symbol.asyncDispose]();
      },
    };
  } catch (reason) {
    await end(child);
    throw reason;
  }
}

function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return Promise.resolve();
  return new Promise((done) => {
    child.once("exit", () => done());
    child.stdin?.end();
  });
}

function capture(program: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (data: Buffer) => void (output += data.toString()));
    child.once("error", reject);
    child.once("exit", (code) => {
      if (code === 0) resolve(output);
      else reject(new Error(`${args.join(" ")} exited with ${code}: ${output}`));
    });
  });
}
