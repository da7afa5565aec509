import { expect, test } from "vitest";
import { nvidiaVersion, probeDevice } from "./device.ts";

test("names the processor, its instruction set and the engine", async () => {
  const { device, fingerprint } = await probeDevice({});
  expect(device).toEqual({
    provider: "cpu",
    device: expect.stringContaining(fingerprint.instructionSet),
    driver: `ONNX Runtime ${fingerprint.version} (${fingerprint.driver})`,
  });
});

test("refuses a provider without a device", async () => {
  await expect(
    probeDevice({ driver: "native", provider: "cuda", cudaLibraries: "/nowhere" }),
  ).rejects.toThrow(/ORT_PROVIDER_MISSING.*provider 'cuda' cannot be used here/);
});

test.each([
  [
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023\nGCC version: gcc 11.4",
    "535.129.03",
  ],
  [
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (dvs-builder)",
    "580.65.06",
  ],
  ["", undefined],
])("reads the version of NVIDIA's kernel module: %s", (text, version) => {
  expect(nvidiaVersion(text)).toBe(version);
});
