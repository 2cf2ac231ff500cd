// Questions to a peer and answers to them, over the same stream as messages.

import { MeetpointError, Peer, Room } from "./index.js";

declare module "./link.js" {
  interface Peer {
    /** Asks the other side's {@link Room.handle}. Rejects with `timeout` (after 10 s by default), `aborted`, `closed` or `remote`. */
    request(data: unknown, options?: RequestOptions): Promise<any>;
  }
}
declare module "./room.js" {
  interface Room {
    /** Answers the requests of all peers. */
    handle(handler: Handler): void;
  }
}

export interface RequestOptions {
  /** Milliseconds. */
  timeout?: number;
  signal?: AbortSignal;
}

/** Answers a request; what it returns or resolves to is sent back. */
export type Handler = (data: any, peer: Peer) => unknown;

const REQUEST = 2;
const REPLY = 3;

/** `d` or, where it failed, `e`. */
interface Reply {
  r: number;
  d?: any;
  e?: string;
}

const handlers = new WeakMap<Room, Handler>();
/** By peer and number: nobody answers for somebody else. */
const waiting = new WeakMap<Peer, Map<number, (reply: Reply) => void>>();
let number = 0;

const post = async (peer: Peer, kind: number, message: object) => peer.post(kind, new TextEncoder().encode(JSON.stringify(message)));

Peer.prototype.request = function (this: Peer, data, { timeout = 10_000, signal } = {}) {
  const r = ++number;
  let mine = waiting.get(this);
  if (!mine) waiting.set(this, (mine = new Map()));
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      off();
      mine.delete(r);
    };
    const fail = (error: Error) => (end(), reject(error));
    const abort = () => fail(new MeetpointError("aborted"));
    const timer = setTimeout(() => fail(new MeetpointError("timeout")), timeout);
    const off = this.on("state", (state) => state === "closed" && fail(new MeetpointError("closed")));
    signal?.addEventListener("abort", abort);
    if (signal?.aborted) return abort();
    mine.set(r, ({ d, e }) => (e === undefined ? (end(), resolve(d)) : fail(new MeetpointError("remote", e))));
    post(this, REQUEST, { r, d: data }).catch(fail);
  });
};

Room.prototype.handle = function (this: Room, handler) {
  handlers.set(this, handler);
};

async function answer(peer: Peer, { r, d }: Reply): Promise<void> {
  let reply: Reply;
  try {
    const handler = handlers.get(peer.room);
    if (!handler) throw new Error("nobody answers requests");
    reply = { r, d: await handler(d, peer) };
  } catch (error) {
    reply = { r, e: String((error as Error)?.message ?? error) };
  }
  await post(peer, REPLY, reply);
}

/** Bytes that are no JSON end as the error that they are, on the peer. */
function extend(kind: number, take: (peer: Peer, message: Reply) => unknown): void {
  Peer.extend(kind, async (peer, bytes) => {
    try {
      await take(peer, JSON.parse(new TextDecoder().decode(bytes)));
    } catch (error) {
      peer.emit("error", error as Error);
    }
  });
}

extend(REQUEST, answer);
extend(REPLY, (peer, reply) => waiting.get(peer)?.get(reply.r)?.(reply));
