/** Bundles of reward files: what npm packages and users' files take for granted about the place that they lie in. */
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { temporaryFolder } from "@oarlock/testkit";
import { expect, test } from "vitest";
import { bundleReward } from "@oarlock/sandbox";

/** What a bundled reward returns in a plain Node: a test's own modules have what CommonJS gives. */
async function rewardOf(reward: string): Promise<unknown> {
  const folder = temporaryFolder("bundle");
  const installed = join(folder, "node_modules", "places");
  mkdirSync(installed, { recursive: true });
  writeFileSync(
    join(installed, "index.js"),
    `const table = require("path").join(__dirname, "table.json");
exports.places = () => [__dirname, __filename, table].every((place) => place.startsWith("/") || place.includes(":"));`,
  );
  writeFileSync(join(folder, "reward.ts"), reward);
  const { code } = await bundleReward(join(folder, "reward.ts"));
  writeFileSync(join(folder, "bundle.mjs"), code);
  const main = join(folder, "main.mjs");
  writeFileSync(main, 'import { reward } from "./bundle.mjs"; console.log(JSON.stringify(reward()));');
  return JSON.parse(execFileSync(process.execPath, [main], { encoding: "utf8", stdio: "pipe" }));
}

test("a CommonJS package may ask where it lies", async () => {
  const reward = `import { places } from "places";
export const reward = () => Number(places());`;
  expect(await rewardOf(reward)).toBe(1);
});

test("a file that says for itself what CommonJS gives has its own", async () => {
  const reward = `import { createRequire } from "node:module";
import { places } from "places";
const require = createRequire(import.meta.url);
const [__dirname, __filename] = ["here", "this"];
export const reward = () => [__dirname, __filename, require("node:path").sep.length, places()];`;
  expect(await rewardOf(reward)).toEqual(["here", "this", 1, true]);
});
