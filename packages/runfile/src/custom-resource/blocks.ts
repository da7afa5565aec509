/** Blocks of status schemas, each field with its words: `kubectl explain` shows them. */
import type { Structural } from "./structural.ts";

/** An object with these fields. */
export function block(description: string, properties: Readonly<Record<string, Structural>>): Structural {
  return { type: "object", description, properties };
}

/** Text. */
export function words(description: string, maxLength = 1024): Structural {
  return { type: "string", description, maxLength };
}

/** A whole number. */
export function count(description: string): Structural {
  return { type: "integer", format: "int64", description };
}

/** A moment, RFC 3339. */
export function moment(description: string): Structural {
  return { type: "string", format: "date-time", description };
}

/** A list told apart by one field. */
export function listBy(key: string, item: Structural, description: string): Structural {
  return {
    type: "array",
    description,
    maxItems: 64,
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": [key],
    items: { ...item, required: [key] },
  };
}

/** Conditions as `metav1.Condition`. */
export function conditions(description: string): Structural {
  const item = block("One observation.", {
    type: words("What is observed.", 316),
    status: { type: "string", enum: ["True", "False", "Unknown"], description: "Whether it is so." },
    reason: words("Why, in one CamelCase word."),
    message: words("Why, in a sentence.", 32_768),
    lastTransitionTime: moment("When the status last changed."),
    observedGeneration: count("Generation of the object that was looked at."),
  });
  const list = listBy("type", item, description);
  return {
    ...list,
    items: { ...item, required: ["type", "status", "reason", "message", "lastTransitionTime"] },
  };
}

/** What pods of a role compute on. */
export const devices: Structural = {
  type: "array",
  description: "What the pods that serve compute on, as each probed it at its start.",
  maxItems: 16,
  "x-kubernetes-list-type": "atomic",
  items: {
    ...block("Devices of one kind.", {
      provider: words("Execution provider.", 64),
      device: words("Its name."),
      driver: words("What drives it, with versions."),
      pods: count("Pods on it."),
    }),
    required: ["provider", "device", "driver", "pods"],
  },
};
