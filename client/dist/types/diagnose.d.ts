declare module "./hub.js" {
    interface Hub {
        /** Tries every URL of the ICE servers by itself. */
        diagnose(options?: {
            timeout?: number;
        }): Promise<Diagnosis[]>;
    }
}
export interface Diagnosis {
    url: string;
    kind: "stun" | "turn";
    /** How the server is reached. */
    transport: "udp" | "tcp" | "tls";
    /**
     * `turn`: an allocation was made. `stun`: the server told an address that differs from all of the host's own; without a NAT
     * in between browsers leave it out, and then silence without an error counts as good.
     */
    ok: boolean;
    /** To the first candidate, or to the end. */
    ms: number;
    /** The address that the server gave. */
    address?: string;
    /** What the browser said, with the code of the protocol (401, 486, 701 = no answer …). */
    error?: string;
}
