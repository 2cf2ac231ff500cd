// One WebSocket to the hub that comes back by itself, and the session that outlives it.
//
// It knows nothing of rooms and peer connections: losing it can end none. Liveness needs no timer of ours: the server pings,
// and the browser answers below the page. Our own pings only find out early that a path is dead.

import { concat, ofUtf8, utf8 } from "./frames.js";
import { type ConnectOptions, type Frame, MeetpointError, refusal } from "./types.js";

/** `waiting`: for the next attempt. `stopped`: the server said that trying again is no use. */
export type SocketState = "connecting" | "open" | "waiting" | "stopped" | "closed";

export interface SocketHooks {
  state(state: SocketState, detail: string, retryIn?: number): void;
  welcome(frame: Frame): void;
  frame(frame: Frame): void;
}

declare const __VERSION__: string;

const FIRST_BACKOFF = 500;
const MAX_BACKOFF = 30_000;
/** For the welcome, and for the answer to a ping. */
const PATIENCE = 8_000;
const LATE = 1_000;
const REQUEST_PATIENCE = 15_000;
const ACK_EVENTS = 32;
const ACK_AFTER = 5_000;
const EXPIRED = 4102;
const NO_ANSWER = "no answer";

function binary(data: ArrayBuffer): Frame {
  const start = 4 + new DataView(data).getUint16(2);
  const head = JSON.parse(ofUtf8(new Uint8Array(data, 4, start - 4)));
  return { ...head, t: "msg", bin: new Uint8Array(data, start) };
}

export class Socket {
  state: SocketState = "closed";
  peer: string | undefined;
  caps: string[] = [];

  #ws: any;
  #session: { sid: string; key: string } | undefined;
  #seq = 0;
  #acked = 0;
  #ackTimer: any;
  #timer: any;
  #patience: any;
  #drain: any;
  #pulse: any;
  #attempt = 0;
  #renewed = false;
  /** The server's word on the pause before the next attempt. */ #retry = 0;
  #said = "";
  #nextId = 1;
  #pending = new Map<number, { resolve(frame: Frame): void; reject(error: Error): void }>();
  #current: string;
  /** A socket we gave up. A close frame on it would end the session that we come back for. */ #old: any;

