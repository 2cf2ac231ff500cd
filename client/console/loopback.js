// Two connections of this very page, joined through the relay alone: does data pass, how fast, how far away is it?

import { kindOf, listUrls } from "./gather.js";

/**
 * @typedef {object} RoundTrip
 * @property {number} setup  ms from the first offer to an open channel
 * @property {number} rtt    ms, median of the pings; each crosses the relay four times
 * @property {number} rate   bit/s of payload in one direction
 */

const PINGS = 11;
const BURST_BYTES = 1 << 20;
const CHUNK = new Uint8Array(16 * 1024);
const PATIENCE_MS = 20_000;

/** @param {RTCIceServer[]} servers @returns {Promise<RoundTrip | null>} null when the list has no TURN URL */
export async function throughRelay(servers) {
  const iceServers = servers.filter((server) => listUrls([server]).some(({ url }) => kindOf(url) === "turn"));
  if (iceServers.length === 0) return null;
  const near = new RTCPeerConnection({ iceServers, iceTransportPolicy: "relay" });
  const far = new RTCPeerConnection({ iceServers, iceTransportPolicy: "relay" });
  const gaveUp = new AbortController();
  const timer = setTimeout(() => gaveUp.abort(new Error("no data came through the relay in time")), PATIENCE_MS);
  const failed = new Promise((_, reject) => {
    gaveUp.signal.addEventListener("abort", () => reject(gaveUp.signal.reason));
    near.addEventListener("connectionstatechange", () => {
      if (near.connectionState === "failed") reject(new Error("no pair of relayed addresses could connect"));
    });
  });
  try {
    return await Promise.race([measure(near, far), failed]);
  } finally {
    clearTimeout(timer);
    near.close();
    far.close();
  }
}

/** @param {RTCPeerConnection} near @param {RTCPeerConnection} far @returns {Promise<RoundTrip>} */
async function measure(near, far) {
  const started = performance.now();
  trickle(near, far);
  trickle(far, near);
  const channel = near.createDataChannel("loopback");
  channel.binaryType = "arraybuffer";
  echoFrom(far);
  await near.setLocalDescription(await near.createOffer());
  await far.setRemoteDescription(/** @type {RTCSessionDescription} */ (near.localDescription));
  await far.setLocalDescription(await far.createAnswer());
  await near.setRemoteDescription(/** @type {RTCSessionDescription} */ (far.localDescription));
  await event(channel, "open");
  const setup = performance.now() - started;

  const times = [];
  for (let i = 0; i < PINGS; i++) {
    const sent = performance.now();
    channel.send("ping");
    await event(channel, "message");
    times.push(performance.now() - sent);
  }
  const rtt = times.sort((a, b) => a - b)[PINGS >> 1];

  const sent = performance.now();
  for (let bytes = 0; bytes < BURST_BYTES; bytes += CHUNK.length) channel.send(CHUNK);
  channel.send("ping");
  await event(channel, "message");
  return { setup, rtt, rate: (BURST_BYTES * 8000) / (performance.now() - sent) };
}

/** Answers text, swallows bytes. @param {RTCPeerConnection} connection */
function echoFrom(connection) {
  connection.addEventListener("datachannel", ({ channel }) => {
    channel.addEventListener("message", ({ data }) => {
      if (typeof data === "string") channel.send(data);
    });
  });
}

/** Candidates wait until the other side has the description they belong to. @param {RTCPeerConnection} from @param {RTCPeerConnection} to */
function trickle(from, to) {
  from.addEventListener("icecandidate", async ({ candidate }) => {
    if (to.signalingState !== "closed" && !to.remoteDescription) await event(to, "signalingstatechange");
    if (to.signalingState !== "closed") await to.addIceCandidate(candidate ?? undefined).catch(() => {});
  });
}

/** @param {EventTarget} target @param {string} type @returns {Promise<Event>} */
function event(target, type) {
  return new Promise((resolve) => target.addEventListener(type, resolve, { once: true }));
}
