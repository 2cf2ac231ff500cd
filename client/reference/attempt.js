// Trying a GET: what is filled in, the request, and the answer as it came.
import { block, element } from "./dom.js";

/** Headers worth seeing. */
const SHOWN = ["content-type", "cache-control", "etag", "retry-after", "www-authenticate", "x-request-id"];

function authorize(headers, url, operation, token) {
  if (!token) return;
  const schemes = (operation.security ?? []).flatMap((scheme) => Object.keys(scheme));
  const inQuery = { apiKeyQuery: "apiKey", secretKeyQuery: "secretKey" };
  const named = schemes.find((scheme) => inQuery[scheme]);
  if (named) url.searchParams.set(inQuery[named], token);
  else if (schemes.includes("basic")) headers.set("authorization", `Basic ${btoa(`user:${token}`)}`);
  else headers.set("authorization", `Bearer ${token}`);
}

/** A form for a GET that answers with something to read. */
export function attempt(path, operation, tokenOf) {
  const inputs = (operation.parameters ?? []).map((parameter) => {
    const id = `${operation.operationId}-${parameter.name}`;
    const input = element("input", { id, name: parameter.name, autocomplete: "off", spellcheck: "false", required: parameter.required });
    return { parameter, input, label: element("label", { for: id }, parameter.name) };
  });
  const out = element("div", { class: "answer", "aria-live": "polite" });
  const send = async (event) => {
    event.preventDefault();
    const filled = inputs.reduce(
      (at, { parameter, input }) => (parameter.in === "path" ? at.replace(`{${parameter.name}}`, encodeURIComponent(input.value)) : at),
      path,
    );
    const url = new URL(filled.slice(1) || "./", document.baseURI);
    for (const { parameter, input } of inputs) {
      if (parameter.in === "query" && input.value) url.searchParams.set(parameter.name, input.value);
    }
    const headers = new Headers();
    authorize(headers, url, operation, tokenOf());
    const began = performance.now();
    try {
      const answer = await fetch(url, { headers, cache: "no-store", signal: AbortSignal.timeout(15000) });
      const text = await answer.text();
      const took = Math.round(performance.now() - began);
      const json = /json/.test(answer.headers.get("content-type") ?? "");
      const lines = SHOWN.filter((name) => answer.headers.has(name)).map((name) => `${name}: ${answer.headers.get(name)}`);
      out.replaceChildren(
        element("p", {}, element("span", { class: "status", "data-ok": String(answer.ok) }, String(answer.status)), ` in ${took} ms`),
        block(lines.join("\n")),
        text ? block(json ? JSON.parse(text) : text.slice(0, 20000)) : "",
      );
    } catch (error) {
      out.replaceChildren(element("p", { class: "error" }, String(error)));
    }
  };
  return element(
    "form",
    { class: "attempt", on: { submit: send } },
    inputs.map(({ input, label }) => element("div", { class: "field" }, label, input)),
    element("button", { type: "submit" }, "Try it"),
    out,
  );
}

/** Whether a page can try it: a GET whose answer ends and is no socket. */
export function canTry(method, operation) {
  if (method !== "get" || operation.responses["101"]) return false;
  const kinds = Object.keys(operation.responses["200"]?.content ?? {});
  return !kinds.some((kind) => kind === "text/event-stream");
}
