// The HTTP API as the page sees it.

/**
 * @typedef {object} IceList
 * @property {RTCIceServer[]} servers  ready for `new RTCPeerConnection({ iceServers })`
 * @property {number | null} expires   when the credential ends, in ms of this page's own clock (`performance.now()`);
 *                                     counted from `ttl`, so a wrong wall clock on either side does not matter
 */

/** A request that was answered with an error, or not at all. `status` is 0 when no answer came. */
export class ApiError extends Error {
  /** @param {number} status @param {string} message */
  constructor(status, message) {
    super(message);
    this.name = "ApiError";
    this.status = status;
  }
}

/** @type {Record<number, string>} */
const MEANING = {
  0: "the server did not answer: is it running, and is this page still served by it?",
  401: "the server asks for a token",
  403: "the token does not allow TURN credentials",
  429: "too many requests from this address: try again in a moment",
};

/**
 * @param {string} path  relative to the page, so that a proxy may serve everything under a prefix
 * @param {string} token  bearer token, or "" for none
 */
async function fetchJson(path, token) {
  const headers = token ? { authorization: `Bearer ${token}` } : undefined;
  /** @type {Response} */
  let response;
  try {
    response = await fetch(new URL(path, document.baseURI), { headers, cache: "no-store" });
  } catch {
    throw new ApiError(0, MEANING[0]);
  }
  if (!response.ok) {
    throw new ApiError(response.status, MEANING[response.status] ?? `the server answered ${response.status}`);
  }
  try {
    return await response.json();
  } catch {
    throw new ApiError(response.status, "the answer is not JSON: does a proxy stand in between?");
  }
}

/** @param {string} token @returns {Promise<IceList>} */
export async function fetchIceServers(token) {
  const asked = performance.now();
  const body = await fetchJson("api/ice-servers", token);
  return { servers: body.iceServers ?? [], expires: body.ttl ? asked + body.ttl * 1000 : null };
}

/** The WebSocket URL of the hub, beside this page. */
export function hubUrl() {
  const url = new URL("signaling", document.baseURI);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.hash = "";
  return url.href;
}
