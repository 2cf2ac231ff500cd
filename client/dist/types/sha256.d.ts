export declare class Sha256 {
    #private;
    /** How many bytes it has seen. */
    length: number;
    update(bytes: Uint8Array): this;
    /** Ends the hash. @returns lower-case hex */
    hex(): string;
}
