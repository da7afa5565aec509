/** S1: what answers of other processes become; nothing but a finite number in its place is a score. */
import { FailedSchema, NamedRewardSchema, RewardScope, ScoredSchema, create } from "@oarlock/proto";
import type { Verdict } from "@oarlock/rewards";
import { describe, expect, test } from "vitest";
import { readReward } from "./grpc-line.ts";
import { readAnswer } from "./http-line.ts";
import { judgePrompt, readJudgement } from "./judge-line.ts";

const word = (verdict: Verdict): string | number =>
  verdict.type === "scored" ? verdict.value : verdict.code;
const INVALID = "SCORER_ANSWER_INVALID";

describe("an HTTP scorer's answer", () => {
  test.each<[string, string | number]>([
    ['{"score": 0.5}', 0.5],
    ['{"score": -3, "explanation": "why"}', -3],
    ['{"failed": "no idea"}', "SCORER_FAILED"],
    ['{"failed": "", "retryable": true}', "SCORER_FAILED"],
    ['{"score": 1e999}', "VALUE_NOT_FINITE"],
    ['{"score": null}', INVALID],
    ['{"score": "1"}', INVALID],
    ['{"score": true}', INVALID],
    ['{"score": 1, "failed": "both"}', INVALID],
    ['{"score": 1, "extra": 0}', INVALID],
    ['{"score": 1, "explanation": 2}', INVALID],
    ['{"failed": 1}', INVALID],
    ['{"failed": "x", "retryable": "yes"}', INVALID],
    ["{}", INVALID],
    ["[1]", INVALID],
    ["1", INVALID],
    ["null", INVALID],
  ])("%s", (result, expected) => {
    const answer: unknown = JSON.parse(`{"results": [${result}, {"score": 7}]}`);
    expect(readAnswer("a", answer, 2).map(word)).toEqual([expected, 7]);
  });

  test.each([
    "1",
    "[]",
    "{}",
    '{"results": {}}',
    '{"results": []}',
    '{"results": [{"score": 1}, {"score": 1}]}',
    '{"results": [{"score": 1}], "other": 1}',
    '{"results": [{"score": 1}], "version": 1}',
    '{"results": [{"score": 1}], "version": ""}',
  ])("that cannot be told apart is no answer: %s", (answer) => {
    expect(() => readAnswer("a", JSON.parse(answer), 1)).toThrow(expect.objectContaining({ code: INVALID }));
  });

  test("names the version of its scores", () => {
    const answer = { version: "2", results: [{ score: 1 }, { failed: "x" }] };
    expect(readAnswer("a", answer, 2)).toEqual([
      { type: "scored", value: 1, version: "2" },
      { type: "failed", code: "SCORER_FAILED", reason: "x", retryable: false },
    ]);
  });
});

describe("scores of tokens", () => {
  const range = { promptLength: 10, completionTokens: 3 };
  test.each<[string, object | string]>([
    ['{"scores": [1, -2, 0.5]}', { value: -0.5, tokens: { positions: [10, 11, 12], values: [1, -2, 0.5] } }],
    ['{"scores": [1, 2], "ends": [0, 2]}', { value: 3, tokens: { positions: [10, 12], values: [1, 2] } }],
    ['{"failed": "no idea"}', "SCORER_FAILED"],
    ['{"scores": [1, 2]}', INVALID],
    ['{"scores": [1, 2, 3, 4]}', INVALID],
    ['{"scores": [1, 2], "ends": [2, 0]}', INVALID],
    ['{"scores": [1, 2], "ends": [1, 1]}', INVALID],
    ['{"scores": [1, 2], "ends": [0, 3]}', INVALID],
    ['{"scores": [1], "ends": [-1]}', INVALID],
    ['{"scores": [1], "ends": [0.5]}', INVALID],
    ['{"scores": [1, 2, "3"]}', INVALID],
    ['{"scores": [1, 2, 1e999]}', "VALUE_NOT_FINITE"],
    ['{"score": 1}', INVALID],
  ])("over HTTP: %s", (result, expected) => {
    const [verdict] = readAnswer("a", JSON.parse(`{"results": [${result}]}`), [range]);
    if (typeof expected === "string") expect(verdict).toMatchObject({ type: "failed", code: expected });
    else expect(verdict).toEqual({ type: "scored", ...expected });
  });

  test.each<[RewardScope, number[], number[], number[] | string]>([
    [RewardScope.TOKEN, [1, 2, 3], [], [10, 11, 12]],
    [RewardScope.TOKEN, [1, 2, 3], [10, 11, 12], [10, 11, 12]],
    [RewardScope.STEP, [1, 2], [10, 12], [10, 12]],
    [RewardScope.TOKEN, [1, 2], [], INVALID],
    [RewardScope.TOKEN, [1, 2], [10, 12], INVALID],
    [RewardScope.STEP, [1, 2], [9, 12], INVALID],
    [RewardScope.STEP, [1, 2], [10, 13], INVALID],
    [RewardScope.STEP, [1], [10, 11], INVALID],
    [RewardScope.TRAJECTORY, [1], [], INVALID],
  ])("over gRPC: scope %d, %j at %j", (scope, values, positions, expected) => {
    const value = create(ScoredSchema, { scope, values, positions });
    const reward = create(NamedRewardSchema, { name: "a", verdict: { case: "scored", value } });
    const verdict = readReward([reward], range);
    if (typeof expected === "string") expect(verdict).toMatchObject({ type: "failed", code: expected });
    else expect(verdict).toMatchObject({ type: "scored", tokens: { positions: expected, values } });
  });
});

