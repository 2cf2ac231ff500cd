import { Emitter } from "./emitter.js";
import type { Room } from "./room.js";
import { type Json } from "./types.js";
/** `direct`, `relay` (TURN): peer-to-peer. `hub`: through the hub. `recovering`: no way at the moment, messages wait. */
export type PeerState = "connecting" | "direct" | "relay" | "hub" | "recovering" | "closed";
export interface PeerEvents {
    message: any;
    state: PeerState;
    track: RTCTrackEvent;
    /** A new RTCPeerConnection, before it negotiates. */
    connection: RTCPeerConnection;
    error: Error;
}
/** Somebody else in a room. */
export declare class Peer extends Emitter<PeerEvents> {
    #private;
    readonly room: Room;
    readonly id: string;
    /** Presence data. */
    meta: Json;
    /** The peer has lost its connection to the hub, and may come back to it. */
    away: boolean;
    /** The peer is in the room, as far as the hub says. */
    present: boolean;
    state: PeerState;
    /** Messages of kinds of their own, 2 to 15 for the extensions that come with the client, to 127 for all others; `handler` gets those of all peers. */
    static extend(kind: number, handler: (peer: Peer, bytes: Uint8Array) => void): void;
    /** The present peer connection. */
    get pc(): RTCPeerConnection | undefined;
    /**
     * Sends anything that JSON knows, or bytes (an `ArrayBuffer` or a view of one), at most 64 KiB. Arrives in order, once, over
     * whatever way there is, as long as neither side closes. Resolves when it is on its way: await it, and you never send faster
     * than the path carries.
     */
    send(data: unknown): Promise<void>;
    /** Sends bytes of a kind, see {@link Peer.extend}. */
    post(kind: number, bytes: Uint8Array): Promise<void>;
    /** Sends a track, on this connection and on those that may follow it. */
    addTrack(track: MediaStreamTrack, ...streams: MediaStream[]): void;
    removeTrack(track: MediaStreamTrack): void;
}
