/** The cluster that a plugin command speaks to: kubectl's own flags, its client, and kubectl itself for what that does best. */
import { spawn } from "node:child_process";
import { createInterface, type Interface } from "node:readline";
import type { Readable } from "node:stream";
import { OarlockError } from "@oarlock/errors";
import {
  type Condition,
  connect,
  createHttpClient,
  type KubeClient,
  type KubeObject,
  type Resource,
} from "@oarlock/kube";
import type { RunSpec } from "@oarlock/runfile";

/** kubectl's flags, as every command of the plugin takes them. */
export interface ClusterFlags {
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly namespace?: string;
}

export const TRAINING_RUNS: Resource = {
  apiVersion: "oarlock.dev/v1alpha1",
  kind: "TrainingRun",
  plural: "trainingruns",
};

export interface TrainingRun extends KubeObject {
  readonly spec: RunSpec;
  readonly status?: {
    readonly conditions?: readonly Condition[];
    readonly progress?: { readonly stage?: string; readonly step?: number; readonly totalSteps?: number };
    readonly checkpoint?: { readonly step?: number; readonly request?: string };
    readonly roles?: readonly {
      readonly name: string;
      readonly desired?: number;
      readonly ready?: number;
      readonly usefulMaximum?: number;
    }[];
  };
}

export interface LineReader {
  readonly onLine: (line: string) => void;
  /** Aborted once nobody reads what is printed. */
  readonly unread: AbortSignal;
}

export interface Cluster {
  readonly client: KubeClient;
  readonly namespace: string;
  /** Runs kubectl in the same place; its output is the user's. Gives the exit code. */
  kubectl(args: readonly string[]): Promise<number>;
  /** Runs kubectl and hands on each line of its standard output as it comes. Gives the exit code: 0 where it ends unread. */
  kubectlLines(args: readonly string[], to: LineReader): Promise<number>;
  /** Runs kubectl and gives what it wrote to standard output. */
  kubectlOutput(args: readonly string[]): Promise<string>;
  close(): void;
}

/** Reads the configuration; sends nothing. */
export function openCluster(flags: ClusterFlags): Cluster {
  const { kubeconfig, context, namespace } = flags;
  const connection = connect({ ...(kubeconfig && { kubeconfig }), ...(context && { context }) });
  const place = namespace ?? connection.namespace;
  const own = [
    ...(kubeconfig === undefined ? [] : ["--kubeconfig", kubeconfig]),
    ...(context === undefined ? [] : ["--context", context]),
    "--namespace",
    place,
  ];
  return {
    client: createHttpClient(connection),
    namespace: place,
    kubectl: (args) => run([...own, ...args]),
    kubectlLines: (args, { onLine, unread }) =>
      run([...own, ...args], { unread, read: (output) => linesOf(output).on("line", onLine) }),
    async kubectlOutput(args) {
      const chunks: Buffer[] = [];
      const read = (output: Readable) => output.on("data", (chunk: Buffer) => chunks.push(chunk));
      const code = await run([...own, ...args], { read });
      if (code === 0) return Buffer.concat(chunks).toString();
      throw new OarlockError("KUBECTL_FAILED", `kubectl ${args.join(" ")} ended with code ${code}`);
    },
    close: () => connection.close(),
  };
}

/** Without `read` its output is the user's. Gives the exit code; a reader that left is no failure. */
function run(
  args: readonly string[],
  { read, unread }: { readonly read?: (output: Readable) => void; readonly unread?: AbortSignal } = {},
): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn("kubectl", args, {
      stdio: ["ignore", read === undefined ? "inherit" : "pipe", "inherit"],
    });
    const stop = (): void => void child.kill();
    if (unread?.aborted === true) stop();
    unread?.addEventListener("abort", stop, { once: true });
    if (child.stdout !== null) read?.(child.stdout);
    child.on("error", (cause) =>
      reject(
        new OarlockError("KUBECTL_MISSING", "kubectl cannot be started; it must be on the PATH", { cause }),
      ),
    );
    child.on("close", (code, signal) => {
      unread?.removeEventListener("abort", stop);
      resolve(unread?.aborted === true || signal === "SIGPIPE" ? 0 : (code ?? 1));
    });
  });
}

const linesOf = (input: Readable): Interface =>
  createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY });

/** The run of that name. @throws OarlockError `RUN_MISSING`. */
export async function runNamed({ client, namespace }: Cluster, name: string): Promise<TrainingRun> {
  const run = await client.get<TrainingRun>(TRAINING_RUNS, { namespace, name });
  if (run !== undefined) return run;
  throw new OarlockError(
    "RUN_MISSING",
    `no TrainingRun ${name} in namespace ${namespace}; \`kubectl get trun -A\` lists all`,
  );
}
