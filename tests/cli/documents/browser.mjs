// What a page has and node has not, as far as the scripts of the pages use it.
const { SERVER: server, TOKEN: token } = process.env;
const made = [];
const nodes = fetch;
globalThis.fetch = (url, options) => nodes(url.replace(/^(https:\/\/meet\.example\.org)?(?=\/)/, server), options);

// As https://www.w3.org/TR/webrtc/#dom-rtciceserver has it: what a browser would throw at, this does.
function take({ iceServers }) {
  if (!Array.isArray(iceServers) || iceServers.length === 0) throw new TypeError("iceServers");
  for (const { urls, username, credential } of iceServers) {
    for (const url of [urls].flat()) {
      if (!/^(stun|turn)s?:[^/]+$/.test(url)) throw new SyntaxError(url);
      if (url.startsWith("turn") && (typeof username !== "string" || typeof credential !== "string")) throw new TypeError(url);
    }
  }
  made.push(iceServers);
}
globalThis.RTCPeerConnection = class {
  constructor(configuration) {
    take(configuration);
  }
};
globalThis.Peer = class {
  constructor({ config }) {
    take(config);
  }
};
