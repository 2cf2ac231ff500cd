export interface NegotiationHooks {
    signal(kind: string, data: any, tag: number): void;
    /** A connection to put channels and tracks on. `answering`: an offer is being applied to it. */
    made(pc: RTCPeerConnection): void;
    /** `up`: ICE has a path. `weak`: it lost it, perhaps not for long. `down`: it gave up. */
    path(state: "up" | "weak" | "down"): void;
    error(error: Error): void;
}
export declare class Negotiation {
    #private;
    readonly polite: boolean;
    readonly PeerConnection: any;
    readonly configuration: () => RTCConfiguration;
    readonly hooks: NegotiationHooks;
    pc: RTCPeerConnection | undefined;
    constructor(polite: boolean, PeerConnection: any, configuration: () => RTCConfiguration, hooks: NegotiationHooks);
    /** Offers, unless there is a connection. */
    start(): void;
    /** Signals are applied strictly in the order in which they came. */
    handle(kind: string, data: any, tag: string): void;
    /** The hub is back: what was said meanwhile may have gone nowhere, so it is said again. */
    again(): void;
    /** Looks for a living path. `anew`: the connection itself is of no use any more. */
    repair(anew?: boolean): void;
    close(): void;
}
