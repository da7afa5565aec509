/**
 * Scorers behind TLS under whole runs, in one process and in several: who calls and who is called is proved by certificates and
 * tokens that are in no plan and no log, and they decide no bit (D1). A server that is not trusted is refused at the start (X1).
 */
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { startNatsServer } from "@oarlock/bus";
import { startLocalRun } from "@oarlock/cli/local";
import { startProcessesRun } from "@oarlock/cli/processes";
import { RewardScope, RewardService } from "@oarlock/proto";
import { parseMetrics } from "@oarlock/report";
import { RpcServer } from "@oarlock/rpc";
import { silentLog } from "@oarlock/runtime";
import { repositoryRoot, requireNatsServer, temporaryFolder } from "@oarlock/testkit";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { additionPlan } from "./addition-plan.ts";

const program = requireNatsServer();
const fixture = (name: string): string => join(repositoryRoot(), "packages/rpc/src/fixtures", name);
const pem = (name: string): string => readFileSync(fixture(name), "utf8");
const OURS = { ca: pem("ca.crt"), cert: pem("server.crt"), key: pem("server.key") };
const [FILE_TOKEN, ENV_TOKEN] = ["token-of-a-file", "token-of-the-environment"];

interface Asked {
  readonly samples: readonly { readonly completion: string }[];
}