describe("a judge", () => {
  const say = (content: unknown, more: object = {}): unknown => ({
    model: "m-1",
    choices: [{ message: { content }, finish_reason: "stop", ...more }],
  });
  test.each<[unknown, string | number]>([
    [say("7"), 7],
    [say(" 7.5\n"), 7.5],
    [say("0"), 0],
    [say("10"), 10],
    [say("11"), "JUDGE_ANSWER_INVALID"],
    [say("-1"), "JUDGE_ANSWER_INVALID"],
    [say("7/10"), "JUDGE_ANSWER_INVALID"],
    [say("Score: 7"), "JUDGE_ANSWER_INVALID"],
    [say("seven"), "JUDGE_ANSWER_INVALID"],
    [say("NaN"), "JUDGE_ANSWER_INVALID"],
    [say("1e1"), "JUDGE_ANSWER_INVALID"],
    [say(""), "JUDGE_ANSWER_INVALID"],
    [say(7), "JUDGE_ANSWER_INVALID"],
    [say("1", { finish_reason: "length" }), "JUDGE_ANSWER_INVALID"],
    [{ choices: [] }, "JUDGE_ANSWER_INVALID"],
    [{ error: "no" }, "JUDGE_ANSWER_INVALID"],
    [null, "JUDGE_ANSWER_INVALID"],
  ])("%j", (answer, expected) => {
    expect(word(readJudgement({ min: 0, max: 10 }, answer))).toBe(expected);
  });

  test("says which model judged, and reads a completion as text, never as part of its template", () => {
    expect(readJudgement({ min: 0, max: 10 }, say("3"))).toEqual({
      type: "scored",
      value: 3,
      version: "m-1",
    });
    const judge = { url: "u", model: "m", rubric: "kind", min: 0, max: 10, temperature: 0, maxTokens: 4 };
    const prompt = "{rubric}|{prompt}|{completion}|{min}-{max}|{other}";
    expect(judgePrompt({ ...judge, prompt }, { prompt: "p", completion: "{rubric}$&" })).toBe(
      "kind|p|{rubric}$&|0-10|{other}",
    );
  });
});

describe("a gRPC scorer's verdict", () => {
  const scored = (fields: object) =>
    create(NamedRewardSchema, {
      scorerVersion: "v",
      verdict: { case: "scored", value: create(ScoredSchema, fields) },
    });
  const one = { scope: RewardScope.TRAJECTORY, values: [2] };
  const failure = create(NamedRewardSchema, {
    verdict: { case: "failed", value: create(FailedSchema, { reason: "r" }) },
  });
  test.each<[string, Parameters<typeof readReward>[0], string | number]>([
    ["a score", [scored(one)], 2],
    ["a failure", [failure], "SCORER_FAILED"],
    ["no verdict", [], INVALID],
    ["two", [scored(one), scored(one)], INVALID],
    ["neither", [create(NamedRewardSchema, {})], INVALID],
    ["NaN", [scored({ ...one, values: [Number.NaN] })], "VALUE_NOT_FINITE"],
    ["no value", [scored({ ...one, values: [] })], INVALID],
    ["two values", [scored({ ...one, values: [1, 2] })], INVALID],
    ["a token's score", [scored({ scope: RewardScope.TOKEN, values: [1], positions: [3] })], INVALID],
  ])("%s", (_, rewards, expected) => {
    expect(word(readReward(rewards))).toBe(expected);
  });
});
