// A file that is seen under its name when it is whole, and not before: what a sink that leaves files needs.

import { createHash } from 'node:crypto';
import { lstat, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, normalize } from 'node:path';
import { Fault } from './fault.js';

const UNFINISHED = '.partial';

/**
 * @param {string} what
 * @param {any} error
 */
function failed(what, error) {
  const hint = error.code === 'ENOENT' ? 'make the folder first' : '';
  return new Fault(`file.${what}`, 'sink', `the file cannot be delivered: ${error.code}`, { hint });
}

/** The host knows of the file before it is there: when this process is killed, another one is asked to undo. */
export class File {
  #hash = createHash('sha256');
  #size = 0;
  /** @type {import('node:fs/promises').FileHandle | undefined} */
  #handle;

  /**
   * @param {string} path
   * @param {import('node:fs/promises').FileHandle} handle
   * @param {() => void} release
   */
  constructor(path, handle, release) {
    this.path = path;
    this.#handle = handle;
    this.release = release;
  }

  /**
   * Begins a file of this run: its name begins with the run's id, and ends with ending.
   * @param {import('./stage.js').Context} context
   * @param {string} folder With its whole path.
   * @param {string} ending
   */
  static async begin(context, folder, ending) {
    if (!isAbsolute(folder)) throw new Fault('file.folder', 'usage', 'expected the whole path of a folder');
    const path = join(folder, context.runId + ending);
    const partial = path + UNFINISHED;
    const release = await context.announce({ name: `the unfinished file ${partial}`, remedy: 'remove the file', state: partial });
    try {
      return new File(path, await open(partial, 'wx', 0o600), release);
    } catch (error) {
      release();
      throw failed('open', error);
    }
  }

  /** @param {Uint8Array} data */
  async write(data) {
    await this.#handle?.writeFile(data).catch((error) => { throw failed('write', error); });
    this.#hash.update(data);
    this.#size += data.length;
  }

  /** Makes the file appear, whole and on the disk. */
  async commit() {
    try {
      await this.#handle?.sync();
      await rename(this.path + UNFINISHED, this.path);
      await this.#handle?.close();
    } catch (error) {
      throw failed('commit', error);
    }
    this.#handle = undefined;
    this.release();
    return { bytes: this.#size, sha256: this.#hash.digest('hex'), location: this.path };
  }

  /** Removes all traces; a second time, and after commit, it does nothing. */
  async abort() {
    if (!this.#handle) return;
    try {
      await rm(this.path + UNFINISHED);
      await this.#handle.close();
    } catch (error) {
      throw failed('abort', error);
    }
    this.#handle = undefined;
    this.release();
  }

  /**
   * Removes the file of a run whose process was killed, for the undo of a sink. It believes nothing of what it is given: only a file of
   * that run in this folder goes.
   * @param {string} folder
   * @param {{state: string}} resource
   * @param {string} runId
   */
  static async undo(folder, { state }, runId) {
    const name = basename(state);
    if (!runId || normalize(dirname(state)) !== normalize(folder) || !name.startsWith(runId) || !name.endsWith(UNFINISHED)) {
      throw new Fault('undo.foreign', 'plugin', `what was announced is no unfinished file of run "${runId}"`);
    }
    try {
      await lstat(folder); // without it, nothing is known of the file
    } catch (error) {
      throw failed('undo', error);
    }
    try {
      if (!(await lstat(join(folder, name))).isFile()) throw new Fault('undo.foreign', 'plugin', 'what was announced is no file');
      await rm(join(folder, name));
    } catch (error) {
      if (/** @type {NodeJS.ErrnoException} */ (error).code === 'ENOENT') return; // somebody has ended it
      throw error instanceof Fault ? error : failed('undo', error);
    }
  }
}
