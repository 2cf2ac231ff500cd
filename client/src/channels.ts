// Data channels of the application's own, that are made again on every new connection to the peer.

import { Emitter, MeetpointError, Peer } from "./index.js";

declare module "./link.js" {
  interface Peer {
    /** A data channel of your own; the other side opens it under the same label. */
    channel(label: string, options?: ChannelOptions): Channel;
  }
}

export interface ChannelOptions {
  /** Default `true`. */
  ordered?: boolean;
  /** How often a lost message is sent again; without it until it arrives. */
  maxRetransmits?: number;
  /** 1 to 1000. By default made from the label; give one when two labels of yours collide. */
  id?: number;
}

export interface ChannelEvents {
  open: void;
  /** A string, or an `ArrayBuffer`. */
  message: any;
  close: void;
}

/** Both sides open it with the same label and options. It exists while there is a peer-to-peer path: the hub never carries it. */
export class Channel extends Emitter<ChannelEvents> {
  /** The present data channel, for `bufferedAmount` and the like. */
  raw: RTCDataChannel | undefined;
  readonly id: number;

  /** @internal */
  constructor(readonly label: string, readonly options: ChannelOptions) {
    super();
    let hash = 0;
    for (let i = 0; i < label.length; i++) hash = (Math.imul(hash, 31) + label.charCodeAt(i)) >>> 0;
    this.id = options.id ?? 1 + (hash % 1000);
  }

  get open(): boolean {
    return this.raw?.readyState === "open";
  }

  /** Sends at once or throws `offline`. */
  send(data: string | ArrayBuffer | ArrayBufferView<ArrayBuffer>): void {
    if (!this.open) throw new MeetpointError("offline", "no peer-to-peer path");
    this.raw!.send(data as string);
  }

  /** @internal */
  _attach(pc: RTCPeerConnection): void {
    const { ordered = true, maxRetransmits } = this.options;
    const raw = (this.raw = pc.createDataChannel(this.label, {
      negotiated: true, id: this.id, ordered, maxRetransmits,
    }));
    raw.binaryType = "arraybuffer";
    raw.onopen = () => this.emit("open", undefined);
    raw.onmessage = ({ data }) => this.emit("message", data);
    raw.onclose = () => this.emit("close", undefined);
  }
}

const channels = new WeakMap<Peer, Map<string, Channel>>();

Peer.prototype.channel = function (this: Peer, label, options = {}) {
  let all = channels.get(this);
  if (!all) channels.set(this, (all = new Map()));
  let channel = all.get(label);
  if (channel) return channel;
  channel = new Channel(label, options);
  for (const other of all.values()) {
    if (other.id === channel.id) throw new MeetpointError("bad_request", `${label} and ${other.label} need an id of their own`);
  }
  all.set(label, channel);
  if (this.pc) channel._attach(this.pc);
  const attach = channel._attach.bind(channel);
  this.on("connection", attach);
  // Connects, if nothing has so far.
  this.room.peer(this.id);
  return channel;
};
