// One peer connection kept up by perfect negotiation: either side may offer at any time, and glare heals itself.
//
// Polite is the side with the lexicographically larger id. Each RTCPeerConnection has a random connection id that
// travels with its signals: a peer that reloaded is recognised by a new one, and stale signals are dropped by it.
// Events: `state` {state}, `channel` {channel}, `open` (the chat channel), `chat` {text}, `error` {error}.

/** @typedef {"new" | "connecting" | "connected" | "recovering" | "failed" | "closed"} LinkState */
/** @typedef {{kind: string, data?: any, cid?: string}} Signal */

const DISCONNECTED_PATIENCE_MS = 3_000;
/** A page that closes its end may be about to open another one. */
const RENEWAL_PATIENCE_MS = 2_000;
const MAX_RESTARTS = 3;

export class Link extends EventTarget {
  /** @type {LinkState} */ state = "new";
  /** @type {RTCPeerConnection | null} */ connection = null;
  /** @type {RTCDataChannel | null} */ chat = null;

  #send;
  #configuration;
  #cid = "";
  #remoteCid = "";
  #makingOffer = false;
  #ignoringOffer = false;
  #restarts = 0;
  #timer = 0;
  /** Signals are applied strictly in the order in which they came. */ #queue = Promise.resolve();

  /**
   * @param {{polite: boolean, configuration: RTCConfiguration, send: (signal: Signal) => void}} options
   */
  constructor({ polite, configuration, send }) {
    super();
    this.polite = polite;
    this.#configuration = configuration;
    this.#send = send;
  }

  /** Makes the first offer, unless the other side's was here before. */
  offer() {
    if (!this.connection) this.#openChat(this.#create());
  }

  /** The hub is back: what was said meanwhile went nowhere, so it is said again. */
  resume() {
    const { connection } = this;
    if (!connection) return this.offer();
    this.#restarts = 0;
    if (connection.signalingState === "have-local-offer") this.#sendOffer(connection);
    else if (this.state !== "connected") this.restart();
  }

  /** @param {Signal} signal */
  handle(signal) {
    this.#queue = this.#queue.then(() => this.#apply(signal)).catch((error) => this.#emit("error", { error }));
    return this.#queue;
  }

  /** New servers or another policy. Used from the next gathering on. @param {RTCConfiguration} configuration */
  configure(configuration) {
    this.#configuration = configuration;
    this.connection?.setConfiguration(configuration);
  }

  /** Gathers again and looks for a better or a living path. */
  restart() {
    if (!this.connection) return this.offer();
    if (this.state !== "connected") this.#setState("recovering");
    this.connection.restartIce();
  }

  /**
   * Starts over on a new connection. A policy that got stricter needs it: browsers go on using sockets that are open,
   * even across an ICE restart.
   */
  renew() {
    if (!this.connection) return;
    this.#discard();
    this.offer();
  }

  close() {
    this.#discard();
    this.#setState("closed");
  }

  #create() {
    const connection = new RTCPeerConnection(this.#configuration);
    const cid = randomId();
    this.connection = connection;
    this.#cid = cid;
    this.#setState("connecting");
    connection.onnegotiationneeded = () => this.#negotiate(connection);
    connection.onicecandidate = ({ candidate }) => {
      this.#send(candidate ? { kind: "cand", data: candidate.toJSON(), cid } : { kind: "end", cid });
    };
    connection.onconnectionstatechange = () => this.#follow(connection);
    connection.ondatachannel = ({ channel }) => this.#emit("channel", { channel });
    return connection;
  }

  /** The chat channel has a number both sides know, so it needs no message of its own. @param {RTCPeerConnection} connection */
  #openChat(connection) {
    const chat = connection.createDataChannel("chat", { negotiated: true, id: 0 });
    this.chat = chat;
    chat.onopen = () => this.#emit("open", {});
    chat.onmessage = ({ data }) => { if (typeof data === "string") this.#emit("chat", { text: data }); };
    chat.onclose = () => { if (this.chat === chat && connection.connectionState !== "closed") this.#gone(connection); };
  }

  /** @param {RTCPeerConnection} connection */
  async #negotiate(connection) {
    try {
      this.#makingOffer = true;
      await connection.setLocalDescription();
      this.#sendOffer(connection);
    } catch (error) {
      if (connection.signalingState !== "closed") this.#emit("error", { error });
    } finally {
      this.#makingOffer = false;
    }
  }

