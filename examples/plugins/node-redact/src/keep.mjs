// The sink redact/keep: it takes rows with their types, and leaves them in a file as an Arrow IPC stream, which any Arrow
// library reads. Nothing is seen under the file's name before the run has succeeded.

import { createHash } from 'node:crypto';
import { lstat, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { Encoding, Fault, sink } from 'cipherstream';

function failed(what, error) {
  return new Fault(`redact.keep_${what}`, 'sink', `the rows cannot be kept: ${error.code ?? error.name}`);
}

const settings = { path: { required: true, min: 1, doc: 'The file, with its whole path.' } };
const doc = 'The file appears when it is whole, and takes the place of one that is there. The plugin must be allowed to write its folder.';

/** The sink: open, write for every batch, then commit or abort. Or undo, of what another one had begun. */
export const keep = sink('keep', { rows: true, settings, doc, summary: 'Leaves the rows in a file, as an Arrow IPC stream.' }, class {
  #context;
  #path;
  #partial;
  #release; // of the announcement
  #file;
  #encoding = new Encoding();
  #hash = createHash('sha256');
  #bytes = 0;

  constructor({ path }, context) {
    this.#context = context;
    if (!isAbsolute(path)) throw new Fault('redact.keep_path', 'usage', 'path: expected the whole path of a file');
    this.#path = path;
  }

  /** Begins the file under a name that nobody looks for, when the host knows of it. */
  async open(schema) {
    const partial = unfinished(this.#path, this.#context.runId);
    this.#release = await this.#context.announce({ name: `the unfinished file ${partial}`, remedy: `rm ${quoted(partial)}`, state: partial });
    try {
      this.#file = await open(partial, 'wx', 0o600);
    } catch (error) {
      this.#release(); // it has not begun
      throw failed('open', error);
    }
    this.#partial = partial;
    await this.#write(this.#encoding.begin(schema));
  }

  /** Appends a batch, and behind its rows the source's position, if there is one. */
  async write(batch, position) {
    await this.#write(this.#encoding.write(batch, position));
  }

  async #write(pieces) {
    try {
      for (const piece of pieces) {
        await this.#file.writeFile(piece); // all of it, from where the last one ended
        this.#hash.update(piece);
        this.#bytes += piece.byteLength;
      }
    } catch (error) {
      throw failed('write', error);
    }
  }

  /** Makes the file appear, whole and on the disk, and gives the receipt. */
  async commit() {
    await this.#write(this.#encoding.end());
    try {
      await this.#file.sync();
      await this.#file.close();
      this.#file = undefined;
      await rename(this.#partial, this.#path);
      this.#partial = undefined;
    } catch (error) {
      throw failed('commit', error);
    }
    await syncFolder(dirname(this.#path));
    this.#release();
    return { bytes: this.#bytes, sha256: this.#hash.digest('hex'), location: this.#path };
  }

  /** Removes all traces. It may come at any time, and more than once; after commit it does nothing. */
  async abort() {
    const [file, partial] = [this.#file, this.#partial];
    this.#file = this.#partial = undefined;
    try {
      await file?.close();
      if (!partial) return;
      await rm(partial, { force: true });
    } catch (error) {
      throw failed('abort', error); // and it is not released, so that the host has it undone
    }
    this.#release();
  }

  /**
   * Removes the unfinished file of a run whose process has died. Nobody is to be believed who says what that is: only the one name
   * is removed that open gives to the file of that run, which the host names, beside the file of these settings.
   */
  async undo({ state: partial }, runId) {
    if (!runId || !isAbsolute(partial) || !partial.endsWith(`.${runId}.partial`)) {
      throw new Fault('undo.foreign', 'plugin', `the run ${JSON.stringify(runId)} has announced what is no unfinished file of it`);
    }
    if (partial !== unfinished(this.#path, runId)) {
      throw new Fault('undo.elsewhere', 'sink', `the unfinished file is none that becomes ${this.#path}`);
    }
    try {
      await lstat(dirname(partial)); // without its folder, which this process may not be allowed to see, nothing is known of the file
    } catch (error) {
      throw failed('undo', error);
    }
    try {
      const there = await lstat(partial);
      if (!there.isFile() || there.uid !== process.geteuid()) throw new Fault('undo.foreign', 'plugin', 'the unfinished file is no file of this user');
      await rm(partial);
    } catch (error) {
      if (error.code === 'ENOENT') return; // somebody has ended it
      throw error instanceof Fault ? error : failed('undo', error);
    }
  }
});

/** The name of a run's file until it is whole. */
const unfinished = (path, runId) => join(dirname(path), `.${basename(path)}.${runId}.partial`);

/** A path as one word of a shell. */
const quoted = (path) => `'${path.replaceAll("'", `'\\''`)}'`;

/** Makes the new name last too; not every file system can. */
async function syncFolder(path) {
  try {
    const folder = await open(path, 'r');
    await folder.sync().finally(() => folder.close());
  } catch {
    // The file is there, under its name.
  }
}
