// Files of any size from peer to peer, over the same stream as messages: they survive what messages survive, and even that
// one side's link is closed and made anew.
//
// Sender `offer {id, name, size, type}` → receiver `accept {id, at}` → sender data, in windows that the receiver acknowledges
// (`ack {id, at}`) once it has put them away → sender `end {id, sha}` → receiver `done {id, sha}`. Either side: `stop {id, why}`.
// An offer with an id that the receiver has a part of goes on where that ends.

import { MeetpointError, Peer, Room } from "./index.js";
import { Sha256 } from "./sha256.js";

declare module "./link.js" {
  interface Peer {
    /** Sends a `Blob` or `File`. Resolves when the other side has all of it and the hashes agree. */
    sendFile(blob: Blob, options?: SendOptions): Promise<FileResult>;
  }
}
declare module "./room.js" {
  interface Room {
    /** Called with each file that somebody offers; without a listener files are refused. @returns a function that ends it */
    onFile(listener: (file: IncomingFile) => void): () => void;
  }
}

export interface FileOptions {
  /** Bytes that the other side, or you, have put away. */
  onProgress?: (done: number, size: number) => void;
  signal?: AbortSignal;
  /** How long to wait for a peer that is gone to come back, milliseconds; default 30 000. */
  patience?: number;
}

export interface SendOptions extends FileOptions {
  /** Default: that of a `File`. */
  name?: string;
}

export interface AcceptOptions extends FileOptions {
  /** Where the bytes go as they come, such as `await handle.createWritable()`; closed at the end. Without one they become a `Blob`. */
  sink?: WritableStream<Uint8Array>;
}

export interface FileResult {
  size: number;
  sha256: string;
  /** What was received, where there was no sink. */
  blob?: Blob;
}

/** A file that somebody offers. */
export interface IncomingFile {
  peer: Peer;
  name: string;
  size: number;
  type: string;
  /** Resolves when all of it is there and the hashes agree. */
  accept(options?: AcceptOptions): Promise<FileResult>;
  reject(why?: string): void;
}

const CONTROL = 16;
const DATA = 17;
const PIECE = 64 * 1024 - 4;
const WINDOW = 32 * PIECE;
const ACK_BYTES = 4 * PIECE;
const PATIENCE = 30_000;

/** What one side of a transfer does with what the other side says. */
interface Side {
  peer: Peer;
  hear(message: any): void;
  data?(bytes: Uint8Array): void;
}

const outgoing = new Map<number, Side>();
/** By room, peer and transfer. */
const incoming = new Map<string, Side>();
const listeners = new WeakMap<Room, Set<(file: IncomingFile) => void>>();

const say = (peer: Peer, message: object) => peer.post(CONTROL, new TextEncoder().encode(JSON.stringify(message))).catch(() => {});
const key = (peer: Peer, id: number) => JSON.stringify([peer.room.name, peer.id, id]);

/** The promise of an end, with the ways to it. */
function outcome(signal: AbortSignal | undefined, stop: (why: string) => void) {
  let resolve!: (result: FileResult) => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<FileResult>((...ways) => ([resolve, reject] = ways));
  const fail = (code: string, message?: string, tell = true) => {
    if (tell) stop(code);
    reject(new MeetpointError(code, message));
  };
  const abort = () => fail("aborted");
  signal?.addEventListener("abort", abort);
  promise.catch(() => {}).then(() => signal?.removeEventListener("abort", abort));
  if (signal?.aborted) abort();
  return { promise, resolve, fail };
}

/** Calls `back` with the peer that comes under the same id when `side.peer` has gone, or `lost` when none does. */
function follow(side: Side, patience: number, back: () => void, lost: () => void): () => void {
  const { room } = side.peer;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const offs = [
    room.on("leave", ({ peer }) => { if (peer === side.peer) timer = setTimeout(lost, room.hub.rooms.has(room.name) ? patience : 0); }),
    room.on("peer", (peer) => {
      if (peer.id !== side.peer.id || peer === side.peer) return;
      clearTimeout(timer);
      side.peer = peer;
      back();
    }),
  ];
  return () => (clearTimeout(timer), offs.forEach((off) => off()));
}

