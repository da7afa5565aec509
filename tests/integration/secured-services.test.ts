/**
 * `oarlock status` and `oarlock replace-scorer` at a run whose services want certificates of one authority and a token, over a NATS
 * server that wants a password.
 */
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startNatsServer } from "@oarlock/bus";
import { main, recordingTerminal } from "@oarlock/cli";
import { type ProcessesRun, startProcessesRun } from "@oarlock/cli/processes";
import { RewardScope, RewardService } from "@oarlock/proto";
import { RpcServer } from "@oarlock/rpc";
import { silentLog, sleep } from "@oarlock/runtime";
import { repositoryRoot, requireNatsServer, temporaryFolder } from "@oarlock/testkit";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { additionPlan } from "./addition-plan.ts";

const program = requireNatsServer();
const TOKEN = "token-of-the-services";
const PASSWORD = "password-of-nats";
/** By then a command has read its settings. */
const ASKED_MS = 200;
const pem = (name: string): string => join(repositoryRoot(), "packages/rpc/src/fixtures", name);

/** Scores by length, as whatever version it is asked for, and not before `opened` resolves; tells of its first call. */
async function startScorer(opened: Promise<void>, onAsked: () => void): Promise<string> {
  const server = new RpcServer({ host: "127.0.0.1", port: 0, log: silentLog });
  server.add(RewardService, {
    async score({ texts, scorers }) {
      onAsked();
      await opened;
      const scorerVersion = scorers[0]?.version ?? "";
      const results = texts.map(({ completion }) => {
        const value = { scope: RewardScope.TRAJECTORY, values: [completion.length] };
        return { rewards: [{ name: "mine", scorerVersion, verdict: { case: "scored" as const, value } }] };
      });
      return { results };
    },
    async getStatus() {
      return {};
    },
  });
  const address = await server.listen();
  onTestFinished(() => server.close());
  return address;
}

async function cli(...args: readonly string[]): Promise<{ readonly code: number; readonly text: string }> {
  const terminal = recordingTerminal();
  const code = await main(["node", "oarlock", ...args], terminal);
  return { code, text: terminal.lines.join("\n") };
}

/** Files of a run folder, logs included, with a secret in them. */
function filesWith(secret: string, folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((path) => {
    const file = join(folder, path);
    return statSync(file).isFile() && readFileSync(file).includes(secret);
  });
}

/** A run that waits for its scorer in its first evaluation, behind mutual TLS and a token. */
async function startSecured(): Promise<{
  readonly folder: string;
  readonly run: ProcessesRun;
  readonly judging: Promise<void>;
  readonly open: () => void;
}> {
  let open = (): void => undefined;
  let begin = (): void => undefined;
  const judging = new Promise<void>((resolve) => (begin = resolve));
  const opened = new Promise<void>((resolve) => (open = resolve));
  const address = await startScorer(opened, () => begin());
  const plan = additionPlan([
    `stages.grpo.grpo.rewards=[{name: mine, type: grpc, timeoutMs: 60000, grpc: {address: "${address}"}, service: {version: "7", deterministic: true}}]`,
    "evaluation.metric=mine",
  ]);
  const folder = temporaryFolder("secured");
  writeFileSync(join(folder, "plan.json"), JSON.stringify({ uid: "secured", baseDir: folder, run: plan }));
  const configuration = `authorization { user: me, password: "${PASSWORD},%" }`;
  const nats = await startNatsServer({ path: program.path, folder: temporaryFolder("nats"), configuration });
  onTestFinished(() => nats.stop("SIGKILL"));
  const run = await startProcessesRun(plan, {
    outDir: folder,
    uid: "secured",
    environment: {
      ...process.env,
      NATS_URL: nats.url.replace("nats://", `nats://me:${PASSWORD}%2C%25@`),
      OARLOCK_TLS_CA: pem("ca.crt"),
      OARLOCK_TLS_CERT: pem("server.crt"),
      OARLOCK_TLS_KEY: pem("server.key"),
      OARLOCK_TOKEN: TOKEN,
    },
  });
  run.finished.catch(() => undefined);
  return { folder, run, judging, open };
}

