import { Emitter } from "./index.js";
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
export declare class Channel extends Emitter<ChannelEvents> {
    readonly label: string;
    readonly options: ChannelOptions;
    /** The present data channel, for `bufferedAmount` and the like. */
    raw: RTCDataChannel | undefined;
    readonly id: number;
    get open(): boolean;
    /** Sends at once or throws `offline`. */
    send(data: string | ArrayBuffer | ArrayBufferView<ArrayBuffer>): void;
}
