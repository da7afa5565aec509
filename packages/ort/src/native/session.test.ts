/** What sessions of the native driver let go of where a call on them fails. */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { openOrt } from "../open.ts";
import { NEGATION } from "../smallest-model.ts";
import type { OrtRuntime } from "../types.ts";

let ort: OrtRuntime;
beforeAll(async () => {
  ort = await openOrt({ driver: "native" });
});
afterAll(() => ort.close());

test("a binding of a closed session is not taken for running", async () => {
  const session = await ort.createSession(NEGATION);
  const binding = session.bind({ x: ort.tensor("float32", [1]) }, { y: ort.tensor("float32", [1]) });
  await session.close();
  await expect(session.run(binding)).rejects.toMatchObject({ code: "ORT_RELEASED" });
  await expect(session.run(binding)).rejects.toMatchObject({ code: "ORT_RELEASED" });
  expect(() => session.runSync(binding)).toThrow(/ORT_RELEASED/);
  binding.dispose();
  expect(() => session.runSync(binding)).toThrow("the binding was released");
});

test("a session of element types that no tensor has is released", async () => {
  const folder = await mkdtemp(join(tmpdir(), "oarlock-session-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const profile = join(folder, "profile");
  await expect(ort.createSession(magnitudeOfInt16(), { profile })).rejects.toMatchObject({
    code: "ORT_UNSUPPORTED_DTYPE",
  });
  const [file = ""] = await readdir(folder);
  // ONNX Runtime ends the list of a profile when its session is released.
  expect(await readFile(join(folder, file), "utf8")).toMatch(/\]\s*$/);
});

/** y = |x| over one int16: the smallest model, with another operator and another element type. */
function magnitudeOfInt16(): Uint8Array {
  const bytes = Buffer.from(NEGATION);
  bytes.set(Buffer.from("Abs"), bytes.indexOf("Neg"));
  const elementType = Buffer.from([0x08, 1, 0x12, 4]); // elem_type: 1, then a shape of 4 bytes
  for (let at = bytes.indexOf(elementType); at >= 0; at = bytes.indexOf(elementType)) bytes[at + 1] = 5;
  return bytes;
}
