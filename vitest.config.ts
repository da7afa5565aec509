import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

const source = { conditions: ["@oarlock/source"] };
/** Two files at a time: each waits for threads and processes of its own now and then. */
const project = (name: string, include: string[], testTimeout: number, exclude: string[] = []) => ({
  resolve: source,
  ssr: { resolve: source },
  test: { name, include, exclude, testTimeout, hookTimeout: testTimeout, maxWorkers: 2 },
});

/** Beside the code of a driver, against a real server. */
const WITH_SERVER = "packages/*/src/**/*.server.test.ts";

/** Whole runs of which nobody measures how fast they are. */
const RUNS = "tests/integration/{rlhf-run,guarded-run,process-rewards,ensemble-run,other-plan}.test.ts";

/** Has patience (for pods, probes, grace periods, other processes): after those that look at how fast something answers. */
const patient = (of: ReturnType<typeof project>) => ({
  ...of,
  test: { ...of.test, sequence: { groupOrder: 1 } },
});

/** Kills processes at moments of their work: after everything else. */
const disturbed = (of: ReturnType<typeof project>) => ({
  ...of,
  test: {
    ...of.test,
    globalSetup: ["tests/chaos/calm.setup.ts"],
    sequence: { groupOrder: 2 },
  },
});

/** Files that take minutes, the longest first. */
const LONG = [
  "tests/node/addition",
  "tests/kube/addition",
  "tests/kube/submit",
  "tests/kube/security",
  "tests/integration/rlhf-run",
  "tests/chaos/learner-dies",
];

/** Has the long files begin before the others of their group, so that none runs alone at its end. */
class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const order = (spec: TestSpecification): number => spec.project.config.sequence.groupOrder;
    const rank = ({ moduleId }: TestSpecification): number => {
      const at = LONG.findIndex((name) => moduleId.includes(name));
      return at < 0 ? LONG.length : at;
    };
    return (await super.sort(files)).toSorted((a, b) => order(a) - order(b) || rank(a) - rank(b));
  }
}

/** Files of one worker share their modules: loading them anew for each file took as long as the tests themselves. */
const together = (of: ReturnType<typeof project>) => ({ ...of, test: { ...of.test, isolate: false } });

/**
 * unit: beside the code, no build needed, seconds; those beside it that wait for a real server (`*.server.test.ts`) are
 * integration's. The others cross packages and run built workers
 * (`npm run build` first): conformance (two implementations of one contract), integration, runs, kube (a real control plane),
 * e2e (whole runs), node (images as pods of a real node), chaos (runs on real processes that are killed).
 */
export default defineConfig({
  test: {
    sequence: { sequencer: LongFirst },
    projects: [
      together(
        project("unit", ["{proto,{packages,services,apps}/*}/src/**/*.test.ts"], 30_000, [WITH_SERVER]),
      ),
      project("conformance", ["tests/conformance/**/*.test.ts"], 120_000),
      project("integration", ["tests/integration/**/*.test.ts", WITH_SERVER], 180_000, [RUNS]),
      patient(project("runs", [RUNS], 360_000)),
      patient(project("kube", ["tests/kube/**/*.test.ts"], 180_000)),
      patient(project("e2e", ["tests/e2e/**/*.test.ts"], 900_000)),
      patient(project("node", ["tests/node/**/*.test.ts"], 180_000)),
      disturbed(project("chaos", ["tests/chaos/**/*.test.ts"], 180_000)),
    ],
  },
});
