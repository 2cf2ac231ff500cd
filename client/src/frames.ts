// Packets: what goes over a data channel, or as base64 through the hub.
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

/** What a message is. From 16 on they belong to extensions, {@link Peer.extend}. */
export const enum Kind {
  Json,
  Binary,
  Request,
  Reply,
}

export interface Packet {
  kind: number;
  seq: number;
  ack: number;
  payload: Uint8Array;
}

export function encode(kind: number, seq: number, ack: number, payload: Uint8Array = new Uint8Array()): Uint8Array<ArrayBuffer> {
  const packet = new Uint8Array(HEADER + payload.length);
  const view = new DataView(packet.buffer);
  packet[0] = kind;
  view.setUint32(1, seq);
  view.setUint32(5, ack);
  packet.set(payload, HEADER);
  return packet;
}

export function decode(bytes: Uint8Array): Packet | undefined {
  if (bytes.length < HEADER) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return { kind: bytes[0]!, seq: view.getUint32(1), ack: view.getUint32(5), payload: bytes.subarray(HEADER) };
}

export function toBase64(bytes: Uint8Array): string {
  let binary = "";
  for (let at = 0; at < bytes.length; at += 4096) binary += String.fromCharCode(...bytes.subarray(at, at + 4096));
  return btoa(binary);
}

export function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}
