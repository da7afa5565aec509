/**
 * Messages are lost and doubled on their way to and from a real server: publishes, deliveries and acknowledgements. Late and
 * cut connections are the network's test.
 */
import { describe, expect, it } from "vitest";
import { requireNatsServer, startMessageProxy } from "@oarlock/testkit";
import { chaosPlan, STEPS } from "./chaos-plan.ts";
import { DisturbedRun } from "./disturbed-run.ts";
import { expectUndisturbed } from "./expect-undisturbed.ts";

const program = requireNatsServer();
/** A loss costs an ack wait or a request's deadline: so few that the run still ends in a minute. */
const LOSE_EACH = 40;
const DOUBLE_EACH = 3;

/** What kind of message of a group this is, or undefined for everything else on the wire. */
function kindOf(subject: string, to: "server" | "client"): string | undefined {
  if (subject.startsWith("$JS.ACK.")) return "acknowledgement";
  if (subject.startsWith("oarlock.")) return to === "server" ? "publish" : "delivery";
  return undefined;
}

describe.skipIf(program.absent)(`messages are lost and doubled${program.note}`, () => {
  it("D1, T1: and every group is trained once all the same", async () => {
    const counts = new Map<string, number>();
    const [lost, doubled] = [new Map<string, number>(), new Map<string, number>()];
    const count = (of: Map<string, number>, kind: string): number => {
      const next = (of.get(kind) ?? 0) + 1;
      of.set(kind, next);
      return next;
    };
    await using run = await DisturbedRun.start({
      run: await chaosPlan(STEPS),
      natsServer: program.path,
      async between({ port }) {
        const proxy = await startMessageProxy({
          targetPort: port,
          fate({ subject, to }) {
            const kind = kindOf(subject, to);
            if (kind === undefined) return "pass";
            const number = count(counts, kind);
            const fate = number % LOSE_EACH === 0 ? "lose" : number % DOUBLE_EACH === 0 ? "double" : "pass";
            if (fate !== "pass") count(fate === "lose" ? lost : doubled, kind);
            return fate;
          },
        });
        return `nats://127.0.0.1:${proxy}`;
      },
    });
    await expectUndisturbed(run);
    for (const kind of ["publish", "delivery", "acknowledgement"]) {
      expect(lost.get(kind), `${kind} lost`).toBeGreaterThan(0);
      expect(doubled.get(kind), `${kind} doubled`).toBeGreaterThan(10);
    }
    expect(
      run.children().map(({ restarts }) => restarts),
      run.logs(),
    ).toEqual([0, 0, 0, 0]);
  });
});
