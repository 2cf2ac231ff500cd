import { Peer } from "./index.js";
declare module "./link.js" {
    interface Peer {
        /** Sends a `Blob` or `File`. Resolves when the other side has all of it and the hashes agree. */
        sendFile(blob: Blob, options?: SendOptions): Promise<FileResult>;
    }
}
declare module "./room.js" {
    interface Room {
        /** Called with each file that somebody offers; without a listener files are refused. @returns a function that ends it */
        onFile(listener: (file: IncomingFile) => void): () => void;
    }
}
export interface FileOptions {
    /** Bytes that the other side, or you, have put away. */
    onProgress?: (done: number, size: number) => void;
    signal?: AbortSignal;
    /** How long to wait for a peer that is gone to come back, milliseconds; default 30 000. */
    patience?: number;
}
export interface SendOptions extends FileOptions {
    /** Default: that of a `File`. */
    name?: string;
}
export interface AcceptOptions extends FileOptions {
    /** Where the bytes go as they come, such as `await handle.createWritable()`; closed at the end. Without one they become a `Blob`. */
    sink?: WritableStream<Uint8Array>;
}
export interface FileResult {
    size: number;
    sha256: string;
    /** What was received, where there was no sink. */
    blob?: Blob;
}
/** A file that somebody offers. */
export interface IncomingFile {
    peer: Peer;
    name: string;
    size: number;
    type: string;
    /** Resolves when all of it is there and the hashes agree. */
    accept(options?: AcceptOptions): Promise<FileResult>;
    reject(why?: string): void;
}
