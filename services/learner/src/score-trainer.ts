/** The one trainer beside the policy's: of the critic or of the reward model of the present stage. Opened and closed with it. */
import { OarlockError } from "@oarlock/errors";
import type { Trainer } from "@oarlock/training";
import type { ScoreHead } from "./ports.ts";

export interface ScoreTrainer {
  /** Opens one that starts from these weights; another one is closed first. Default head: "score". */
  open(weights: Float32Array, head?: ScoreHead): Promise<Trainer>;
  /** Throws `SCORE_TRAINER_MISSING` where the stage has none: a fault of the caller. */
  get(): Trainer;
  isOpen(): boolean;
  close(): Promise<void>;
}

/** Nothing is open yet. */
export function createScoreTrainer(
  open: (weights: Float32Array, head: ScoreHead) => Promise<Trainer>,
): ScoreTrainer {
  let current: Trainer | undefined;
  const close = async (): Promise<void> => {
    const closed = current;
    current = undefined;
    await closed?.close();
  };
  return {
    async open(weights, head = "score") {
      await close();
      current = await open(weights, head);
      return current;
    },
    get() {
      if (current !== undefined) return current;
      throw new OarlockError(
        "SCORE_TRAINER_MISSING",
        "this stage trains neither a critic nor a reward model",
      );
    },
    isOpen: () => current !== undefined,
    close,
  };
}
