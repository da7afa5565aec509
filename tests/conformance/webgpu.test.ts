/**
 * The compute core on another provider than the processor's, where a machine has no card: WebGPU on a software Vulkan driver. It found
 * that WebGPU leaves 1/rms of SimplifiedLayerNormalization unwritten, so that a run trained towards nothing without a word.
 */
import { execFile } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { repositoryRoot, requireSoftwareVulkan } from "@oarlock/testkit";
import { expect, test } from "vitest";

const driver = requireSoftwareVulkan();
const vitest = join(dirname(createRequire(import.meta.url).resolve("vitest/package.json")), "vitest.mjs");

test.skipIf(driver.absent)(
  `drivers, operators, gradients and AdamW hold on WebGPU too${driver.note}`,
  async () => {
    const files = ["ort-drivers", "onnx-operators", "llama-pytorch"].map(
      (name) => `tests/conformance/${name}.test.ts`,
    );
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [vitest, "run", "--no-color", "--project", "conformance", ...files],
      {
        cwd: repositoryRoot(),
        // The loader reads its variable when the process starts.
        env: { ...process.env, OARLOCK_TEST_PROVIDER: "webgpu", VK_ICD_FILENAMES: driver.path },
      },
    );
    expect(stdout).toMatch(/Tests {2}\d+ passed/);
    expect(stdout).not.toMatch(/failed/);
  },
);
