// Typed events, by callback or as an async iterable.

/** How many events an iterator keeps for a loop that is slower than they come. */
const KEPT = 4096;

type Listener = (detail: any) => void;

/** Something that has events; `Events` maps their names to what their listeners get. */
export class Emitter<Events> {
  #listeners = new Map<keyof Events, Set<Listener>>();
  #endings = new Set<() => void>();

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

  /** The next event of a type. */
  once<T extends keyof Events>(type: T): Promise<Events[T]> {
    return new Promise((resolve) => {
      const end = this.on(type, (detail) => (end(), resolve(detail)));
    });
  }

  /** @internal For what a listener should hear of the past. */
  _listening(_type: keyof Events, _listener: Listener): void {}

  /** @internal An error in one listener is reported as uncaught and keeps nothing from the others. */
  _emit<T extends keyof Events>(type: T, detail: Events[T]): void {
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
    for (const end of [...this.#endings]) end();
  }

  #iterate(type: keyof Events): AsyncIterableIterator<any> {
    const kept: unknown[] = [];
    const waiting: ((result: IteratorResult<unknown>) => void)[] = [];
    let over = false;
    const end = () => {
      over = true;
      off();
      this.#endings.delete(end);
      for (const resolve of waiting.splice(0)) resolve({ done: true, value: undefined });
    };
    const off = this.on(type, (value) => {
      const resolve = waiting.shift();
      if (resolve) resolve({ done: false, value });
      else if (kept.push(value) > KEPT) end();
    });
    this.#endings.add(end);
    return {
      next: () =>
        new Promise((resolve, reject) => {
          if (kept.length > KEPT) reject(new Error(`more than ${KEPT} events wait for this loop`));
          else if (kept.length) resolve({ done: false, value: kept.shift() });
          else if (over) resolve({ done: true, value: undefined });
          else waiting.push(resolve);
        }),
      return: async () => (end(), { done: true, value: undefined }),
      [Symbol.asyncIterator]() { return this; },
    };
  }
}
