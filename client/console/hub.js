// The native protocol (`meetpoint.v1.json`), client side: one WebSocket that comes back by itself.
//
// It knows nothing of peer connections, so losing the socket cannot end one. Events (all CustomEvents):
// `state` {state, detail, retryIn}, `welcome` {peer, resumed}, and each server message by its own type:
// `joined`, `peer`, `sig`, `msg`, `room`, `ice`, `drain`.

const SUBPROTOCOL = "meetpoint.v1.json";
const BACKOFF_FIRST_MS = 500;
const BACKOFF_CEILING_MS = 30_000;
/** How long a probe may stay unanswered before the socket counts as dead. */
const PONG_PATIENCE_MS = 8_000;
const REQUEST_PATIENCE_MS = 15_000;
const ACK_EVERY_MESSAGES = 32;
const ACK_EVERY_MS = 5_000;

/** What the hub numbers. A `joined` tells the newest number, and is none itself. */
const EVENTS = new Set(["peer", "sig", "msg", "room"]);

const NORMAL = 1000;
/** 40xx: come back. 41xx: stop. 4102 (expired): come back once, with a new token. */
const FIRST_STOP_CODE = 4100;
const EXPIRED = 4102;

/** An `err` answer. */
export class HubError extends Error {
  /** @param {string} code @param {string} message */
  constructor(code, message) {
    super(message || code);
    this.name = "HubError";
    this.code = code;
  }
}

/** @typedef {"idle" | "connecting" | "open" | "waiting" | "stopped"} HubState */

export class Hub extends EventTarget {
  /** @type {HubState} */ state = "idle";
  /** Own id, once welcomed. */ peer = "";

  /** @type {WebSocket | null} */ #socket = null;
  /** @type {{sid: string, key: string} | null} */ #session = null;
  #seq = 0;
  #acked = 0;
  /** Whether the hub keeps sessions. If not, the session's key still lets a new socket take the old one's place. */
  #resumes = false;
  #attempt = 0;
  #retriedExpired = false;
  #nextId = 1;
  /** @type {Map<number, {resolve: (m: any) => void, reject: (e: Error) => void}>} */ #pending = new Map();
  /** Rooms to be in, with their join options. @type {Map<string, object>} */ #rooms = new Map();
  /** @type {[min: number, max: number] | null} */ #comeBackIn = null;
  /** The last fatal `err`: a close code alone says too little. */ #lastError = "";
  #retryTimer = 0;
  #pongTimer = 0;
  #heartbeat = 0;

