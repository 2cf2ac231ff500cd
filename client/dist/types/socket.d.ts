import { type ConnectOptions, type Frame } from "./types.js";
/** `waiting`: for the next attempt. `stopped`: the server said that trying again is no use. */
export type SocketState = "connecting" | "open" | "waiting" | "stopped" | "closed";
export interface SocketHooks {
    state(state: SocketState, detail: string, retryIn?: number): void;
    welcome(frame: Frame): void;
    frame(frame: Frame): void;
}
export declare class Socket {
    #private;
    readonly url: string;
    readonly options: ConnectOptions;
    readonly hooks: SocketHooks;
    state: SocketState;
    peer: string | undefined;
    caps: string[];
    constructor(url: string, options: ConnectOptions, hooks: SocketHooks);
    /** Connects now, whatever was planned. */
    open(): Promise<void>;
    /** Says bye and stays away. */
    close(): void;
    /** Sends as text, or with `bin` as a binary frame: version, flags, length of the header, header, bytes. @returns whether there was an open socket to take it */
    send({ bin, ...message }: Frame): boolean;
    /** Sends with a number, and waits for the answer that carries it. */
    request(message: Frame): Promise<Frame>;
}