/** Counts ones, for callers with a certificate of our authority and the file's token. */
async function startHttpsScorer(): Promise<string> {
  const server = createServer({ ...OURS, requestCert: true }, async (request, response) => {
    if (request.headers.authorization !== `Bearer ${FILE_TOKEN}`) {
      response.writeHead(401).end();
      return;
    }
    const parts: Uint8Array[] = [];
    for await (const part of request) parts.push(part);
    const { samples }: Asked = JSON.parse(Buffer.concat(parts).toString());
    const results = samples.map(({ completion }) => ({ score: completion.split("1").length - 1 }));
    response.end(JSON.stringify({ version: "1", results }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  // What a socket server listens at is an address with a port.
  return `https://127.0.0.1:${(server.address() as AddressInfo).port}/score`;
}

/** Says how short a completion is, to callers with a certificate and the environment's token. */
async function startGrpcScorer(): Promise<string> {
  const server = new RpcServer({ host: "127.0.0.1", port: 0, log: silentLog, tls: OURS, token: ENV_TOKEN });
  server.add(RewardService, {
    async score({ texts }) {
      const scored = (value: number) => ({ scope: RewardScope.TRAJECTORY, values: [value] });
      return {
        results: texts.map(({ completion }) => ({
          rewards: [
            { name: "short", verdict: { case: "scored" as const, value: scored(-completion.length / 4) } },
          ],
        })),
      };
    },
    async getStatus() {
      return {};
    },
  });
  const address = await server.listen();
  onTestFinished(() => server.close());
  return address;
}

/** The files that a user has beside the run file. */
function writeFiles(folder: string): void {
  for (const name of ["ca.crt", "client.crt", "client.key"]) writeFileSync(join(folder, name), pem(name));
  writeFileSync(join(folder, "stranger.crt"), pem("stranger.crt"));
  writeFileSync(join(folder, "token"), `${FILE_TOKEN}\n`);
}

const TLS = "tls: {caFile: ca.crt, certFile: client.crt, keyFile: client.key}";

function plan(rewards: readonly string[]) {
  return additionPlan([
    `stages.grpo.grpo.rewards=[${rewards.join(", ")}]`,
    "stages.grpo.grpo.kl={placement: none}",
    `evaluation.metric=${/name: (\w+)/.exec(rewards[0] ?? "")?.[1] ?? ""}`,
  ]);
}

function digestsOf(outDir: string): string[] {
  const records = parseMetrics(readFileSync(join(outDir, "metrics.jsonl"), "utf8"));
  return records.filter(({ kind }) => kind === "step").map(({ policyDigest }) => policyDigest);
}

describe.skipIf(program.absent)(`scorers behind TLS${program.note}`, () => {
  test("D1: several processes with them give the weights of one process; no secret is written down", async () => {
    const [url, address] = [await startHttpsScorer(), await startGrpcScorer()];
    const run = plan([
      `{name: ones, type: http, http: {url: "${url}"}, service: {deterministic: true, tokenFile: token, ${TLS}}}`,
      `{name: short, type: grpc, grpc: {address: "${address}"}, service: {deterministic: true, tokenEnv: SCORER_TOKEN, ${TLS}}}`,
    ]);
    const [together, apart] = [temporaryFolder("together"), temporaryFolder("apart")];
    for (const folder of [together, apart]) writeFiles(folder);
    vi.stubEnv("SCORER_TOKEN", ENV_TOKEN);
    onTestFinished(() => void vi.unstubAllEnvs());
    const local = await startLocalRun(run, { outDir: together, baseDir: together });
    expect(await local.finished).toMatchObject({ status: "completed" });
    const nats = await startNatsServer({ path: program.path, folder: temporaryFolder("nats") });
    onTestFinished(() => nats.stop("SIGKILL"));
    writeFileSync(join(apart, "plan.json"), JSON.stringify({ uid: "secured", baseDir: apart, run }));
    const started = await startProcessesRun(run, {
      outDir: apart,
      uid: "secured",
      environment: { ...process.env, NATS_URL: nats.url },
    });
    expect(await started.finished).toMatchObject({ status: "completed" });
    expect(digestsOf(apart)).toHaveLength(12);
    expect(digestsOf(apart)).toEqual(digestsOf(together));
    const logs = readdirSync(join(apart, "logs")).map((name) => join("logs", name));
    for (const name of [...logs, "plan.json", "metrics.jsonl"]) {
      const text = readFileSync(join(apart, name), "utf8");
      expect(text).not.toMatch(/token-of-|PRIVATE KEY/);
    }
  });
});

describe("a scorer that is not who it should be", () => {
  const refused = async (reward: string): Promise<string> => {
    const folder = temporaryFolder("refused");
    writeFiles(folder);
    const started = startLocalRun(plan([reward]), { outDir: folder, baseDir: folder });
    return started.then(
      () => "started",
      (reason: unknown) => String(reason),
    );
  };

  test("X1: a certificate of another authority is refused before the run starts, with the field", async () => {
    const [url, address] = [await startHttpsScorer(), await startGrpcScorer()];
    const wrong = "tls: {caFile: stranger.crt}";
    expect(await refused(`{name: ones, type: http, http: {url: "${url}"}, service: {${wrong}}}`)).toMatch(
      /SCORER_TLS_UNTRUSTED.*reward ones: service\.tls\.caFile: .*127\.0\.0\.1.*not trusted/,
    );
    expect(
      await refused(`{name: short, type: grpc, grpc: {address: "${address}"}, service: {${wrong}}}`),
    ).toMatch(/SCORER_TLS_UNTRUSTED.*reward short: service\.tls\.caFile/);
    expect(await refused(`{name: ones, type: http, http: {url: "${url}"}}`)).toMatch(/SCORER_TLS_UNTRUSTED/);
    expect(
      await refused(
        `{name: ones, type: http, http: {url: "${url}"}, service: {tls: {caFile: ca.crt, serverName: other.test}}}`,
      ),
    ).toMatch(/SCORER_TLS_UNTRUSTED.*service\.tls\.serverName/);
  });

  test("X1: files that are missing or not what they should be are named, and not quoted", async () => {
    const http = (service: string): string =>
      `{name: ones, type: http, http: {url: "https://127.0.0.1:1/"}, service: {${service}}}`;
    expect(await refused(http("tls: {caFile: none.crt}"))).toMatch(
      /SCORER_FILE_INVALID.*reward ones: service\.tls\.caFile: "none\.crt"/,
    );
    expect(await refused(http("tls: {caFile: token}"))).toMatch(/SCORER_TLS_INVALID.*service\.tls\.caFile/);
    const strange = await refused(http("tls: {certFile: stranger.crt, keyFile: client.key}"));
    expect(strange).toMatch(/SCORER_TLS_INVALID.*service\.tls\.keyFile/);
    expect(strange).not.toContain("PRIVATE");
    expect(await refused(http("tokenFile: absent"))).toMatch(/SCORER_FILE_INVALID.*service\.tokenFile/);
    expect(await refused(http("tokenFile: ca.crt"))).toMatch(
      /SCORER_TOKEN_MISSING.*the file ca\.crt holds no token/,
    );
    expect(await refused(http("tokenEnv: NOT_SET"))).toMatch(/SCORER_TOKEN_MISSING.*NOT_SET is empty/);
  });
});
