// SHA-256 (FIPS 180-4) fed piece by piece. The browser's own digest wants all bytes at once, and is missing on pages without TLS.

const ROUND = new Uint32Array(64);
const INITIAL = new Uint32Array(8);

const fraction = (x: number) => ((x - Math.floor(x)) * 2 ** 32) >>> 0;

// The first 32 fractional bits of the cube and square roots of the first primes (§4.2.2, §5.3.3).
for (let n = 2, found = 0; found < 64; n++) {
  let d = 2;
  while (n % d) d++;
  if (d < n) continue;
  if (found < 8) INITIAL[found] = fraction(Math.sqrt(n));
  ROUND[found++] = fraction(Math.cbrt(n));
}

export class Sha256 {
  /** How many bytes it has seen. */
  length = 0;
  #state = INITIAL.slice();
  #schedule = new Int32Array(64);
  #block = new Uint8Array(64);

  update(bytes: Uint8Array): this {
    let filled = this.length % 64;
    this.length += bytes.length;
    let at = 0;
    if (filled) {
      this.#block.set(bytes.subarray(0, (at = Math.min(64 - filled, bytes.length))), filled);
      if ((filled += at) < 64) return this;
      this.#compress(this.#block, 0);
    }
    for (; at + 64 <= bytes.length; at += 64) this.#compress(bytes, at);
    this.#block.set(bytes.subarray(at));
    return this;
  }

  /** Ends the hash. @returns lower-case hex */
  hex(): string {
    const { length } = this;
    const padding = new Uint8Array(((119 - (length % 64)) % 64) + 9);
    const view = new DataView(padding.buffer);
    padding[0] = 0x80;
    view.setUint32(padding.length - 8, Math.floor(length / 2 ** 29));
    view.setUint32(padding.length - 4, (length * 8) >>> 0);
    this.update(padding);
    return [...this.#state].map((word) => word.toString(16).padStart(8, "0")).join("");
  }

  #compress(bytes: Uint8Array, at: number): void {
    const w = this.#schedule;
    const s = this.#state;
    const rotate = (x: number, n: number) => (x >>> n) | (x << (32 - n));
    let [a, b, c, d, e, f, g, h] = s as unknown as [number, number, number, number, number, number, number, number];
    for (let i = 0; i < 64; i++, at += 4) {
      if (i < 16) w[i] = (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
      else {
        const x = w[i - 15]!;
        const y = w[i - 2]!;
        w[i] = w[i - 16]! + w[i - 7]! + (rotate(x, 7) ^ rotate(x, 18) ^ (x >>> 3)) + (rotate(y, 17) ^ rotate(y, 19) ^ (y >>> 10));
      }
      const t1 = (h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + ROUND[i]! + w[i]!) | 0;
      const t2 = ((rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g; g = f; f = e; e = (d + t1) | 0;
      d = c; c = b; b = a; a = (t1 + t2) | 0;
    }
    [a, b, c, d, e, f, g, h].forEach((word, i) => (s[i]! += word));
  }
}
