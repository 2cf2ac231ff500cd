// One file over one data channel of its own.
//
// Wire: sender `{name, size, type}` → receiver `{accept: true}` → sender 16 KiB binary chunks → sender `{sha256}` →
// receiver `{sha256}`. Either side ends it early by closing the channel.

import { Sha256 } from "./sha256.js";

export const PROTOCOL = "meetpoint.file.v1";
/** Every browser takes messages of this size from every other. */
const CHUNK_BYTES = 16 * 1024;
const READ_BYTES = 1024 * 1024;
/** Chromium closes a channel with about 16 MB queued; this keeps the pipe full and stays far below. */
const QUEUE_HIGH_BYTES = 1024 * 1024;
const QUEUE_LOW_BYTES = 256 * 1024;
/** Larger files wait for a click: they are held in memory until saved. */
const ACCEPT_UNASKED_BYTES = 64 * 1024 * 1024;

/** @typedef {"waiting" | "running" | "verified" | "failed"} TransferState */

/** Progress and outcome of one file. Dispatches `change` often and `end` once. */
export class Transfer extends EventTarget {
  /** @type {TransferState} */ state = "waiting";
  done = 0;
  sha256 = "";
  remoteSha256 = "";
  error = "";
  /** The received file. @type {Blob | null} */ blob = null;
  /** @type {(() => void) | null} */ accept = null;
  #started = 0;
  #ended = 0;

  /** @param {"send" | "receive"} direction @param {RTCDataChannel} channel @param {string} name @param {number} size */
  constructor(direction, channel, name, size) {
    super();
    Object.assign(this, { direction, channel, name, size });
    this.direction = direction;
    this.channel = channel;
    this.name = name;
    this.size = size;
  }

  /** Payload bits per second so far. */
  get rate() {
    const seconds = ((this.#ended || performance.now()) - this.#started) / 1000;
    return this.#started && seconds > 0 ? (this.done * 8) / seconds : 0;
  }

  get ended() {
    return this.state === "verified" || this.state === "failed";
  }

  cancel() {
    this.end("failed", "cancelled");
  }

  start() {
    this.state = "running";
    this.#started = performance.now();
    this.changed();
  }

  changed() {
    this.dispatchEvent(new Event("change"));
  }

  /** @param {"verified" | "failed"} state */
  end(state, error = "") {
    if (this.ended) return;
    this.state = state;
    this.error = error;
    this.#ended = performance.now();
    if (state === "failed") this.channel.close();
    this.changed();
    this.dispatchEvent(new Event("end"));
  }

  /** Both ends have hashed what they saw: the file is whole exactly when the hashes agree. */
  compare() {
    if (!this.sha256 || !this.remoteSha256) return;
    this.sha256 === this.remoteSha256 ? this.end("verified") : this.end("failed", "the two ends hashed different bytes");
  }
}

/** @param {RTCPeerConnection} connection @param {File} file @returns {Transfer} */
export function sendFile(connection, file) {
  const channel = connection.createDataChannel("file", { protocol: PROTOCOL });
  const transfer = new Transfer("send", channel, file.name, file.size);
  channel.binaryType = "arraybuffer";
  channel.onopen = () => channel.send(JSON.stringify({ name: file.name, size: file.size, type: file.type }));
  channel.onclose = () => transfer.end("failed", "the other side closed the transfer");
  channel.onmessage = ({ data }) => {
    const message = parse(data);
    if (message.accept && transfer.state === "waiting") {
      pump(transfer, file).catch((error) => transfer.end("failed", error.message));
    } else if (message.sha256) {
      transfer.remoteSha256 = message.sha256;
      transfer.compare();
    }
  };
  return transfer;
}

/** @param {Transfer} transfer @param {File} file */
async function pump(transfer, file) {
  const { channel } = transfer;
  const hash = new Sha256();
  channel.bufferedAmountLowThreshold = QUEUE_LOW_BYTES;
  transfer.start();
  for (let at = 0; at < file.size; at += READ_BYTES) {
    const bytes = new Uint8Array(await file.slice(at, at + READ_BYTES).arrayBuffer());
    for (let i = 0; i < bytes.length; i += CHUNK_BYTES) {
      if (channel.bufferedAmount > QUEUE_HIGH_BYTES) await drained(channel);
      if (channel.readyState !== "open") return;
      const chunk = bytes.subarray(i, i + CHUNK_BYTES);
      hash.update(chunk);
      channel.send(chunk);
      transfer.done = at + i + chunk.length - channel.bufferedAmount;
      transfer.changed();
    }
  }
  const sha256 = hash.hex();
  channel.send(JSON.stringify({ sha256 }));
  transfer.done = file.size;
  transfer.sha256 = sha256;
  transfer.changed();
  transfer.compare();
}

/** @param {RTCDataChannel} channel @returns {Promise<void>} when it may be fed again, or is closed */
function drained(channel) {
  return new Promise((resolve) => {
    const settle = () => {
      channel.removeEventListener("bufferedamountlow", settle);
      channel.removeEventListener("close", settle);
      resolve();
    };
    channel.addEventListener("bufferedamountlow", settle);
    channel.addEventListener("close", settle);
  });
}

/** @param {RTCDataChannel} channel @param {(transfer: Transfer) => void} announced  called with the first message */
export function receiveFile(channel, announced) {
  /** @type {Transfer | null} */ let transfer = null;
  /** @type {Blob[]} */ const stored = [];
  /** @type {ArrayBuffer[]} */ let fresh = [];
  let type = "";
  const hash = new Sha256();
  channel.binaryType = "arraybuffer";
  channel.onclose = () => transfer?.end("failed", "the other side closed the transfer");
  channel.onmessage = ({ data }) => {
    if (!transfer) {
      const offer = parse(data);
      if (!Number.isSafeInteger(offer.size) || offer.size < 0) return channel.close();
      type = String(offer.type ?? "");
      transfer = announce(channel, String(offer.name || "file"), offer.size, announced);
    } else if (typeof data === "string") {
      transfer.remoteSha256 = String(parse(data).sha256 ?? "");
      transfer.sha256 = hash.hex();
      transfer.blob = new Blob([...stored, ...fresh], { type });
      channel.send(JSON.stringify({ sha256: transfer.sha256 }));
      transfer.compare();
    } else {
      if (transfer.state !== "running" || transfer.done + data.byteLength > transfer.size) {
        return transfer.end("failed", "more bytes came than were announced");
      }
      hash.update(new Uint8Array(data));
      transfer.done += data.byteLength;
      // Blobs may live on disk; loose buffers may not.
      if (fresh.push(data) === READ_BYTES / CHUNK_BYTES) stored.push(new Blob(fresh.splice(0)));
      transfer.changed();
    }
  };
}

/** @param {RTCDataChannel} channel @param {string} name @param {number} size @param {(transfer: Transfer) => void} announced */
function announce(channel, name, size, announced) {
  const transfer = new Transfer("receive", channel, name.slice(0, 255), size);
  transfer.accept = () => {
    transfer.accept = null;
    transfer.start();
    channel.send(JSON.stringify({ accept: true }));
  };
  announced(transfer);
  if (size <= ACCEPT_UNASKED_BYTES) transfer.accept();
  return transfer;
}

/** @param {unknown} data @returns {any} */
function parse(data) {
  try {
    return JSON.parse(String(data)) ?? {};
  } catch {
    return {};
  }
}