  /** @param {RTCPeerConnection} connection */
  #sendOffer(connection) {
    this.#send({ kind: "offer", data: connection.localDescription?.toJSON(), cid: this.#cid });
  }

  /** @param {Signal} signal */
  async #apply({ kind, data, cid = "" }) {
    if (kind === "bye") return this.close();
    if (kind === "offer" && this.#remoteCid && cid !== this.#remoteCid) this.#discard();
    if (kind === "offer") return this.#applyOffer(data, cid);
    const connection = this.connection;
    if (!connection) return;
    if (this.#remoteCid && cid !== this.#remoteCid) {
      // Our offer met a page that has forgotten the connection it was meant to renew.
      if (kind === "answer" && data.re === this.#cid) this.renew();
      return;
    }
    if (kind === "answer" && connection.signalingState === "have-local-offer" && (data.re ?? this.#cid) === this.#cid) {
      this.#remoteCid = cid;
      await connection.setRemoteDescription(data);
    } else if ((kind === "cand" || kind === "end") && connection.remoteDescription) {
      // Candidates of an offer that we ignored belong to no description that we have.
      await connection.addIceCandidate(kind === "end" ? undefined : data).catch((error) => {
        if (!this.#ignoringOffer) throw error;
      });
    }
  }

  /** @param {RTCSessionDescriptionInit} offer @param {string} cid */
  async #applyOffer(offer, cid) {
    const first = !this.connection;
    const connection = this.connection ?? this.#create();
    const collision = this.#makingOffer || connection.signalingState !== "stable";
    this.#ignoringOffer = !this.polite && collision;
    if (this.#ignoringOffer) return;
    this.#remoteCid = cid;
    await connection.setRemoteDescription(offer);
    // Only now: created before the offer is applied, the channel would ask for an offer of our own.
    if (first) this.#openChat(connection);
    await connection.setLocalDescription();
    // `re`: an answer that comes late must not be taken for the answer to a later offer.
    this.#send({ kind: "answer", data: { ...connection.localDescription?.toJSON(), re: cid }, cid: this.#cid });
  }

  /** @param {RTCPeerConnection} connection */
  #follow(connection) {
    if (connection !== this.connection) return;
    clearTimeout(this.#timer);
    switch (connection.connectionState) {
      case "connected":
        this.#restarts = 0;
        return this.#setState("connected");
      case "disconnected":
        this.#setState("recovering");
        return this.#restartAfter(DISCONNECTED_PATIENCE_MS);
      case "failed":
        if (this.#restarts >= MAX_RESTARTS) return this.#setState("failed");
        this.#setState("recovering");
        return this.#restartAfter(0);
    }
  }

  /** One side goes first, so that usually only one restarts. @param {number} wait */
  #restartAfter(wait) {
    const turn = this.polite ? 2_000 : 0;
    this.#timer = setTimeout(() => this.restart(), wait + turn + 1_000 * (2 ** this.#restarts++ - 1));
  }

  /** The other page closed its end: nothing will come on this connection any more. @param {RTCPeerConnection} connection */
  #gone(connection) {
    setTimeout(() => { if (connection === this.connection) this.close(); }, RENEWAL_PATIENCE_MS);
  }

  #discard() {
    clearTimeout(this.#timer);
    const connection = this.connection;
    this.connection = this.chat = null;
    this.#remoteCid = this.#cid = "";
    this.#restarts = 0;
    if (!connection) return;
    connection.onnegotiationneeded = connection.onicecandidate = connection.onconnectionstatechange = null;
    connection.close();
  }

  /** @param {LinkState} state */
  #setState(state) {
    if (this.state === state) return;
    this.state = state;
    this.#emit("state", { state });
  }

  /** @param {string} type @param {object} detail */
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** 64 random bits. `crypto.randomUUID` is missing on pages without TLS. */
export function randomId() {
  return [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