Peer.prototype.sendFile = function (this: Peer, blob, { name, onProgress, signal, patience = PATIENCE } = {}) {
  const id = crypto.getRandomValues(new Uint32Array(1))[0]!;
  const hash = new Sha256();
  const { size } = blob;
  let sha256 = "";
  let at = 0;
  let acked = 0;
  let run = 0;
  let wake = () => {};
  const side: Side = { peer: this, hear };
  const { promise, resolve, fail } = outcome(signal, (why) => say(side.peer, { k: "stop", id, why }));
  const offer = () => {
    run++;
    wake();
    void say(side.peer, { k: "offer", id, size, type: blob.type, name: name ?? (blob as File).name ?? "" });
  };

  async function pump(mine: number) {
    for (; at < size; ) {
      while (at - acked >= WINDOW && run === mine) await new Promise<void>((go) => (wake = go));
      const bytes = new Uint8Array(await blob.slice(at, at + PIECE).arrayBuffer());
      if (run !== mine) return;
      // After a resume some of it has been hashed before.
      if (at + bytes.length > hash.length) hash.update(bytes.subarray(hash.length - at));
      const packet = new Uint8Array(4 + bytes.length);
      new DataView(packet.buffer).setUint32(0, id);
      packet.set(bytes, 4);
      at += bytes.length;
      await side.peer.post(DATA, packet);
      if (run !== mine) return;
    }
    sha256 ||= hash.hex();
    void say(side.peer, { k: "end", id, sha: sha256 });
  }

  function hear({ k, at: there, sha, why }: any) {
    if (k === "accept") {
      // Never beyond what was hashed: a resume goes back, not forth.
      at = acked = Math.min(Number(there) || 0, at);
      pump(++run).catch((error) => error.code === "closed" || fail("failed", error.message));
    } else if (k === "ack") {
      acked = Math.min(Math.max(acked, there), at);
      onProgress?.(acked, size);
      wake();
    } else if (k === "done") {
      if (sha === sha256) resolve({ size, sha256 });
      else fail("corrupt");
    } else if (k === "stop") fail(why === "aborted" ? "aborted" : "rejected", String(why), false);
  }

  outgoing.set(id, side);
  const unfollow = follow(side, patience, offer, () => fail("closed"));
  if (!signal?.aborted) offer();
  return promise.finally(() => (run++, wake(), unfollow(), outgoing.delete(id)));
};

Room.prototype.onFile = function (this: Room, listener) {
  let all = listeners.get(this);
  if (!all) listeners.set(this, (all = new Set()));
  all.add(listener);
  return () => void all.delete(listener);
};

function offered(peer: Peer, { id, name, size, type }: any) {
  const all = [...(listeners.get(peer.room) ?? [])];
  const refuse = (why: string) => void say(peer, { k: "stop", id, why });
  if (!all.length || !(Number.isSafeInteger(size) && size >= 0)) return refuse("nobody takes files here");
  const file: IncomingFile = {
    peer, size, name: String(name).slice(0, 255), type: String(type),
    accept: (options) => receive(file, id, options),
    reject: refuse,
  };
  for (const listener of all) listener(file);
}

function receive(file: IncomingFile, id: number, { sink, onProgress, signal, patience = PATIENCE }: AcceptOptions = {}): Promise<FileResult> {
  const { size, type } = file;
  const hash = new Sha256();
  const writer = sink?.getWriter();
  let blob = new Blob([], { type });
  let parts: Uint8Array<ArrayBuffer>[] = [];
  let done = 0;
  let told = 0;
  /** What has come is put away in order. */ let work = Promise.resolve();
  const side: Side = { peer: file.peer, hear, data };
  const { promise, resolve, fail } = outcome(signal, (why) => say(side.peer, { k: "stop", id, why }));
  const accept = () => void work.then(() => say(side.peer, { k: "accept", id, at: hash.length }));

  function data(bytes: Uint8Array) {
    if (hash.length + bytes.length > size) return fail("corrupt", "more bytes than were offered");
    const mine = bytes.slice();
    hash.update(mine);
    work = work.then(async () => {
      if (writer) await writer.write(mine);
      // Blobs may live on disk; loose arrays may not.
      else if (parts.push(mine) >= 64) blob = new Blob([blob, ...parts.splice(0)], { type });
      done += mine.length;
      onProgress?.(done, size);
      if (done - told < ACK_BYTES && done < size) return;
      told = done;
      void say(side.peer, { k: "ack", id, at: done });
    }).catch((error) => fail("failed", error?.message));
  }

  function hear({ k, sha, why }: any) {
    if (k === "offer") return accept();
    if (k === "stop") return fail(why === "aborted" ? "aborted" : "rejected", String(why), false);
    void work.then(async () => {
      const sha256 = done === size ? hash.hex() : "";
      if (sha !== sha256) return fail("corrupt");
      await writer?.close();
      void say(side.peer, { k: "done", id, sha: sha256 });
      resolve({ size, sha256, ...(!writer && { blob: new Blob([blob, ...parts], { type }) }) });
    }).catch((error) => fail("failed", error?.message));
  }

  const name = key(file.peer, id);
  incoming.set(name, side);
  // Whoever comes back offers again.
  const unfollow = follow(side, patience, () => {}, () => fail("closed"));
  if (!signal?.aborted) accept();
  return promise.catch((error) => (void writer?.abort(error).catch(() => {}), Promise.reject(error)))
    .finally(() => (unfollow(), incoming.delete(name)));
}

Peer.extend(CONTROL, (peer, bytes) => {
  const message = JSON.parse(new TextDecoder().decode(bytes));
  const { k, id } = message;
  const toSender = k === "accept" || k === "ack" || k === "done";
  const theirs = incoming.get(key(peer, id));
  const ours = outgoing.get(id);
  if (k === "offer" && !theirs) offered(peer, message);
  else if (theirs && !toSender) theirs.hear(message);
  else if (ours?.peer === peer) ours.hear(message);
});

Peer.extend(DATA, (peer, bytes) => {
  const id = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
  incoming.get(key(peer, id))?.data?.(bytes.subarray(4));
});
