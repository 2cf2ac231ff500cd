import { Peer } from "./index.js";
declare module "./link.js" {
    interface Peer {
        /** Asks the other side's {@link Room.handle}. Rejects with `timeout` (after 10 s by default), `aborted`, `closed` or `remote`. */
        request(data: unknown, options?: RequestOptions): Promise<any>;
    }
}
declare module "./room.js" {
    interface Room {
        /** Answers the requests of all peers. */
        handle(handler: Handler): void;
    }
}
export interface RequestOptions {
    /** Milliseconds. */
    timeout?: number;
    signal?: AbortSignal;
}
/** Answers a request; what it returns or resolves to is sent back. */
export type Handler = (data: any, peer: Peer) => unknown;
