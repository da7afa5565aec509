/** Composition root of an actor: opens its consumer, its policies and its gRPC server, and says how it ends. */
import { subjects } from "@oarlock/bus";
import type { Bus } from "@oarlock/bus";
import type { PolicyStore } from "@oarlock/checkpoint";
import type { Generator } from "@oarlock/generation";
import { ActorService } from "@oarlock/proto";
import { topologyOf } from "@oarlock/run";
import type { DeviceFacts } from "@oarlock/run";
import type { ResolvedRun } from "@oarlock/runfile";
import { silentTelemetry } from "@oarlock/runtime";
import type { Clock, Lifecycle, Log, Telemetry } from "@oarlock/runtime";
import { createPlanRefusal, serveService } from "@oarlock/workload";
import type { ServiceConfig } from "@oarlock/workload";
import { createActor } from "./actor.ts";
import type { Actor } from "./actor.ts";
import type { Companion } from "./companion.ts";
import { actorHandlers } from "./handlers.ts";
import { actorRecorders, observeActor } from "./metrics.ts";
import type { Provenance } from "./work.ts";

/** What an actor is given: it opens none of these itself, so that one process can share them. */
export interface ActorParts {
  readonly config: ServiceConfig;
  readonly run: ResolvedRun;
  readonly uid: string;
  readonly bus: Bus;
  readonly policies: PolicyStore;
  readonly generator: Generator;
  readonly reference: Companion;
  readonly critic: Companion;
  /** The store of the critic's versions. */
  readonly critics: Pick<PolicyStore, "current">;
  readonly lifecycle: Lifecycle;
  /** What it computes on, where that was probed. */
  readonly device?: DeviceFacts;
  readonly clock: Clock;
  readonly log: Log;
  /** Default: silent. */
  readonly telemetry?: Telemetry;
}

export interface RunningActor {
  readonly actor: Actor;
  /** `host:port` of the gRPC server. */
  readonly address: string;
  /** Settles when the actor stops pulling: after a drain, or with the failure that stopped it. */
  readonly stopped: Promise<void>;
}

/** Starts an actor; the lifecycle drains it first and closes its server last. */
export async function startActor(parts: ActorParts): Promise<RunningActor> {
  const { config, run, uid, bus, generator, lifecycle, clock, log, telemetry = silentTelemetry } = parts;
  const names = subjects(uid);
  const { streams, consumers } = topologyOf(run, names);
  const work = await bus.stream(streams.work);
  const answers = await bus.stream(streams.trajectories);
  const actor = createActor({
    generator,
    policies: parts.policies,
    reference: parts.reference,
    critic: parts.critic,
    critics: parts.critics,
    streaming: run.spec.pipeline.mode === "streaming",
    work: await work.consumer(consumers.actors),
    answers,
    answerSubject: names.trajectoryGenerated,
    provenance: provenanceOf(run, config.instance),
    refuseOtherPlan: createPlanRefusal({
      instance: config.instance,
      planDigest: run.digest,
      stream: answers,
      subject: names.trajectoryScored,
      clock,
      log,
    }),
    telemetry: {
      tracer: telemetry.tracer,
      recorders: actorRecorders(telemetry.meter),
      model: run.name,
      work: {
        driver: bus.driver,
        runUid: uid,
        subject: names.workRollout,
        stream: names.workStream,
        consumer: consumers.actors.name,
      },
      answers: {
        driver: bus.driver,
        runUid: uid,
        subject: names.trajectoryGenerated,
        stream: names.trajectoryStream,
      },
    },
    clock,
    log,
  });
  observeActor(telemetry.meter, {
    state: () => actor.state(),
    policy: () => actor.policies.loaded()?.number ?? -1,
  });
  let requests = 0;
  const { server, address } = await serveService({ ...parts, telemetry }, (to, facts) =>
    to.add(ActorService, actorHandlers({ actor, generator, facts, nextRequest: () => requests++ })),
  );
  const stopping = new AbortController();
  const stopped = actor.run(stopping.signal);
  lifecycle.onEnd("actor", async () => {
    server.setServing(false);
    await actor.drain(config.graceMs);
    stopping.abort();
    await stopped;
  });
  log.info("actor serves", { address, slots: generator.plan.slots });
  return { actor, address, stopped };
}

function provenanceOf({ digest, inputs }: ResolvedRun, producedBy: string): Provenance {
  const { tokenizerDigest, chatTemplateDigest: templateDigest } = inputs.model;
  return { producedBy, fingerprintDigest: digest, tokenizerDigest, templateDigest };
}
