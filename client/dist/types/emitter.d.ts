/** Something that has events; `Events` maps their names to what their listeners get. */
export declare class Emitter<Events> {
    #private;
    /** Calls `listener` with each event of a type. @returns a function that ends it */
    on<T extends keyof Events>(type: T, listener: (detail: Events[T]) => void): () => void;
    /** The events of a type from now on: `for await (const event of it.on(type))`. The loop ends when `it` is closed. */
    on<T extends keyof Events>(type: T): AsyncIterableIterator<Events[T]>;
    /** For what is built on top of it. An error in one listener is reported as uncaught and keeps nothing from the others. */
    emit<T extends keyof Events>(type: T, detail: Events[T]): void;
}
