/** A reward worker's own `Score`: trajectories in, verdicts by name and version out, by the scorers of the run that it serves. */
import { startLocalRun } from "@oarlock/cli/local";
import { FinishReason, RewardScope, RewardService, RolloutPurpose } from "@oarlock/proto";
import { openChannel } from "@oarlock/rpc";
import { temporaryFolder } from "@oarlock/testkit";
import { openModel } from "@oarlock/workload";
import { expect, onTestFinished, test } from "vitest";
import { additionPlan } from "./addition-plan.ts";

test("Score gives the verdicts of the named scorers; S1: a version that nobody has is a failure, a name an error", async () => {
  // Long enough to be asked while it runs.
  const plan = additionPlan(["stages.sft.sft.steps=5000"]);
  const folder = temporaryFolder("score");
  const local = await startLocalRun(plan, { outDir: folder, baseDir: folder });
  local.finished.catch(() => undefined);
  onTestFinished(() => local.abandon());
  const { tokenizer, stopTokens } = await openModel(plan.spec.model, { baseDir: folder, seed: 7 });
  const trajectory = (completion: string, stage = 1) => {
    const [prompt, answer] = [tokenizer.encode("2+3="), tokenizer.encode(completion)];
    return {
      group: { runUid: "anybody", stage, step: 0, group: 0, draw: 0 },
      purpose: RolloutPurpose.ROLLOUT,
      prompt: { promptId: "p", fieldsJson: '{"prompt": "2+3=", "answer": "5"}' },
      tokenIds: [...prompt, ...answer, ...stopTokens.slice(0, 1)],
      promptLength: prompt.length,
      finishReason: FinishReason.STOP,
    };
  };
  using channel = openChannel(local.addresses.reward);
  const client = channel.client(RewardService);
  const ask = { timeoutMs: 20_000 };

  const all = await client.score({ trajectories: [trajectory("5"), trajectory("6")] }, ask);
  const { scorers } = await client.getStatus({}, ask);
  expect(scorers.map(({ name }) => name)).toEqual(["answer", "short"]);
  for (const [i, score] of [1, 0].entries()) {
    const rewards = all.results[i]?.rewards ?? [];
    expect(rewards.map(({ name, scorerVersion }) => ({ name, version: scorerVersion }))).toEqual(
      scorers.map(({ name, version }) => ({ name, version })),
    );
    expect(rewards[0]?.verdict).toMatchObject({
      case: "scored",
      value: { scope: RewardScope.TRAJECTORY, values: [score] },
    });
  }

  const pinned = (name: string, version: string) => ({
    trajectories: [trajectory("5")],
    scorers: [{ name, version }],
  });
  const [own] = (await client.score(pinned("answer", scorers[0]?.version ?? ""), ask)).results;
  expect(own?.rewards).toMatchObject([{ name: "answer", verdict: { case: "scored" } }]);
  const [other] = (await client.score(pinned("answer", "of tomorrow"), ask)).results;
  expect(other?.rewards).toMatchObject([
    { name: "answer", verdict: { case: "failed", value: { code: "SCORER_VERSION" } } },
  ]);
  await expect(client.score(pinned("nobody", ""), ask)).rejects.toThrow(/SCORER_UNKNOWN.*answer/);
  await expect(client.score({ trajectories: [trajectory("5", 0)] }, ask)).rejects.toThrow(/SCORERS_MISSING/);
});