  /** @param {{url: string, token: () => string, meta: object}} options */
  constructor({ url, token, meta }) {
    super();
    this.options = { url, token, meta };
    const recheck = () => { if (!document.hidden) this.#recheck(); };
    window.addEventListener("online", recheck);
    document.addEventListener("visibilitychange", recheck);
    setInterval(() => this.#acknowledge(), ACK_EVERY_MS);
  }

  /** Connects, unless it does already. Resolves with the first welcome, rejects when the hub says stop. */
  open() {
    if (this.state === "open") return Promise.resolve();
    if (this.state === "idle" || this.state === "stopped") this.#connect();
    return new Promise((resolve, reject) => {
      const settle = () => {
        if (this.state !== "open" && this.state !== "stopped") return;
        this.removeEventListener("state", settle);
        this.state === "open" ? resolve(undefined) : reject(new HubError("stopped", this.#lastError));
      };
      this.addEventListener("state", settle);
    });
  }

  /** Says bye and stays away. */
  close() {
    this.send({ t: "bye" });
    this.#session = null;
    this.#rooms.clear();
    this.#lose(NORMAL, "", "idle");
  }

  /** @param {string} room @param {object} [options] */
  async join(room, options = {}) {
    await this.open();
    this.#rooms.set(room, options);
    return this.request({ t: "join", room, ...options });
  }

  /** @param {string} room */
  leave(room) {
    this.#rooms.delete(room);
    return this.state === "open" ? this.request({ t: "leave", room }) : Promise.resolve();
  }

  /** @param {{t: string, [field: string]: unknown}} message @returns {boolean} whether there was a socket to take it */
  send(message) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  /** Sends with a number and waits for the answer that carries it. @param {{t: string}} message @returns {Promise<any>} */
  request(message) {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => settle(reject)(new HubError("timeout", "the hub did not answer")), REQUEST_PATIENCE_MS);
      const settle = (/** @type {(v: any) => void} */ then) => (/** @type {any} */ value) => {
        clearTimeout(timer);
        this.#pending.delete(id);
        then(value);
      };
      this.#pending.set(id, { resolve: settle(resolve), reject: settle(reject) });
      if (!this.send({ ...message, id })) settle(reject)(new HubError("offline", "not connected to the hub"));
    });
  }

  #connect() {
    clearTimeout(this.#retryTimer);
    this.#setState("connecting");
    const socket = new WebSocket(this.options.url, SUBPROTOCOL);
    this.#socket = socket;
    socket.onopen = () => {
      const { token, meta } = this.options;
      const resume = this.#session ? { ...this.#session, seq: this.#seq } : undefined;
      this.send({ t: "hello", v: [1], token: token() || undefined, peer: this.peer || undefined, resume, meta, caps: ["resume"] });
    };
    socket.onmessage = ({ data }) => this.#receive(JSON.parse(data));
    // `error` says nothing that the `close` after it does not.
    socket.onclose = ({ code, reason }) => { if (this.#socket === socket) this.#closed(code, reason); };
  }

  /** @param {any} message */
  #receive(message) {
    clearTimeout(this.#pongTimer);
    if (EVENTS.has(message.t) && !this.#isNew(message.seq)) return;
    if (message.t === "welcome") return this.#welcomed(message);
    if (message.t === "err" && message.fatal) {
      this.#lastError = `${message.msg ?? ""} (${message.code})`;
      if (message.retry) this.#comeBackIn = [message.retry, message.retry * 1.5];
    }
    if (message.t === "drain") this.#comeBackIn = message.after ?? null;
    const waiting = this.#pending.get(message.id);
    if (waiting) message.t === "err" ? waiting.reject(new HubError(message.code, message.msg)) : waiting.resolve(message);
    this.dispatchEvent(new CustomEvent(message.t, { detail: message }));
  }

  /** @param {any} welcome */
  #welcomed(welcome) {
    this.#session = { sid: welcome.sid, key: welcome.key };
    this.peer = welcome.peer;
    this.#resumes = (welcome.caps ?? []).includes("resume");
    if (!welcome.resumed) this.#seq = this.#acked = 0;
    this.#attempt = 0;
    this.#retriedExpired = false;
    this.#comeBackIn = null;
    clearInterval(this.#heartbeat);
    // The hub pings by itself, but a page cannot see those: this one is how *we* notice a dead path.
    this.#heartbeat = setInterval(() => this.#probe(), welcome.hb?.ping ?? 25_000);
    this.dispatchEvent(new CustomEvent("welcome", { detail: welcome }));
    if (welcome.ice) this.dispatchEvent(new CustomEvent("ice", { detail: welcome.ice }));
    this.#setState("open");
    if (welcome.resumed) return;
    for (const [room, options] of this.#rooms) this.request({ t: "join", room, ...options }).catch(() => {});
  }

  /** @param {number} code @param {string} reason */
  #closed(code, reason) {
    const expired = code === EXPIRED && !this.#retriedExpired;
    if (code >= FIRST_STOP_CODE && code < 4200 && !expired) {
      this.#session = null;
      return this.#lose(code, this.#lastError || reason || `closed with ${code}`, "stopped");
    }
    this.#retriedExpired ||= expired;
    this.#lose(code, reason || (code === 1006 ? "the connection was lost" : `closed with ${code}`), "waiting");
    // Full jitter: a restarted server gets its clients back spread out, not all at once.
    const ceiling = Math.min(BACKOFF_CEILING_MS, BACKOFF_FIRST_MS * 2 ** this.#attempt++);
    const [min, max] = this.#comeBackIn ?? [0, ceiling];
    const wait = min + Math.random() * (max - min);
    this.#comeBackIn = null;
    this.#retryTimer = setTimeout(() => this.#connect(), wait);
    this.dispatchEvent(new CustomEvent("retry", { detail: { wait } }));
  }

  /** @param {number} code @param {string} detail @param {HubState} next */
  #lose(code, detail, next) {
    const socket = this.#socket;
    this.#socket = null;
    clearInterval(this.#heartbeat);
    clearTimeout(this.#pongTimer);
    clearTimeout(this.#retryTimer);
    if (socket && socket.readyState <= WebSocket.OPEN) socket.close(code === NORMAL ? NORMAL : undefined);
    for (const { reject } of [...this.#pending.values()]) reject(new HubError("offline", detail));
    this.#lastError = detail;
    this.#setState(next, detail);
  }

  /** After a resume the hub may repeat what we already had. @param {number} seq */
  #isNew(seq) {
    if (seq <= this.#seq) return false;
    this.#seq = seq;
    if (seq - this.#acked >= ACK_EVERY_MESSAGES) this.#acknowledge();
    return true;
  }

  #acknowledge() {
    if (this.#resumes && this.#seq > this.#acked && this.send({ t: "ack", seq: this.#seq })) this.#acked = this.#seq;
  }

  /** Any message within the time is an answer. */
  #probe() {
    clearTimeout(this.#pongTimer);
    if (!this.send({ t: "ping", n: Date.now() % 1e9 })) return;
    this.#pongTimer = setTimeout(() => this.#closed(1006, "the hub stopped answering"), PONG_PATIENCE_MS);
  }

  /** The network or the tab came back: do not wait for a timer to find out. */
  #recheck() {
    if (this.state === "waiting") this.#connect();
    else if (this.state === "open") this.#probe();
  }

  /** @param {HubState} state */
  #setState(state, detail = "") {
    this.state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: { state, detail } }));
  }
}
