// JSON Schema as a table of fields.
import { element, prose } from "./dom.js";

/** What a reference stands for. */
export function resolve(schema, root) {
  if (!schema?.$ref) return schema ?? {};
  return schema.$ref.slice(2).split("/").reduce((at, part) => at?.[part], root) ?? {};
}

/** Short words for a type. */
export function typeOf(schema, root) {
  if (schema.$ref) return typeOf(resolve(schema, root), root);
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  const choices = schema.oneOf ?? schema.anyOf;
  if (choices) return choices.map((choice) => typeOf(choice, root)).join(" | ");
  if (schema.allOf) return "object";
  const types = [schema.type ?? "anything"].flat();
  return types.map((type) => (type === "array" ? `${typeOf(schema.items ?? {}, root)}[]` : type)).join(" | ");
}

function bounds(schema) {
  const parts = [];
  if (schema.minimum !== undefined && schema.maximum !== undefined) parts.push(`${schema.minimum} to ${schema.maximum}`);
  else if (schema.minimum > 0) parts.push(`at least ${schema.minimum}`);
  else if (schema.maximum !== undefined) parts.push(`at most ${schema.maximum}`);
  if (schema.maxLength !== undefined) parts.push(`at most ${schema.maxLength} characters`);
  if (schema.maxItems !== undefined) parts.push(`at most ${schema.maxItems}`);
  return parts.join(", ");
}

/** The fields of an object, those of its parts too. */
function fieldsOf(schema, root) {
  const whole = resolve(schema, root);
  const own = Object.entries(whole.properties ?? {});
  const required = new Set(whole.required ?? []);
  const fields = own.map(([name, field]) => ({ name, field, required: required.has(name) }));
  for (const part of whole.allOf ?? []) fields.push(...fieldsOf(part, root));
  return fields;
}

function inner(schema, root) {
  const whole = resolve(schema, root);
  if (whole.items) return inner(whole.items, root);
  const choice = (whole.oneOf ?? whole.anyOf ?? []).find((one) => fieldsOf(inner(one, root), root).length);
  return choice ? inner(choice, root) : whole;
}

/** A row of name, type and meaning, with the fields inside it. */
export function row(name, schema, { required, says, place }, root, depth = 0) {
  const text = says ?? schema.description ?? resolve(schema, root).description ?? "";
  const limits = bounds(schema);
  const nested = depth < 3 ? fieldsOf(inner(schema, root), root) : [];
  return element(
    "li",
    {},
    element(
      "p",
      {},
      element("code", { class: "name" }, name),
      " ",
      element("span", { class: "type" }, [place, typeOf(schema, root)].filter(Boolean).join(" ")),
      required ? element("span", { class: "needed" }, " needed") : null,
    ),
    text || limits ? element("p", { class: "hint" }, prose(text), limits ? ` ${text ? "— " : ""}${limits}` : "") : null,
    nested.length ? list(nested, root, depth + 1) : null,
  );
}

function list(fields, root, depth) {
  const rows = fields.map(({ name, field, required }) => row(name, field, { required }, root, depth));
  return element("ul", { class: "fields" }, rows);
}

/** All fields of a body; nothing for what has none. */
export function fields(schema, root) {
  const found = fieldsOf(inner(schema, root), root);
  return found.length ? list(found, root, 0) : null;
}
