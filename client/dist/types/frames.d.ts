export declare const HEADER = 9;
/** Every browser takes messages of this size from every other. */
export declare const CHUNK: number;
/** Of one message. Larger things are files. */
export declare const MAX_MESSAGE: number;
export declare const LAST = 128;
/** In a packet without `seq`: the kind that wants an answer. */
export declare const PROBE = 1;
/** What a message is. All others belong to extensions, {@link Peer.extend}. */
export declare const enum Kind {
    Json = 0,
    Binary = 1
}
export interface Packet {
    kind: number;
    seq: number;
    ack: number;
    payload: Uint8Array;
}
export declare function encode(kind: number, seq: number, ack: number, payload?: Uint8Array): Uint8Array<ArrayBuffer>;
export declare function decode(bytes: Uint8Array): Packet | undefined;
/** Bytes of an epoch; spaces when it is not known. */
export declare const EPOCH = 8;
export declare const utf8: (value: string) => Uint8Array<ArrayBuffer>;
export declare const ofUtf8: (bytes: Uint8Array) => string;
export declare function concat(...parts: ArrayLike<number>[]): Uint8Array<ArrayBuffer>;
export declare function address(mine: string, theirs: string, packet: Uint8Array): Uint8Array<ArrayBuffer>;
/** @returns sender, receiver and packet, or undefined for bytes of an application */
export declare function addressed(bytes: Uint8Array): [string, string, Uint8Array] | undefined;
