// A data channel of the application's own, that is made again on every new connection to the peer.

import { Emitter } from "./emitter.js";
import { MeetpointError } from "./types.js";

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
      negotiated: true, id: this.id, ordered, ...(maxRetransmits !== undefined && { maxRetransmits }),
    }));
    raw.binaryType = "arraybuffer";
    raw.onopen = () => this._emit("open", undefined);
    raw.onmessage = ({ data }) => this._emit("message", data);
    raw.onclose = () => this._emit("close", undefined);
  }
}
