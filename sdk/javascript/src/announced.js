// What a stage begins outside of this process, a file for instance, is still there when the process is killed. So the stage announces it to
// the host first, which has another process undo it (PROTOCOL.md, "What outlives the process").

import { cancelled, Fault } from './fault.js';

const LONGEST_TEXT = 2000; // bytes of a name and of a remedy
const LONGEST_STATE = 16 << 10;

/** The announcements of one run. */
export class Announced {
  #send;
  #signal;
  #last = 0;
  /** @type {Map<number, () => void>} */
  #waiting = new Map(); // those that the host has not acknowledged: id → what to call when it has

  /**
   * @param {(event: object) => void} send
   * @param {AbortSignal} signal aborts when the run is cancelled: nobody acknowledges anything then
   */
  constructor(send, signal) {
    this.#send = send;
    this.#signal = signal;
  }

  /**
   * Tells the host what a stage is about to begin, and waits until the host has it: only then may the stage begin.
   * @param {string} stage
   * @param {import('./stage.js').Resource} resource
   * @returns {Promise<() => void>} for the stage to call when it has ended what it began, or Commit has handed it over
   */
  async announce(stage, { name, remedy, state = '', discoverable = false }) {
    const sizes = [name, remedy, state].map((text) => Buffer.byteLength(text));
    if (sizes.some((size, i) => size > [LONGEST_TEXT, LONGEST_TEXT, LONGEST_STATE][i])) {
      throw new Fault('plugin.contract', 'plugin', `something is announced in ${sizes.join(', ')} bytes; `
        + `expected at most ${LONGEST_TEXT}, ${LONGEST_TEXT}, ${LONGEST_STATE}`);
    }
    this.#last += 1;
    const id = this.#last;
    let over = false;
    const release = () => {
      if (over) return;
      over = true;
      this.#waiting.delete(id);
      this.#send({ released: { id } });
    };
    try {
      if (this.#signal.aborted) throw cancelled();
      await new Promise((resolve, reject) => {
        this.#waiting.set(id, () => resolve(undefined));
        this.#signal.addEventListener('abort', () => reject(cancelled()), { once: true });
        this.#send({ announced: { id, stage, resource: { name, remedy, state: Buffer.from(state), discoverable } } });
      });
    } catch (error) {
      release(); // it has not begun
      throw error;
    }
    return release;
  }

  /**
   * The host has an announcement. Another number than one that waits is passed over.
   * @param {number} id
   */
  acknowledge(id) {
    this.#waiting.get(id)?.();
    this.#waiting.delete(id);
  }
}
