import { defineConfig } from "vitest/config";

const source = { conditions: ["@oarlock/source"] };
const project = (name: string, include: string[], testTimeout: number, exclude: string[] = []) => ({
  resolve: source,
  ssr: { resolve: source },
  test: { name, include, exclude, testTimeout, hookTimeout: testTimeout },
});

/** Beside the code of a driver, against a real server. */
const WITH_SERVER = "packages/*/src/**/*.server.test.ts";

/** Builds images and runs a node: after everything else, with the machine to itself. */
const alone = (of: ReturnType<typeof project>) => ({
  ...of,
  test: { ...of.test, fileParallelism: false, sequence: { groupOrder: 3 } },
});

/** Whole runs of which nobody measures how fast they are. */
const RUNS = "tests/integration/{rlhf-run,guarded-run,process-rewards,ensemble-run,other-plan}.test.ts";

/** Has patience (for pods, probes, grace periods, other processes): two files at a time, after those that measure. */
const waiting = (of: ReturnType<typeof project>) => ({
  ...of,
  test: { ...of.test, maxWorkers: 2, sequence: { groupOrder: 1 } },
});

const disturbed = (of: ReturnType<typeof project>) => ({
  ...of,
  test: {
    ...of.test,
    globalSetup: ["tests/chaos/calm.setup.ts"],
    fileParallelism: false,
    // After everything else: others measure how fast something answers.
    sequence: { groupOrder: 2 },
  },
});

/** Files of one worker share their modules: loading them anew for each file took as long as the tests themselves. */
const together = (of: ReturnType<typeof project>) => ({ ...of, test: { ...of.test, isolate: false } });

/**
 * unit: beside the code, no build needed, seconds; those beside it that wait for a real server (`*.server.test.ts`) are
 * integration's. The others cross packages and run built workers
 * (`npm run build` first): conformance (two implementations of one contract), integration, runs, kube (a real control plane),
 * e2e (whole runs), node (images as pods of a real node), chaos (runs on real processes that are killed; one at a time, since each of them is five processes).
 */
export default defineConfig({
  test: {
    projects: [
      together(project("unit", ["{packages,services,apps}/*/src/**/*.test.ts"], 30_000, [WITH_SERVER])),
      project("conformance", ["tests/conformance/**/*.test.ts"], 120_000),
      project("integration", ["tests/integration/**/*.test.ts", WITH_SERVER], 180_000, [RUNS]),
      waiting(project("runs", [RUNS], 360_000)),
      waiting(project("kube", ["tests/kube/**/*.test.ts"], 180_000)),
      waiting(project("e2e", ["tests/e2e/**/*.test.ts"], 900_000)),
      alone(project("node", ["tests/node/**/*.test.ts"], 180_000)),
      disturbed(project("chaos", ["tests/chaos/**/*.test.ts"], 180_000)),
    ],
  },
});