describe.skipIf(program.absent)(`services behind mutual TLS and a token${program.note}`, () => {
  test("answer who shows what they want: from options, the environment, and what the run was started with", async () => {
    const { folder, run, judging, open } = await startSecured();
    await judging;
    const tokenFile = join(folder, "token");
    writeFileSync(tokenFile, `${TOKEN}\n`);
    const address = run.children().find(({ role }) => role === "learner")?.address ?? "";

    // The certificates are those that the run was started with; the token is in no file of the run.
    const without = await cli("status", folder);
    expect(without).toMatchObject({ code: 0 });
    expect(without.text).toMatch(
      /learner-0.*does not answer; .* bearer token: OARLOCK_TOKEN or --token-file/,
    );
    const status = await cli("status", folder, "--token-file", tokenFile);
    expect(status.text).toMatch(/learner-0/);
    expect(status.text).not.toMatch(/does not answer/);

    const replace = (...args: readonly string[]) =>
      cli("replace-scorer", folder, "mine", "--scorer-version", "8", "--step", "4", ...args);
    // An address alone: nothing is known of how it was started.
    const learner = ["--learner", address, "--token-file", tokenFile];
    expect(await replace(...learner)).toMatchObject({
      code: 3,
      text: expect.stringMatching(/LEARNER_UNREACHED.*--tls-ca/),
    });
    const ours = ["--tls-ca", pem("ca.crt")];
    expect((await replace(...learner, ...ours)).text).toMatch(/LEARNER_UNREACHED.*--tls-cert/);
    const strange = [...ours, "--tls-cert", pem("stranger.crt"), "--tls-key", pem("stranger.key")];
    expect((await replace(...learner, ...strange)).text).toMatch(/LEARNER_UNREACHED/);
    const client = [...ours, "--tls-cert", pem("client.crt"), "--tls-key", pem("client.key")];
    const made = { code: 0, text: "mine is 8 from step 4 of grpo on" };
    // The learner answers between two steps. The same again is the same: with what the folder says, and what the environment.
    const asked = [replace(...learner, ...client)];
    await sleep(ASKED_MS);
    vi.stubEnv("OARLOCK_TOKEN", TOKEN);
    onTestFinished(() => void vi.unstubAllEnvs());
    asked.push(replace());
    await sleep(ASKED_MS);
    vi.stubEnv("OARLOCK_TLS_CA", pem("ca.crt"));
    vi.stubEnv("OARLOCK_TLS_CERT", pem("client.crt"));
    vi.stubEnv("OARLOCK_TLS_KEY", pem("client.key"));
    asked.push(replace("--learner", address));
    await sleep(ASKED_MS);
    open();
    expect(await Promise.all(asked)).toEqual([made, made, made]);
    expect(await run.finished).toMatchObject({ status: "completed" });
    expect(filesWith(TOKEN, folder)).toEqual(["token"]);
    expect(filesWith(PASSWORD, folder)).toEqual([]);
  });

  test("X1: files that cannot be used are named by their option, and not quoted", async () => {
    const folder = temporaryFolder("none");
    const replace = (...args: readonly string[]) =>
      cli("replace-scorer", folder, "mine", "--learner", "127.0.0.1:1", ...args);
    expect((await replace("--tls-ca", "/no/such")).text).toMatch(
      /ACCESS_FILE_INVALID.*--tls-ca "\/no\/such"/,
    );
    expect((await replace("--tls-ca", pem("make.sh"))).text).toMatch(/ACCESS_FILE_INVALID.*--tls-ca/);
    expect((await replace("--tls-cert", pem("client.crt"))).text).toMatch(/given together/);
    const strange = await replace("--tls-cert", pem("client.crt"), "--tls-key", pem("stranger.key"));
    expect(strange.text).toMatch(/ACCESS_FILE_INVALID.*--tls-key/);
    expect(strange.text).not.toContain("PRIVATE");
    expect((await replace("--token-file", "/no/such")).text).toMatch(/ACCESS_FILE_INVALID.*--token-file/);
  });
});
