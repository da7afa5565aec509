/** Cards that the pods of a role ask for: in the role's resources, or in those of its pod template. Pure. */
import type { RoleSpec } from "./cluster-spec.ts";

/** What a role asks for when it asks for a card. */
export const CARD_RESOURCE = "nvidia.com/gpu";

/** Cards of one pod; 0 where it asks for none. */
export function cardsAsked({ name, resources, template }: RoleSpec): number {
  return Math.max(cardsOf(resources), cardsOf(field(containerOf(template, name), "resources")));
}

function cardsOf(resources: unknown): number {
  const asked = ["limits", "requests"].map((kind) =>
    Number(field(field(resources, kind), CARD_RESOURCE) ?? 0),
  );
  return Math.max(...asked);
}

function containerOf(template: unknown, role: string): unknown {
  const containers = field(field(template, "spec"), "containers");
  return Array.isArray(containers)
    ? containers.find((container) => field(container, "name") === role)
    : undefined;
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}
