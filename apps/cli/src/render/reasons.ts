/** Why something failed, outermost first, each thing once: outer messages often quote inner ones. Pure. */
import { causeChain } from "@oarlock/errors";

const CODE = /^\[[A-Z0-9_]+\] /;

export function reasonsOf(failure: unknown): string[] {
  const messages = causeChain(failure);
  return messages.filter((message, at) => {
    const words = message.replace(CODE, "");
    return !messages.slice(0, at).some((outer) => outer.includes(words));
  });
}
