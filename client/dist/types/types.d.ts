/** A presence object, or any other JSON object. */
export type Json = {
    [key: string]: any;
};
/** What a server message is to the SDK: checked where it is used, since servers are newer than clients. */
export type Frame = {
    t: string;
    [field: string]: any;
};
/** How {@link connect} connects. */
export interface ConnectOptions {
    /** JWT, where the server wants one. A function is asked on every connection, and again when the token has expired. */
    token?: string | (() => string | undefined | Promise<string | undefined>);
    /** The id you want. Without it the token's, else a random one. */
    peer?: string;
    /** Presence data for every room that is joined without any of its own. */
    meta?: Json;
    /** Merged into the configuration of every peer connection; `iceServers` of the hub come after yours. */
    rtc?: RTCConfiguration;
    /** For surroundings that have none, such as Node: a WebSocket constructor. */
    WebSocket?: any;
    /** For surroundings that have none: an RTCPeerConnection constructor. Without any, all data goes through the hub. */
    RTCPeerConnection?: any;
}
/** Everything that can go wrong by name: the protocol's error codes, and `offline`, `timeout`, `stopped`, `closed`, `too_large`, `too_slow`, `queue_full`, `remote`, `aborted`. */
export declare class MeetpointError extends Error {
    readonly code: string;
    /** After how many milliseconds the same may succeed. */
    readonly retry?: number | undefined;
    name: string;
    constructor(code: string, message?: string, 
    /** After how many milliseconds the same may succeed. */
    retry?: number | undefined);
}
/** What the hub says no with. */
export declare const refusal: ({ code, msg, retry }: Frame) => MeetpointError;
/** Bytes of an `ArrayBuffer` or a view, as a copy; undefined for everything else. */
export declare function bytesOf(data: unknown): Uint8Array<ArrayBuffer> | undefined;
