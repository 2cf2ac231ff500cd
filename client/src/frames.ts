// Packets: what goes over a data channel, or with an address through the hub.
//
// `u8 kind | LAST, u32 seq, u32 ack, payload`. A message is the payloads of consecutive packets up to the one with LAST. `seq`
// counts packets from 1 and is 0 in one that only acknowledges; `ack` is the last that the sender took in order.

export const HEADER = 9;
/** Every browser takes messages of this size from every other. */
export const CHUNK = 16 * 1024 - HEADER;
/** Of one message. Larger things are files. */
export const MAX_MESSAGE = 64 * 1024;
export const LAST = 0x80;
/** In a packet without `seq`: the kind that wants an answer. */
export const PROBE = 1;

/** What a message is. All others belong to extensions, {@link Peer.extend}. */
export const enum Kind {
  Json,
  Binary,
}

export interface Packet {
  kind: number;
  seq: number;
  ack: number;
  payload: Uint8Array;
}

export function encode(kind: number, seq: number, ack: number, payload: Uint8Array = new Uint8Array()): Uint8Array<ArrayBuffer> {
  const head = new DataView(new ArrayBuffer(HEADER));
  head.setUint8(0, kind);
  head.setUint32(1, seq);
  head.setUint32(5, ack);
  return concat(new Uint8Array(head.buffer), payload);
}

export function decode(bytes: Uint8Array): Packet | undefined {
  if (bytes.length < HEADER) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return { kind: bytes[0]!, seq: view.getUint32(1), ack: view.getUint32(5), payload: bytes.subarray(HEADER) };
}

/** Through the hub a packet comes after these bytes, which tell it from the bytes of an application, and the epochs of both sides. */
const MARK = [0, 0x6d, 0x70];
/** Bytes of an epoch; spaces when it is not known. */
export const EPOCH = 8;

const text = new TextEncoder();
export const utf8 = (value: string) => text.encode(value);
const plain = new TextDecoder();
export const ofUtf8 = (bytes: Uint8Array) => plain.decode(bytes);

export function concat(...parts: ArrayLike<number>[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export function address(mine: string, theirs: string, packet: Uint8Array): Uint8Array<ArrayBuffer> {
  return concat(MARK, utf8(mine + theirs.padEnd(EPOCH)), packet);
}

/** @returns sender, receiver and packet, or undefined for bytes of an application */
export function addressed(bytes: Uint8Array): [string, string, Uint8Array] | undefined {
  if (MARK.some((byte, i) => bytes[i] !== byte)) return undefined;
  const epoch = (at: number) => ofUtf8(bytes.subarray(at, at + EPOCH)).trim();
  return [epoch(3), epoch(3 + EPOCH), bytes.subarray(3 + 2 * EPOCH)];
}
