/** Our attributes in OpenTelemetry's terms: what is undefined is left out. */
import type { Attributes as SdkAttributes } from "@opentelemetry/api";
import type { Attributes } from "@oarlock/runtime";

/** The attributes that have a value. */
export function defined(attributes: Attributes): SdkAttributes {
  const entries = Object.entries(attributes).filter(([, value]) => value !== undefined);
  return Object.fromEntries(
    entries.map(([name, value]) => [name, isList(value) ? [...value] : value]),
  ) as SdkAttributes; // lists are of one type each, by `AttributeValue`
}

function isList(value: Attributes[string]): value is readonly string[] | readonly number[] {
  return Array.isArray(value);
}
