// Typed events, by callback or as an async iterable.

import { MeetpointError } from "./types.js";

/** How many events an iterator keeps for a loop that is slower than they come. */
const KEPT = 4096;

/** The event after which there is none. */
const END: any = "";

type Listener = (detail: any) => void;

/** Something that has events; `Events` maps their names to what their listeners get. */
export class Emitter<Events> {
  #listeners = new Map<keyof Events, Set<Listener>>();

  /** Calls `listener` with each event of a type. @returns a function that ends it */
  on<T extends keyof Events>(type: T, listener: (detail: Events[T]) => void): () => void;
  /** The events of a type from now on: `for await (const event of it.on(type))`. The loop ends when `it` is closed. */
  on<T extends keyof Events>(type: T): AsyncIterableIterator<Events[T]>;
  on(type: keyof Events, listener?: Listener): unknown {
    if (!listener) return this.#iterate(type);
    let all = this.#listeners.get(type);
    if (!all) this.#listeners.set(type, (all = new Set()));
    all.add(listener);
    this._listening(type, listener);
    return () => void all.delete(listener);
  }

  /** @internal For what a listener should hear of the past. */
  _listening(_type: keyof Events, _listener: Listener): void {}

  /** For what is built on top of it. An error in one listener is reported as uncaught and keeps nothing from the others. */
  emit<T extends keyof Events>(type: T, detail: Events[T]): void {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) {
      try {
        listener(detail);
      } catch (error) {
        queueMicrotask(() => { throw error; });
      }
    }
  }

  /** @internal Nothing will come any more. */
  _end(): void {
    this.emit(END, undefined!);
  }

  #iterate(type: keyof Events): AsyncIterableIterator<any> {
    const kept: unknown[] = [];
    let over = false;
    let wake = () => {};
    const end = () => {
      over = true;
      for (const off of offs) off();
      wake();
    };
    const offs = [this.on(END, end), this.on(type, (event) => (kept.push(event) > KEPT ? end() : wake()))];
    return (async function* () {
      try {
        for (;;) {
          if (kept.length > KEPT) throw new MeetpointError("too_slow");
          if (kept.length) yield kept.shift();
          else if (over) return;
          else await new Promise<void>((go) => (wake = go));
        }
      } finally {
        end();
      }
    })();
  }
}
