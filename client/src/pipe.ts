// An ordered stream of messages between two peers that survives every change of the way it takes.
//
// What was sent is kept until it is acknowledged. A new way starts with the first packet that is not: the receiver drops what
// it has by its number, so nothing is lost and nothing comes twice, whatever was in flight on the old way.

import { CHUNK, concat, decode, encode, LAST, MAX_MESSAGE, PROBE } from "./frames.js";
import { MeetpointError } from "./types.js";

/** A way to the other side. */
export interface Way {
  /** How many packets may be on it without an acknowledgement. */
  readonly window: number;
  /** After how long without one it counts as stuck. */
  readonly patience: number;
  /** Whether something has left for the other side since the last call: then it is slow, not stuck. */
  moves?(): boolean;
  /** How long an acknowledgement may wait for company. */
  readonly ackAfter: number;
  /** @returns whether it took the packet; if not, {@link Pipe.pump} is called when it may. */
  send(packet: Uint8Array<ArrayBuffer>): boolean;
}

export interface PipeHooks {
  message(kind: number, payload: Uint8Array): void;
  /** Nothing has been acknowledged for the way's patience. */
  stuck(): void;
  /** The other side breaks the rules. */
  broken(): void;
}

/** Messages that wait for their turn. */
const QUEUE_BYTES = 16 * 1024 * 1024;
const ACK_PACKETS = 4;
const MAX_DELAY = 30_000;

interface Waiting {
  kind: number;
  seq: number;
  payload: Uint8Array;
  /** The message is on its way, all of it. */
  sent: (() => void) | undefined;
  failed(error: Error): void;
}

export class Pipe {
  /** Not acknowledged, in order. The first `#flying` of them are on the way. */ #out: Waiting[] = [];
  #flying = 0;
  #bytes = 0;
  #lastSeq = 0;
  #taken = 0;
  #acked = 0;
  #parts: Uint8Array[] = [];
  #partBytes = 0;
  #way: Way | undefined;
  #stuck = 0;
  #stuckTimer: any;
  #ackTimer: any;
  #unacked = 0;
  #closed = false;

  constructor(readonly hooks: PipeHooks) {}

  /** Whether nothing has passed in either direction. */
  get unused(): boolean {
    return this.#taken === 0 && this.#acked === 0;
  }

  /** Takes a message, and resolves when it has been given to the way; from then on it is only repeated. */
  send(kind: number, payload: Uint8Array): Promise<void> {
    return new Promise((sent, failed) => {
      if (this.#closed) return failed(new MeetpointError("closed"));
      if (payload.length > MAX_MESSAGE) return failed(new MeetpointError("too_large"));
      if (this.#bytes + payload.length > QUEUE_BYTES) return failed(new MeetpointError("queue_full"));
      this.#bytes += payload.length;
      let at = 0;
      do {
        const part = payload.subarray(at, (at += CHUNK));
        const last = at >= payload.length;
        this.#out.push({ kind: last ? kind | LAST : kind, seq: ++this.#lastSeq, payload: part, sent: last ? sent : undefined, failed });
      } while (at < payload.length);
      this.pump();
    });
  }

  /** Goes on by another way, from the first packet that may not have arrived. */
  use(way: Way | undefined): void {
    this.#way = way;
    this.#stuck = 0;
    this.repeat();
  }

  /** Sends again what is not acknowledged. */
  repeat(): void {
    this.#flying = 0;
    clearTimeout(this.#stuckTimer);
    this.#stuckTimer = 0;
    this.pump();
  }

  pump(): void {
    // A way that does not answer is asked with one packet at a time.
    while (this.#way && this.#flying < Math.min(this.#out.length, this.#stuck ? 1 : this.#way.window)) {
      const next = this.#out[this.#flying]!;
      if (!this.#way.send(encode(next.kind, next.seq, this.#taken, next.payload))) break;
      this.#flying++;
      this.#acknowledged();
      next.sent?.();
    }
    if (this.#flying && !this.#stuckTimer) this.#watch();
  }

  /** Asks the other side for a sign of life; `way` is another than the one in use. */
  probe(way: Way): void {
    way.send(encode(PROBE, 0, this.#taken));
  }

  /** What came by `way`: nothing is done about bytes that are no packet. */
  receive(bytes: Uint8Array, way: Way): void {
    const packet = decode(bytes);
    if (!packet) return;
    this.#drop(packet.ack);
    const { seq, kind, payload } = packet;
    if (!seq) {
      if (kind === PROBE) this.#acknowledge(way);
    } else if (seq === this.#taken + 1) {
      this.#taken = seq;
      this.#take(kind, payload);
      if (++this.#unacked >= ACK_PACKETS) this.#acknowledge(way);
      else this.#ackTimer ||= setTimeout(() => this.#acknowledge(this.#way ?? way), way.ackAfter);
    } else {
      // Had already, or out of a gap: the other side should know where we are.
      this.#acknowledge(way);
    }
    this.pump();
  }

  close(): void {
    this.#closed = true;
    this.#way = undefined;
    for (const timer of [this.#stuckTimer, this.#ackTimer]) clearTimeout(timer);
    for (const { failed } of this.#out.splice(0)) failed(new MeetpointError("closed"));
  }

  #take(kind: number, payload: Uint8Array): void {
    this.#parts.push(payload);
    if ((this.#partBytes += payload.length) > MAX_MESSAGE) return this.hooks.broken();
    if (!(kind & LAST)) return;
    const whole = concat(...this.#parts);
    this.#parts = [];
    this.#partBytes = 0;
    this.hooks.message(kind & ~LAST, whole);
  }

  /** Forgets what the other side has. */
  #drop(ack: number): void {
    if (ack <= this.#acked || ack > this.#lastSeq) return;
    this.#acked = ack;
    while (this.#out.length && this.#out[0]!.seq <= ack) {
      const { payload, sent } = this.#out.shift()!;
      this.#bytes -= payload.length;
      if (this.#flying) this.#flying--;
      sent?.();
    }
    this.#stuck = 0;
    clearTimeout(this.#stuckTimer);
    this.#stuckTimer = 0;
    if (this.#flying) this.#watch();
  }

  #watch(): void {
    const patience = Math.min(MAX_DELAY, (this.#way?.patience ?? 0) * 2 ** this.#stuck);
    this.#stuckTimer = setTimeout(() => {
      this.#stuckTimer = 0;
      if (this.#way?.moves?.()) return this.#watch();
      this.#stuck++;
      this.hooks.stuck();
    }, patience);
  }

  #acknowledge(way: Way): void {
    way.send(encode(0, 0, this.#taken));
    this.#acknowledged();
  }

  /** A packet carried our number. */
  #acknowledged(): void {
    this.#unacked = 0;
    clearTimeout(this.#ackTimer);
    this.#ackTimer = 0;
  }
}
