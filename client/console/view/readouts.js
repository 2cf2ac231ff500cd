// The row of instruments at the top: one verdict each.

import { judge, ms } from "../verdict.js";
import { byId, formatRate, setText } from "./dom.js";

/** @typedef {import("../verdict.js").Verdict} Verdict */

/** @type {Record<import("../verdict.js").Level, string>} what a screen reader hears instead of the lamp */
const SPOKEN = { wait: "in progress", ok: "good", warn: "partly", bad: "failed", off: "not tested" };

/** @param {string} name @param {Verdict} verdict */
export function showReadout(name, { level, headline, detail }) {
  const tile = byId(`readout-${name}`);
  tile.dataset.level = level;
  setText(tile.querySelector(".lamp"), SPOKEN[level]);
  setText(tile.querySelector(".headline"), headline);
  setText(tile.querySelector(".detail"), detail);
}

/** @param {import("../gather.js").Probe[]} probes */
export function showVerdicts(probes) {
  for (const [name, verdict] of Object.entries(judge(probes))) showReadout(name, verdict);
}

/** @param {import("../loopback.js").RoundTrip | Error | "running" | null} outcome @returns {Verdict} */
export function roundTripVerdict(outcome) {
  if (outcome === "running") return { level: "wait", headline: "measuring", detail: "" };
  if (outcome === null) return { level: "off", headline: "not tested", detail: "Needs a working TURN URL." };
  if (outcome instanceof Error) return { level: "bad", headline: "no data", detail: outcome.message };
  return {
    level: "ok",
    headline: ms(outcome.rtt),
    detail: `Relay to relay and back; ${formatRate(outcome.rate)} one way, ready in ${ms(outcome.setup)}.`,
  };
}

/** @param {number | null} expires on the clock of performance.now(); null when the list carries no credential */
export function credentialVerdict(expires) {
  if (expires === null) return { level: /** @type {const} */ ("off"), headline: "none", detail: "The list carries no credential." };
  const left = Math.max(0, Math.round((expires - performance.now()) / 1000));
  if (left === 0) return { level: /** @type {const} */ ("bad"), headline: "expired", detail: "Run again to get a new one. Living relays go on." };
  const clock = [left / 3600, (left / 60) % 60, left % 60].map((n) => String(Math.floor(n)).padStart(2, "0")).join(":");
  return {
    level: left < 60 ? /** @type {const} */ ("warn") : /** @type {const} */ ("ok"),
    headline: clock,
    detail: "Time left to start a relay with it. Relays that run by then go on.",
  };
}
