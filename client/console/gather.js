// Gathers candidates, one RTCPeerConnection per URL, so that each URL is judged and timed by itself.

/**
 * @typedef {object} Candidate
 * @property {"host" | "srflx" | "prflx" | "relay"} type
 * @property {string} address
 * @property {number} port
 * @property {string} protocol         between this browser and the peer: "udp" or "tcp"
 * @property {string | null} relayProtocol  between this browser and the TURN server, where the browser tells
 * @property {string | null} related   the address behind it (for srflx: the local one; for relay: the mapped one)
 * @property {number} priority
 * @property {boolean} mdns            the address is a random name that hides a local address
 * @property {number} after            ms from the start of gathering
 *
 * @typedef {{code: number, text: string, local: string, after: number}} Failure  one icecandidateerror event
 *
 * @typedef {object} Probe
 * @property {string} url              the one URL asked, "" for the probe without servers
 * @property {"host" | "stun" | "turn"} kind
 * @property {boolean} running
 * @property {boolean} timedOut        gathering had not completed when we stopped waiting
 * @property {number} elapsed          ms until gathering was complete
 * @property {Candidate[]} candidates  of this probe's own kind; host candidates only in the host probe
 * @property {Failure[]} failures
 */

/** Browsers give up on a silent server after about ten seconds. */
const PATIENCE_MS = 15_000;

/** @param {RTCIceServer[]} servers @returns {{url: string, server: RTCIceServer}[]} */
export function listUrls(servers) {
  return servers.flatMap((server) => [server.urls].flat().map((url) => ({ url, server })));
}

/** @param {string} url @returns {Probe["kind"]} */
export function kindOf(url) {
  if (url === "") return "host";
  return /^turns?:/i.test(url) ? "turn" : "stun";
}

/**
 * @param {RTCIceServer[]} servers
 * @param {(probes: Probe[]) => void} onChange  called whenever something was found
 * @returns {Promise<Probe[]>} when every probe is complete
 */
export async function gather(servers, onChange) {
  const asked = [{ url: "", server: null }, ...listUrls(servers)];
  const probes = asked.map(({ url }) => newProbe(url));
  onChange(probes);
  await Promise.all(asked.map(({ url, server }, i) => {
    const iceServers = server ? [{ ...server, urls: [url] }] : [];
    return run(probes[i], iceServers, () => onChange(probes));
  }));
  return probes;
}

/** @param {string} url @returns {Probe} */
function newProbe(url) {
  return { url, kind: kindOf(url), running: true, timedOut: false, elapsed: 0, candidates: [], failures: [] };
}

/** @param {Probe} probe @param {RTCIceServer[]} iceServers @param {() => void} changed */
async function run(probe, iceServers, changed) {
  const started = performance.now();
  const since = () => performance.now() - started;
  /** @type {RTCPeerConnection | undefined} */
  let connection;
  try {
    connection = new RTCPeerConnection({ iceServers });
    connection.addEventListener("icecandidate", ({ candidate }) => {
      if (!candidate?.candidate) return;
      const found = describe(candidate, since());
      if (probe.kind !== "host" && found.type === "host") return;
      probe.candidates.push(found);
      changed();
    });
    connection.addEventListener("icecandidateerror", (event) => {
      probe.failures.push(failure(event, since()));
      changed();
    });
    connection.createDataChannel("probe");
    const complete = completion(connection);
    await connection.setLocalDescription(await connection.createOffer());
    probe.timedOut = !(await complete);
  } catch (error) {
    // A URL the browser cannot even parse throws here, and is worth reading.
    probe.failures.push({ code: 0, text: String(error instanceof Error ? error.message : error), local: "", after: since() });
  } finally {
    connection?.close();
  }
  probe.elapsed = since();
  probe.running = false;
  changed();
}

/** @param {RTCPeerConnection} connection @returns {Promise<boolean>} false when it did not complete in time */
function completion(connection) {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), PATIENCE_MS);
    connection.addEventListener("icegatheringstatechange", () => {
      if (connection.iceGatheringState !== "complete") return;
      clearTimeout(timer);
      resolve(true);
    });
  });
}

/** @param {RTCIceCandidate} candidate @param {number} after @returns {Candidate} */
function describe(candidate, after) {
  const address = candidate.address ?? candidate.candidate.split(" ")[4];
  const { relatedAddress, relatedPort } = candidate;
  return {
    type: candidate.type ?? "host",
    address,
    port: candidate.port ?? 0,
    protocol: candidate.protocol ?? "udp",
    relayProtocol: /** @type {any} */ (candidate).relayProtocol ?? null,
    related: relatedAddress && relatedPort ? `${bracket(relatedAddress)}:${relatedPort}` : null,
    priority: candidate.priority ?? 0,
    mdns: address.endsWith(".local"),
    after,
  };
}

/** @param {RTCPeerConnectionIceErrorEvent} event @param {number} after @returns {Failure} */
function failure(event, after) {
  const local = event.address ? `${bracket(event.address)}:${event.port ?? 0}` : "";
  return { code: event.errorCode, text: event.errorText, local, after };
}

/** IPv6 addresses in brackets, as RFC 3986 §3.2.2 writes them before a port. @param {string} address */
export function bracket(address) {
  return address.includes(":") && !address.startsWith("[") ? `[${address}]` : address;
}
