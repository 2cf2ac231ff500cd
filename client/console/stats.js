// What a connection runs over right now, out of getStats().

/**
 * @typedef {object} End
 * @property {string} type      "host", "srflx", "prflx" or "relay"
 * @property {string} address   "" where the browser hides it
 * @property {number} port
 * @property {string} protocol  "udp" or "tcp"; for a relay, between browser and relay
 *
 * @typedef {object} Path
 * @property {End} local
 * @property {End} remote
 * @property {boolean} relayed   at least one end is a relay
 * @property {number | null} rtt  ms
 * @property {number} sent        bytes
 * @property {number} received    bytes
 * @property {number} up          bit/s since the last sample
 * @property {number} down        bit/s since the last sample
 */

/** Samples one connection; keeps the last counters for the rates. */
export class PathSampler {
  #last = { at: 0, pair: "", sent: 0, received: 0 };

  /** @param {RTCPeerConnection} connection @returns {Promise<Path | null>} null while no pair is selected */
  async sample(connection) {
    const report = await connection.getStats();
    const pair = selectedPair(report);
    if (!pair) return null;
    const local = end(report.get(pair.localCandidateId));
    const remote = end(report.get(pair.remoteCandidateId));
    const now = { at: performance.now(), pair: pair.id, sent: pair.bytesSent ?? 0, received: pair.bytesReceived ?? 0 };
    const last = this.#last.pair === now.pair ? this.#last : now;
    this.#last = now;
    const seconds = (now.at - last.at) / 1000;
    const rate = (/** @type {number} */ bytes) => (seconds > 0 ? Math.max(0, (bytes * 8) / seconds) : 0);
    return {
      local,
      remote,
      relayed: local.type === "relay" || remote.type === "relay",
      rtt: typeof pair.currentRoundTripTime === "number" ? pair.currentRoundTripTime * 1000 : null,
      sent: now.sent,
      received: now.received,
      up: rate(now.sent - last.sent),
      down: rate(now.received - last.received),
    };
  }
}

/** @param {RTCStatsReport} report @returns {any} */
function selectedPair(report) {
  for (const entry of report.values()) {
    if (entry.type === "transport" && entry.selectedCandidatePairId) return report.get(entry.selectedCandidatePairId);
  }
  // Firefox marks the pair itself.
  for (const entry of report.values()) {
    if (entry.type === "candidate-pair" && (entry.selected || (entry.nominated && entry.state === "succeeded"))) return entry;
  }
  return null;
}

/** @param {any} candidate @returns {End} */
function end(candidate) {
  return {
    type: candidate?.candidateType ?? "?",
    address: candidate?.address ?? candidate?.ip ?? "",
    port: candidate?.port ?? 0,
    protocol: candidate?.relayProtocol ?? candidate?.protocol ?? "udp",
  };
}
