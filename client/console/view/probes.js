// The list of candidates, by the URL that was asked for them.

import { bracket } from "../gather.js";
import { explain, ms, relays, worst } from "../verdict.js";
import { h } from "./dom.js";

/** @typedef {import("../gather.js").Probe} Probe */
/** @typedef {import("../gather.js").Candidate} Candidate */

/** Times are drawn on a square-root scale up to here, so that 2 ms and 2 s both have a visible place. */
const SCALE_MS = 10_000;

const MDNS = "The .local names hide local addresses. Peers on the same network look them up by multicast DNS (mDNS); a page " +
  "that may use camera or microphone sees the addresses themselves.";

/** @param {HTMLElement} container @param {Probe[]} probes */
export function showProbes(container, probes) {
  container.replaceChildren(...probes.map(probeCard));
}

/** @param {Probe} probe */
function probeCard(probe) {
  const { level, text } = summary(probe);
  const failures = (probe.failures.length > 0 || level === "bad") && failureList(probe, level === "bad");
  return h("article", { class: "probe", "data-level": level, "data-kind": probe.kind, "data-url": probe.url },
    h("header", {},
      h("span", { class: "lamp" }, level),
      h("h3", { class: "mono" }, ...(probe.url ? breakable(probe.url) : ["this device"])),
      h("span", { class: "summary" }, text)),
    probe.candidates.length > 0 && candidateTable(probe),
    probe.candidates.some(({ mdns }) => mdns) && h("p", { class: "hint" }, MDNS),
    failures);
}

/** @param {Probe} probe */
function summary(probe) {
  const found = probe.kind === "turn" ? relays(probe) : probe.candidates.length > 0;
  if (found) return { level: "ok", text: probe.running ? "gathering" : `done in ${ms(probe.elapsed)}` };
  if (probe.running) return { level: "wait", text: probe.kind === "turn" ? "allocating" : "asking" };
  if (probe.kind === "stun" && probe.failures.length === 0 && !probe.timedOut) {
    return { level: "ok", text: "same address as host" };
  }
  return { level: "bad", text: `error ${worst(probe.failures).code || ""}` };
}

/** @param {Probe} probe */
function candidateTable({ candidates }) {
  return h("table", {},
    h("thead", {}, h("tr", {}, ...["Type", "Address", "Transport", "Priority", "Found after"].map((name) =>
      h("th", { scope: "col" }, name)))),
    h("tbody", {}, ...candidates.map(candidateRow)));
}

/** @param {Candidate} candidate */
function candidateRow(candidate) {
  const { type, address, port, protocol, relayProtocol, related, priority, after } = candidate;
  const bar = h("i", { class: "bar", "aria-hidden": "true" });
  bar.style.setProperty("--at", Math.min(1, Math.sqrt(after / SCALE_MS)).toFixed(3));
  return h("tr", { "data-type": type },
    h("td", {}, h("span", { class: "tag", "data-type": type }, type)),
    h("td", { class: "mono address" }, ...breakable(`${bracket(address)}:${port}`),
      related && h("small", { title: type === "relay" ? "as the relay sees this browser" : "the local address behind it" },
        `${type === "relay" ? "seen as" : "from"} ${related}`)),
    h("td", { class: "mono" }, relayProtocol && relayProtocol !== protocol ? `${protocol} over ${relayProtocol}` : protocol),
    h("td", { class: "mono number" }, String(priority)),
    h("td", { class: "mono number time" }, bar, h("span", {}, ms(after))));
}

/** Browsers report one event per local address; the same words are shown once. @param {Probe} probe @param {boolean} fatal */
function failureList({ failures }, fatal) {
  /** @type {Map<string, string[]>} */
  const byText = new Map();
  for (const failure of failures.length > 0 ? failures : [worst(failures)]) {
    const text = explain(failure);
    byText.set(text, [...(byText.get(text) ?? []), failure.local].filter(Boolean));
  }
  const list = h("ul", { class: "failures" }, ...[...byText].map(([text, locals]) =>
    h("li", {}, text, locals.length > 0 && h("small", { class: "mono" }, `from ${locals.join(", ")}`))));
  if (fatal) return list;
  const events = failures.length === 1 ? "1 error event" : `${failures.length} error events`;
  return h("details", {}, h("summary", {}, `${events} from other local addresses`), list);
}

/** Lets long addresses and URLs break after their separators. @param {string} text @returns {(string | Node)[]} */
function breakable(text) {
  return text.split(/(?<=[:?.])/).flatMap((part, i) => (i === 0 ? [part] : [h("wbr"), part]));
}
