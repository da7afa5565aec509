/**
 * A Vulkan driver for WebGPU on a machine without a card: the one that the environment names, else SwiftShader out of Debian's
 * chromium-common, unpacked into a cache folder. Right for numbers, worthless for speed. The loader, libvulkan1, must be installed.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { OarlockError } from "@oarlock/errors";
import { inheritedEnvironment, requiredKinds } from "./config.ts";
import { keptInCache } from "./programs.ts";
import type { WantedFile } from "./require-file.ts";

const LOADER = "/usr/lib/x86_64-linux-gnu/libvulkan.so.1";
const PACKAGE = "chromium-common";
const DRIVER = "usr/lib/chromium/vk_swiftshader_icd.json";
const FETCH_TIMEOUT_MS = 120_000;

/** The driver's file, for `VK_ICD_FILENAMES`. Throws `TESTKIT_VULKAN_ABSENT` where there is none and `OARLOCK_REQUIRE` has vulkan. */
export function requireSoftwareVulkan(required: ReadonlySet<string> = requiredKinds()): WantedFile {
  const path = inheritedEnvironment()["VK_ICD_FILENAMES"] ?? fromDebian();
  if (path !== undefined && existsSync(LOADER)) return { path, exists: true, absent: false, note: "" };
  const where = `no libvulkan1, or no driver in VK_ICD_FILENAMES or Debian's ${PACKAGE}`;
  if (required.has("vulkan")) throw new OarlockError("TESTKIT_VULKAN_ABSENT", where);
  return { path: "", exists: false, absent: true, note: ` (skipped: ${where})` };
}

function fromDebian(): string | undefined {
  if (!existsSync(LOADER)) return undefined; // nothing would load it
  try {
    const folder = keptInCache("swiftshader", (aside) => {
      execFileSync("apt-get", ["download", "-qq", PACKAGE], {
        cwd: aside,
        stdio: "ignore",
        timeout: FETCH_TIMEOUT_MS,
      });
      for (const archive of readdirSync(aside)) {
        execFileSync("dpkg-deb", ["--extract", join(aside, archive), aside], { stdio: "ignore" });
        rmSync(join(aside, archive));
      }
    });
    const driver = join(folder, DRIVER);
    return existsSync(driver) ? driver : undefined;
  } catch {
    return undefined; // no apt, or no network: the caller says what is missing
  }
}
