// The document, shown. Everything comes from `openapi.json` of the server that this page is from.
import { attempt, canTry } from "./attempt.js";
import { block, element, prose } from "./dom.js";
import { fields, resolve, row } from "./schema.js";

const METHODS = ["get", "post", "put", "patch", "delete"];
const $ = (id) => document.getElementById(id);

function access(operation, root) {
  const schemes = operation.security ?? [];
  if (!schemes.length) return "Open to everybody.";
  const names = schemes.flatMap((scheme) => Object.keys(scheme));
  const open = schemes.some((scheme) => !Object.keys(scheme).length);
  const said = names.map((name) => root.components.securitySchemes[name]?.description ?? name);
  return `${open ? "Open here. Else: " : ""}${said.join(" Or: ")}`;
}

function content(holder, root) {
  const [kind, what] = Object.entries(holder.content ?? {})[0] ?? [];
  if (!kind) return [];
  const of = what.schema ?? {};
  return [
    element("p", { class: "hint" }, element("code", {}, kind)),
    fields(of, root),
    what.example === undefined ? null : element("details", {}, element("summary", {}, "Example"), block(what.example)),
  ];
}

function codesOf(response) {
  const parts = (response.content?.["application/problem+json"]?.schema?.allOf ?? []).map((part) => part.properties?.code?.enum);
  return parts.find(Boolean) ?? [];
}

function failures(operation) {
  const failed = Object.entries(operation.responses).filter(([status]) => status >= "400");
  const rows = failed.map(([status, response]) =>
    element(
      "li",
      {},
      element("p", {}, element("code", { class: "name" }, status), " ", element("span", { class: "type" }, codesOf(response).join(", "))),
      element("p", { class: "hint" }, prose(response.description)),
    ),
  );
  return element("details", {}, element("summary", {}, `Errors (${failed.map(([status]) => status).join(", ")})`), element("ul", { class: "fields" }, rows));
}

function shown(path, method, operation, root) {
  const parameters = (operation.parameters ?? []).map((parameter) =>
    row(parameter.name, parameter.schema ?? {}, { required: parameter.required, says: parameter.description, place: parameter.in }, root),
  );
  const done = Object.entries(operation.responses).filter(([status]) => status < "400");
  return element(
    "article",
    { id: operation.operationId, "data-find": `${method} ${path} ${operation.summary} ${JSON.stringify(operation.responses)}`.toLowerCase() },
    element("h3", {}, element("span", { class: "method", "data-method": method }, method.toUpperCase()), " ", element("code", {}, path)),
    element("p", {}, prose(operation.summary), ". ", prose(operation.description)),
    element("p", { class: "hint" }, prose(access(operation, root))),
    parameters.length ? element("h4", {}, "Parameters") : null,
    parameters.length ? element("ul", { class: "fields" }, parameters) : null,
    operation.requestBody ? element("h4", {}, `Body${operation.requestBody.required ? "" : ", if any"}`) : null,
    operation.requestBody ? content(operation.requestBody, root) : null,
    done.map(([status, response]) => [
      element("h4", {}, status, " ", element("span", { class: "type" }, prose(resolve(response, root).description))),
      content(response, root),
    ]).flat(2),
    failures(operation),
    canTry(method, operation) ? attempt(path, operation, () => $("token").value.trim()) : null,
  );
}

function* operationsOf(root, tag) {
  for (const [path, item] of Object.entries(root.paths)) {
    for (const method of METHODS) if (item[method]?.tags?.includes(tag)) yield [path, method, item[method]];
  }
}

function find() {
  const words = $("find").value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const article of document.querySelectorAll("article")) {
    const hidden = !words.every((word) => article.dataset.find.includes(word));
    article.hidden = hidden;
    document.querySelector(`nav a[href="#${article.id}"]`).parentElement.hidden = hidden;
  }
  for (const part of document.querySelectorAll("main > section")) part.hidden = !part.querySelector("article:not([hidden])");
}

async function main() {
  const answer = await fetch("openapi.json");
  if (!answer.ok) throw new Error(`openapi.json: ${answer.status}`);
  const root = await answer.json();
  for (const tag of root.tags) {
    const all = [...operationsOf(root, tag.name)];
    const links = all.map(([path, method, operation]) =>
      element("li", {}, element("a", { href: `#${operation.operationId}` }, element("span", { class: "method", "data-method": method }, method.toUpperCase()), " ", path)),
    );
    $("contents").append(element("details", { open: true }, element("summary", {}, tag.name), element("ul", {}, links)));
    const articles = all.map(([path, method, operation]) => shown(path, method, operation, root));
    $("operations").append(element("section", {}, element("h2", {}, tag.name), element("p", { class: "hint" }, prose(tag.description)), articles));
  }
  if (matchMedia("(max-width: 899px)").matches) for (const part of document.querySelectorAll("nav details")) part.open = false;
  $("find").addEventListener("input", find);
  $("operations").removeAttribute("aria-busy");
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

main().catch((error) => {
  $("error").textContent = `The document cannot be shown: ${error.message}`;
});
