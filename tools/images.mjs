/**
 * `npm run images`: builds the images with `docker buildx`, and brings them where a cluster finds them.
 *
 *     npm run images -- --push registry.example.com/team   # for linux/amd64 and linux/arm64, pushed
 *     npm run images -- --load kind                        # for this machine, into a kind cluster
 *     npm run images -- --load docker                      # for this machine, into Docker
 *
 * `--tag` (default: the version in package.json of the command line), `--platform`, `--kind-name`, `--cuda` (its image too),
 * `--build-arg NAME=VALUE` (other bases: NODE_IMAGE, BASE_IMAGE, PYTHON_IMAGE) or `--build-arg NAME` (its value from the environment,
 * and in no command that is said: a proxy with a password), `--pin` (the bases by the digests that their
 * registry has of them now, the same for all images), `--print` (says the commands and runs none).
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { root } from "./setup.mjs";

/** Name of the image → target of the Dockerfile. The first has all programs: it is what the manifests name. */
const IMAGES = {
  oarlock: "cli",
  "oarlock-actor": "actor",
  "oarlock-reward": "reward",
  "oarlock-learner": "learner",
  "oarlock-controller": "controller",
};
/** The registry that the manifests name; a kind cluster never asks it, since the images are there already. */
const DEFAULT_REGISTRY = "ghcr.io/oarlock";
const PLATFORMS = "linux/amd64,linux/arm64";
const LOADS = ["docker", "kind"];

const { version } = JSON.parse(readFileSync(join(root, "apps/cli/package.json"), "utf8"));
const { values } = parseArgs({
  options: {
    push: { type: "string" },
    load: { type: "string" },
    tag: { type: "string", default: version },
    platform: { type: "string" },
    "kind-name": { type: "string", default: "kind" },
    cuda: { type: "boolean", default: false },
    "build-arg": { type: "string", multiple: true, default: [] },
    pin: { type: "boolean", default: false },
    print: { type: "boolean", default: false },
  },
});
const { push, load, tag } = values;
if ((push === undefined) === (load === undefined))
  fail("say where the images go: either --push REGISTRY or --load kind|docker");
if (load !== undefined && !LOADS.includes(load)) fail(`--load takes ${LOADS.join(" or ")}, not ${load}`);
for (const each of values["build-arg"])
  if (/^\w+_IMAGE=.*@(?!sha256:[0-9a-f]{64}$)/.test(each))
    fail(`${each}: a digest is @sha256: and 64 hexadecimal digits`);

const registry = push ?? DEFAULT_REGISTRY;
const platform = values.platform ?? (push === undefined ? undefined : PLATFORMS);
const where = push === undefined ? "--load" : "--push";
const wanted = Object.entries(IMAGES);
const bases = values.pin ? pinnedBases() : values["build-arg"];
const build = ([name, target], { tag: as = tag, on = platform } = {}) => {
  const program = ["docker", "buildx", "build", "--file", "deploy/docker/Dockerfile", "--target", target];
  const platforms = on === undefined ? [] : ["--platform", on];
  const given = bases.flatMap((each) => ["--build-arg", each]);
  return program.concat(platforms, given, ["--tag", `${registry}/${name}:${as}`, where, "."]);
};
const commands = wanted.map((image) => build(image));
// NVIDIA's libraries are fetched by whoever builds it, for one platform.
if (values.cuda) commands.push(build(["oarlock", "cuda"], { tag: `${tag}-cuda`, on: "linux/amd64" }));
if (load === "kind") {
  const names = [
    ...wanted.map(([name]) => `${name}:${tag}`),
    ...(values.cuda ? [`oarlock:${tag}-cuda`] : []),
  ];
  const images = names.map((name) => `${registry}/${name}`);
  commands.push(["kind", "load", "docker-image", "--name", values["kind-name"], ...images]);
}
for (const [program, ...args] of commands) {
  console.log([program, ...args].join(" "));
  if (!values.print) execFileSync(program, args, { cwd: root, stdio: "inherit" });
}

/** The bases as `name:tag@sha256:…`; one that has a digest keeps it, and what is no base is given on as it is. */
function pinnedBases() {
  const text = readFileSync(join(root, "deploy/docker/Dockerfile"), "utf8");
  const bases = Object.fromEntries(
    [...text.matchAll(/^ARG (\w+_IMAGE)=(\S+)$/gm)].map(([, ...pair]) => pair),
  );
  const others = [];
  for (const each of values["build-arg"]) {
    const [name, value = process.env[name]] = each.split(/=(.*)/s, 2);
    if (!(name in bases)) others.push(each);
    else if (value !== undefined) bases[name] = value;
  }
  return Object.entries(bases)
    .filter(([name]) => name !== "PYTHON_IMAGE" || values.cuda)
    .map(([name, value]) => `${name}=${pinned(value)}`)
    .concat(others);
}

function pinned(image) {
  if (image.includes("@")) return image;
  const asked = ["docker", "buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}", image];
  if (values.print) return `${image}@$(${asked.join(" ")})`;
  const digest = execFileSync(asked[0], asked.slice(1), { encoding: "utf8" }).trim();
  if (!/^sha256:[0-9a-f]{64}$/.test(digest)) fail(`${image} has no digest, but ${JSON.stringify(digest)}`);
  return `${image}@${digest}`;
}

function fail(message) {
  console.error(`images: ${message}`);
  process.exit(2);
}
