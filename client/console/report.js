// The results of a test, to paste into an issue: as text or as JSON. Never the credential itself.

import { bracket } from "./gather.js";
import { explain, judge, ms } from "./verdict.js";

/**
 * @typedef {object} Results
 * @property {RTCIceServer[]} servers
 * @property {import("./gather.js").Probe[]} probes
 * @property {import("./loopback.js").RoundTrip | null} roundTrip
 * @property {string} roundTripError
 */

/** @param {Results} results */
export function asJson(results) {
  const servers = results.servers.map(({ urls, username }) => ({ urls, username }));
  return {
    page: location.origin + location.pathname,
    at: new Date().toISOString(),
    browser: navigator.userAgent,
    servers,
    verdicts: judge(results.probes),
    probes: results.probes,
    roundTrip: results.roundTrip,
    roundTripError: results.roundTripError || undefined,
  };
}

/** @param {Results} results */
export function asText(results) {
  const { page, at, browser, verdicts, probes, roundTrip, roundTripError } = asJson(results);
  const lines = [`meetpoint connection test of ${page}`, `${at}  ${browser}`, ""];
  for (const [name, { level, headline, detail }] of Object.entries(verdicts)) {
    lines.push(`${name.padEnd(7)}${level.padEnd(6)}${headline}${detail ? ` – ${detail}` : ""}`);
  }
  lines.push(`${"data".padEnd(7)}${roundTrip ? `ok    ${ms(roundTrip.rtt)} relay to relay and back` : roundTripError || "not tested"}`);
  for (const probe of probes) {
    lines.push("", `${probe.url || "this device"}  (${ms(probe.elapsed)}${probe.timedOut ? ", stopped waiting" : ""})`);
    for (const { type, address, port, protocol, priority, related, after } of probe.candidates) {
      const behind = related ? `  related ${related}` : "";
      lines.push(`  ${type.padEnd(6)}${protocol.padEnd(4)} ${bracket(address)}:${port}  priority ${priority}  after ${ms(after)}${behind}`);
    }
    for (const failure of probe.failures) lines.push(`  error ${explain(failure)}${failure.local ? `  (from ${failure.local})` : ""}`);
  }
  return lines.join("\n");
}
