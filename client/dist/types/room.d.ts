import { Emitter } from "./emitter.js";
import type { Hub } from "./hub.js";
import { Peer, type PeerState } from "./link.js";
import { type Json, MeetpointError } from "./types.js";
export interface JoinOptions {
    /** The first to join sets it; all others need it. */
    key?: string;
    /** Your presence data in this room. */
    meta?: Json;
    /** The size of the room, set by the first to join. */
    max?: number;
    /** `false`: only if the room exists. */
    create?: boolean;
    /** `true`: links are made when they are first used, not with everybody who is there. */
    lazy?: boolean;
}
/** As the server lists them. */
export interface Member {
    peer: string;
    meta: Json;
    since: number;
    away?: boolean;
}
export interface RoomEvents {
    /** Somebody is here: once for each who was here before you, and for each who comes. */
    peer: Peer;
    /** Somebody has gone, and the link is closed. */
    leave: {
        peer: Peer;
        why: string;
    };
    /** Presence data of a peer changed, or its connection to the hub did: `away`, `back`. */
    presence: {
        peer: Peer;
        ev: "meta" | "away" | "back";
    };
    /** From one peer to you, over whatever way there is. */
    message: {
        peer: Peer;
        data: any;
    };
    /** Through the hub, to everybody in the room. */
    broadcast: {
        from: string;
        data: any;
    };
    /** The way to a peer changed. */
    state: {
        peer: Peer;
        state: PeerState;
    };
    /** Metadata of the room. */
    meta: {
        meta: Json;
        ver: number;
        by: string;
    };
    error: MeetpointError;
}
export declare class Room extends Emitter<RoomEvents> {
    #private;
    readonly hub: Hub;
    readonly name: string;
    readonly options: JoinOptions;
    readonly peers: Map<string, Peer>;
    /** Metadata of the room, and its version. */
    meta: Json;
    ver: number;
    /** Sends to everybody over the links: to each in order, none lost while the link lives. Resolves when all have taken it in. */
    send(data: unknown): Promise<void>;
    /** Sends JSON or bytes to everybody through the hub, at most once; `rel`: also to those who are away. */
    broadcast(data: unknown, { rel }?: {
        rel?: boolean;
    }): Promise<void>;
    /** The peer of that id, whose link is made now if the room is lazy. */
    peer(id: string): Peer | undefined;
    /** Changes keys of your own presence data. */
    presence(set: Json, del?: string[]): Promise<void>;
    /** Changes keys of the room's metadata; with `ver` only if that is still its version. */
    update(set: Json, { del, ver }?: {
        del?: string[];
        ver?: number;
    }): Promise<void>;
    /** Members, filtered by the server; those that its answers give `after` this. */
    who(filter?: Json, after?: string): Promise<Member[]>;
    /** Leaves, and closes every link of this room. */
    leave(): Promise<void>;
}