  constructor(readonly url: string, readonly options: ConnectOptions, readonly hooks: SocketHooks) {
    this.peer = options.peer;
    this.#current = url;
    globalThis.addEventListener?.("online", this.#recheck);
    globalThis.document?.addEventListener("visibilitychange", this.#recheck);
  }

  /** Connects now, whatever was planned. */
  async open(): Promise<void> {
    this.#drop();
    clearTimeout(this.#drain);
    this.#drain = 0;
    this.#set("connecting");
    const turn = (this.#ws = {});
    // The whole way to the welcome: a socket that never opens says nothing for minutes.
    this.#patience = setTimeout(() => this.#lost(1006, NO_ANSWER), PATIENCE);
    try {
      const { token: given, WebSocket: Injected } = this.options;
      const token = typeof given === "function" ? await given() : given;
      if (this.#ws !== turn) return;
      const ws = (this.#ws = new (Injected ?? WebSocket)(this.#current, "meetpoint.v1.json"));
      ws.binaryType = "arraybuffer";
      ws.onopen = () =>
        this.send({
          t: "hello", v: [1], id: 0, token, peer: this.peer, meta: this.options.meta, caps: ["bin", "relay", "resume"],
          resume: this.#session && { ...this.#session, seq: this.#seq }, sdk: `meetpoint-js/${__VERSION__}`,
        });
      ws.onmessage = ({ data }: MessageEvent) => this.#ws === ws && this.#receive(data);
      ws.onerror = () => {};
      ws.onclose = ({ code, reason }: CloseEvent) => this.#ws === ws && this.#lost(code, reason);
    } catch (error) {
      if (this.#ws === turn) this.#lost(1006, String(error));
    }
  }

  /** Says bye and stays away. */
  close(): void {
    this.send({ t: "bye" });
    this.#drop();
    this.#old?.close();
    clearTimeout(this.#drain);
    globalThis.removeEventListener?.("online", this.#recheck);
    globalThis.document?.removeEventListener("visibilitychange", this.#recheck);
    this.#set("closed");
  }

  /** Sends as text, or with `bin` as a binary frame: version, flags, length of the header, header, bytes. @returns whether there was an open socket to take it */
  send({ bin, ...message }: Frame): boolean {
    if (this.#ws?.readyState !== 1) return false;
    const head = JSON.stringify(message);
    const bytes = bin && utf8(head);
    this.#ws.send(bin ? concat([1, 0, bytes.length >> 8, bytes.length & 255], bytes, bin) : head);
    return true;
  }

  /** Sends with a number, and waits for the answer that carries it. */
  request(message: Frame): Promise<Frame> {
    const id = this.#nextId++;
    let timer: any;
    return new Promise<Frame>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      timer = setTimeout(() => {
        reject(new MeetpointError("timeout"));
        this.#probe();
      }, REQUEST_PATIENCE);
      if (this.state !== "open" || !this.send({ ...message, id })) reject(new MeetpointError("offline"));
    }).finally(() => {
      clearTimeout(timer);
      this.#pending.delete(id);
    });
  }

  #receive(data: unknown): void {
    const frame: Frame = typeof data === "string" ? JSON.parse(data) : binary(data as ArrayBuffer);
    if (this.state === "open") clearTimeout(this.#patience);
    if (frame.t === "welcome") return this.#welcomed(frame);
    // After a resume the hub may repeat what we have.
    if (frame.seq && frame.t !== "joined" && !this.#isNew(frame.seq)) return;
    const pending = this.#pending.get(frame.id);
    if (frame.t === "err") {
      if (frame.fatal) this.#retry = frame.retry ?? 0;
      if (frame.fatal || !frame.id) this.#said = `${frame.code}: ${frame.msg}`;
      pending?.reject(refusal(frame));
    } else {
      if (frame.t === "drain") this.#leaveLater(frame);
      pending?.resolve(frame);
    }
    this.hooks.frame(frame);
  }

  #welcomed(frame: Frame): void {
    clearTimeout(this.#patience);
    this.#old?.close();
    this.#old = undefined;
    this.#session = { sid: frame.sid, key: frame.key };
    this.peer = frame.peer;
    this.caps = frame.caps ?? [];
    if (!frame.resumed) this.#seq = this.#acked = 0;
    this.#attempt = this.#retry = 0;
    this.#renewed = false;
    this.#said = "";
    // A half-open path shows in nothing else while nobody does anything.
    this.#pulse = setInterval(() => this.#probe(), frame.hb?.ping ?? 25_000);
    this.hooks.welcome(frame);
    this.#set("open");
  }

  #isNew(seq: number): boolean {
    if (seq <= this.#seq) return false;
    this.#seq = seq;
    if (seq - this.#acked >= ACK_EVENTS) this.#acknowledge();
    else this.#ackTimer ||= setTimeout(() => this.#acknowledge(), ACK_AFTER);
    return true;
  }

  #acknowledge(): void {
    clearTimeout(this.#ackTimer);
    this.#ackTimer = 0;
    if (this.#seq > this.#acked && this.caps.includes("resume") && this.send({ t: "ack", seq: this.#seq })) this.#acked = this.#seq;
  }

  #lost(code: number, reason: string): void {
    this.#drop();
    const { token } = this.options;
    const renew = code === EXPIRED && typeof token === "function" && !this.#renewed;
    const detail = this.#said || reason || `${code}`;
    if (code >= 4100 && code < 4200 && !renew) return this.#set("stopped", detail);
    this.#renewed ||= renew;
    // Full jitter: a restarted server gets its clients back spread out, not all at once.
    const wait = renew ? 0 : this.#retry + Math.random() * Math.min(MAX_BACKOFF, FIRST_BACKOFF * 2 ** this.#attempt++);
    // The address that a draining server gave is tried once.
    if (!this.#drain) {
      if (this.#attempt > 1) this.#current = this.url;
      this.#timer = setTimeout(() => this.open(), wait);
    }
    this.#set("waiting", detail, wait);
  }

  /** The server goes away soon: come back in a moment of our own within the time that it names. */
  #leaveLater({ after: [min, max] = [0, 1000], url }: Frame): void {
    if (url) this.#current = url;
    clearTimeout(this.#drain);
    this.#drain = setTimeout(() => this.open(), min + Math.random() * (max - min));
  }

  /** Forgets the socket, whatever it is doing. */
  #drop(): void {
    const ws = this.#ws;
    this.#ws = undefined;
    for (const timer of [this.#timer, this.#patience, this.#ackTimer, this.#pulse]) clearTimeout(timer);
    this.#ackTimer = 0;
    if (ws?.readyState < 2) {
      this.#old?.close();
      this.#old = ws;
    }
    for (const { reject } of this.#pending.values()) reject(new MeetpointError("offline", this.#said));
  }

  /** Any message within the time is an answer. */
  #probe(): void {
    if (this.state !== "open") return;
    clearTimeout(this.#patience);
    this.send({ t: "ping", id: 0, n: 0 });
    const due = Date.now() + PATIENCE;
    // A timer that is late itself says that the page slept: the answer may lie behind it in the queue.
    this.#patience = setTimeout(() => (Date.now() > due + LATE ? this.#probe() : this.#lost(1006, NO_ANSWER)), PATIENCE);
  }

  /** The network or the tab is back: do not wait for a timer. */
  #recheck = (): void => {
    if (globalThis.document?.hidden) return;
    if (this.state === "waiting") void this.open();
    else this.#probe();
  };

  #set(state: SocketState, detail = "", retryIn?: number): void {
    this.state = state;
    this.hooks.state(state, detail, retryIn);
  }
}
