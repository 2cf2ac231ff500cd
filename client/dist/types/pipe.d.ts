/** A way to the other side. */
export interface Way {
    /** How many packets may be on it without an acknowledgement. */
    readonly window: number;
    /** After how long without one it counts as stuck. */
    readonly patience: number;
    /** Whether something has left for the other side since the last call: then it is slow, not stuck. */
    moves?(): boolean;
    /** How long an acknowledgement may wait for company. */
    readonly ackAfter: number;
    /** @returns whether it took the packet; if not, {@link Pipe.pump} is called when it may. */
    send(packet: Uint8Array<ArrayBuffer>): boolean;
}
export interface PipeHooks {
    message(kind: number, payload: Uint8Array): void;
    /** Nothing has been acknowledged for the way's patience. */
    stuck(): void;
    /** The other side breaks the rules. */
    broken(): void;
}
export declare class Pipe {
    #private;
    readonly hooks: PipeHooks;
    constructor(hooks: PipeHooks);
    /** Whether nothing has passed in either direction. */
    get unused(): boolean;
    /** Takes a message, and resolves when it has been given to the way; from then on it is only repeated. */
    send(kind: number, payload: Uint8Array): Promise<void>;
    /** Goes on by another way, from the first packet that may not have arrived. */
    use(way: Way | undefined): void;
    /** Sends again what is not acknowledged. */
    repeat(): void;
    pump(): void;
    /** Asks the other side for a sign of life; `way` is another than the one in use. */
    probe(way: Way): void;
    /** What came by `way`: nothing is done about bytes that are no packet. */
    receive(bytes: Uint8Array, way: Way): void;
    close(): void;
}
