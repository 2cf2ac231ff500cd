// What the probes mean, in a sentence an operator can act on. Pure: probes in, words out.

/** @typedef {import("./gather.js").Probe} Probe */
/** @typedef {import("./gather.js").Failure} Failure */
/** @typedef {"wait" | "ok" | "warn" | "bad" | "off"} Level */
/** @typedef {{level: Level, headline: string, detail: string}} Verdict */

/** What each code of an icecandidateerror usually means. @type {Record<number, string>} */
const ADVICE = {
  0: "this browser refuses the URL",
  300: "the server sends clients elsewhere, and this browser did not follow",
  400: "the server could not read the request",
  401: "the relay refused the credential: check that the API and the relay use the same secret, and that the clocks agree",
  403: "the relay forbids this: check its limits for this client",
  437: "the relay does not know the allocation any more",
  438: "the nonce was stale and this browser did not try again",
  441: "the relay saw two different credentials",
  442: "the relay does not offer this transport",
  486: "this user has as many allocations as the relay allows",
  508: "the relay has no free port: widen its port range or raise its limits",
  701: "check that the advertised address is right and that firewalls let the port through",
};

/** Some browsers report no error when nothing ever answers. */
const SILENCE = { code: 701, text: "no answer in time", local: "", after: 0 };

/** @param {Failure} failure */
export function explain(failure) {
  const advice = ADVICE[failure.code] ?? "";
  const code = failure.code === 0 ? "" : `${failure.code} `;
  return [`${code}${failure.text.replace(/\.$/, "")}`.trim(), advice].filter(Boolean).join(" – ");
}

/** The failure to show first: a refusal says more than silence. @param {Failure[]} failures @returns {Failure} */
export function worst(failures) {
  return failures.find(({ code }) => code !== 701) ?? failures[0] ?? SILENCE;
}

/** @param {Probe[]} probes @returns {{host: Verdict, srflx: Verdict, relay: Verdict}} */
export function judge(probes) {
  return {
    host: judgeHost(probes.find(({ kind }) => kind === "host")),
    srflx: judgeSrflx(probes),
    relay: judgeRelay(probes.filter(({ kind }) => kind === "turn")),
  };
}

/** @param {Probe | undefined} probe @returns {Verdict} */
function judgeHost(probe) {
  const udp = probe?.candidates.filter(({ protocol }) => protocol === "udp") ?? [];
  if (udp.some(({ mdns }) => mdns)) {
    return {
      level: "ok",
      headline: `${count(udp.length, "address", "addresses")}, hidden`,
      detail: "Behind .local names (mDNS), as browsers do.",
    };
  }
  if (udp.length > 0) return { level: "ok", headline: count(udp.length, "address", "addresses"), detail: "" };
  if (!probe || probe.running) return { level: "wait", headline: "gathering", detail: "" };
  return { level: "bad", headline: "none", detail: "WebRTC is switched off, or an extension or a policy hides every local address." };
}

/** @param {Probe[]} probes @returns {Verdict} */
function judgeSrflx(probes) {
  const found = probes.flatMap(({ candidates }) => candidates).filter(({ type }) => type === "srflx");
  if (found.length > 0) {
    const first = found.reduce((a, b) => (b.after < a.after ? b : a));
    const addresses = new Set(found.map(({ address }) => address));
    const more = addresses.size > 1 ? ` and ${count(addresses.size - 1, "other", "others")}` : "";
    return { level: "ok", headline: first.address, detail: `The address the server sees${more}, after ${ms(first.after)}.` };
  }
  const stun = probes.filter(({ kind }) => kind === "stun");
  if (stun.length === 0 && probes.length > 0) return { level: "off", headline: "not asked", detail: "The list has no STUN URL." };
  if (stun.length === 0 || stun.some(({ running }) => running)) return { level: "wait", headline: "asking", detail: "" };
  const answered = stun.some(({ failures, timedOut }) => failures.length === 0 && !timedOut);
  if (answered) {
    return {
      level: "ok",
      headline: "same as host",
      detail: "No NAT in between: the server sees the address the browser already has, so the browser adds no candidate.",
    };
  }
  const failure = worst(stun.flatMap(({ failures }) => failures));
  return { level: "bad", headline: "failed", detail: `STUN failed: ${explain(failure)}` };
}

/** @param {Probe[]} probes the TURN ones @returns {Verdict} */
function judgeRelay(probes) {
  if (probes.length === 0) return { level: "off", headline: "not asked", detail: "The list has no TURN URL." };
  const works = probes.filter(relays);
  const failed = probes.filter((probe) => !probe.running && !relays(probe));
  const all = count(probes.length, "URL", "URLs");
  if (works.length === probes.length) {
    const relayed = works.flatMap(({ candidates }) => candidates.filter(({ type }) => type === "relay"));
    const first = Math.min(...relayed.map(({ after }) => after));
    return { level: "ok", headline: "works", detail: `Relay works on ${all}, the first after ${ms(first)}.` };
  }
  const why = explain(worst(failed.flatMap(({ failures }) => failures)));
  if (failed.length === probes.length) return { level: "bad", headline: "failed", detail: `relay failed: ${why}` };
  if (failed.length > 0 && works.length > 0) {
    return { level: "warn", headline: `works on ${works.length} of ${all}`, detail: `${failed[0].url} failed: ${why}` };
  }
  return { level: "wait", headline: "allocating", detail: "" };
}

/** @param {Probe} probe */
export function relays(probe) {
  return probe.candidates.some(({ type }) => type === "relay");
}

/** @param {number} n @param {string} one @param {string} many */
function count(n, one, many) {
  return `${n} ${n === 1 ? one : many}`;
}

/** @param {number} value */
export function ms(value) {
  return value < 10 ? `${value.toFixed(1)} ms` : value < 10_000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`;
}
