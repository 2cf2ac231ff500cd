// Small clients that do on the wire what those of Retcon and edge-net do, where these are in no registry: what they send, what they
// wait for, and where they go wrong. Their WebRTC is left out: a link is open when an offer was answered.
import WebSocket from "ws";

class Client {
  constructor(url) {
    this.told = [];
    this.socket = new WebSocket(url);
    this.socket.on("message", (data) => {
      const frame = JSON.parse(data);
      this.told.push(frame);
      this.hear?.(frame);
    });
    this.closed = new Promise((resolve) => this.socket.on("close", (code, reason) => resolve({ code, reason: String(reason) })));
    this.socket.on("error", () => {});
    this.opened = new Promise((resolve) => this.socket.on("open", resolve));
  }
  say(frame) {
    this.socket.send(JSON.stringify(frame));
  }
  end() {
    this.socket.terminate();
  }
}

/** edge-net's peer: offers to all that it is listed, and to every newcomer with a smaller id; ignores offers of whom it offers to. */
export class Announcer extends Client {
  links = new Map();
  offers = 0;
  constructor(url, id, { announces = true } = {}) {
    super(url);
    this.id = id;
    this.opened.then(() => announces && this.say({ type: "announce", piKey: id, publicKey: "pk", siteId: `site-${id}`, capabilities: ["compute"] }));
  }
  offer(to) {
    if (this.links.has(to)) return;
    this.links.set(to, "offered");
    this.offers += 1;
    this.say({ type: "offer", to, from: this.id, offer: { type: "offer", sdp: "v=0\r\n" } });
  }
  hear(frame) {
    if (frame.type === "peer-list") for (const peer of frame.peers) this.offer(peer.piKey);
    if (frame.type === "peer-joined" && this.id > frame.peerId) this.offer(frame.peerId);
    if (frame.type === "offer" && !this.links.has(frame.from)) {
      this.links.set(frame.from, "open");
      this.say({ type: "answer", to: frame.from, from: this.id, answer: { type: "answer", sdp: "v=0\r\n" } });
    }
    if (frame.type === "answer" && this.links.get(frame.from) === "offered") this.links.set(frame.from, "open");
    if (frame.type === "peer-left") this.links.delete(frame.peerId);
  }
}

/** Retcon's, which authenticates by message: `connect()` resolves with `authenticated`, and nothing else ever settles it. */
export class Authenticator extends Client {
  constructor(url, token, peerId = null) {
    super(url);
    this.authenticated = new Promise((resolve) => (this.resolve = resolve));
    this.opened.then(() => this.say({ type: "auth", token, peerId, metadata: { userAgent: "node", timestamp: Date.now() } }));
  }
  hear(frame) {
    if (frame.type === "authenticated") this.resolve(frame.peerId);
    // As upstream: told that something is wrong, it goes on waiting.
  }
}

/** Whoever waits for the server to speak first: edge-net's registered peer, Retcon's with a token in the query. */
export class Patient extends Client {
  constructor(url) {
    super(url);
    this.welcomed = new Promise((resolve) => (this.hear = (frame) => frame.type === "welcome" && resolve(frame.peerId)));
  }
}

/** edge-net's node at a relay, as its page is: it registers, and never says another word. */
export class Node extends Client {
  constructor(url, nodeId) {
    super(url);
    this.opened.then(() => this.say({ type: "register", nodeId, capabilities: ["compute"], version: "1" }));
  }
}
