import { Emitter } from "./emitter.js";
import { Room, type JoinOptions } from "./room.js";
import { type SocketState } from "./socket.js";
import { type ConnectOptions, type Frame, MeetpointError } from "./types.js";
export interface HubEvents {
    /** `retryIn`: milliseconds to the next attempt, while `waiting`. */
    state: {
        state: SocketState;
        detail: string;
        retryIn?: number;
    };
    /** New ICE servers; every peer connection has them already. */
    ice: {
        servers: RTCIceServer[];
        exp?: number;
    };
    /** The server goes away soon. Nothing needs to be done. */
    drain: Frame;
    /** A refusal that answers no request. */
    error: MeetpointError;
}
/** A session with a server. Made by {@link connect}. */
export declare class Hub extends Emitter<HubEvents> {
    #private;
    readonly options: ConnectOptions;
    readonly rooms: Map<string, Room>;
    /** What the server gave for `RTCPeerConnection`. */
    iceServers: RTCIceServer[];
    /** Your id, in every room. */
    get peer(): string;
    get state(): SocketState;
    /** What peer connections are made with. */
    get rtc(): RTCConfiguration;
    /** Enters a room, and stays in it over every loss of the connection until {@link Room.leave}. */
    join(name: string, options?: JoinOptions): Promise<Room>;
    /** Puts a newer token of the same user in the place of the present one. */
    auth(token: string): Promise<void>;
    /** Leaves every room and closes every link. */
    close(): void;
}
/**
 * Connects to a server, by default the one that this script came from.
 *
 * Resolves with the first welcome; keeps trying until then. Rejects when the server says that trying is no use: a bad token,
 * no right, no room for more connections.
 */
export declare function connect(server?: string | ConnectOptions, options?: ConnectOptions): Promise<Hub>;
