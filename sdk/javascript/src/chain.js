// A group of stages in a row: each takes what the one before gives. It owns the order of their calls, and what is counted of them.

import { Binary, Data, makeData, RecordBatch, Schema, Struct, Field, util } from 'apache-arrow';
import path from 'node:path';
import { Fault, faultOf } from './fault.js';
import { MEDIA, noRows, Output, SHAPE } from './link.js';
import { CELLS } from './shared.js';
import { At } from './stage.js';
import { typeName, unstreamed } from './values.js';

/** @typedef {import('./stage.js').Media} Media */
/** @typedef {import('./stage.js').Context} Context */
/** @typedef {Uint8Array} Bytes */

const MOST_BATCH = 8 << 20; // bytes of a batch that is sent; the host's stages keep below twice that
const MOST_POSITION = 16 << 10;
const MOST_PIECE = 1 << 20; // bytes of one value in a stream of bytes

/** A stage in the row. */
class Node {
  /** @type {any} */
  next;

  /**
   * @param {import('./stage.js').Definition} definition
   * @param {any} stage
   * @param {Context} context
   * @param {{cells: Int32Array, number: number}} watched
   */
  constructor(definition, stage, context, { cells, number }) {
    this.definition = definition;
    this.manifest = definition.manifest;
    this.stage = stage;
    this.context = context;
    this.cells = cells;
    this.number = number;
  }

  /**
   * Calls the author's code: what goes wrong there names the stage.
   * @param {string} method
   * @param {any[]} args
   */
  async call(method, ...args) {
    try {
      return await this.stage[method](...args);
    } catch (error) {
      throw faultOf(error, this.context.stage);
    }
  }

  /**
   * The same of a call that computes, and must come back soon.
   * @param {string} method
   * @param {any[]} args
   */
  async compute(method, ...args) {
    this.enter();
    try {
      return await this.call(method, ...args);
    } finally {
      this.leave();
    }
  }

  enter() {
    Atomics.add(this.cells, CELLS.calls, 1);
    Atomics.store(this.cells, CELLS.in, this.number);
  }

  leave() {
    Atomics.store(this.cells, CELLS.in, 0);
  }

  /**
   * The fault of a stage that does not keep to its contract. It names where the author has defined it.
   * @param {string} what
   */
  wrong(what) {
    const { place } = this.definition;
    const where = place ? ` (at ${path.basename(place.file)}:${place.line})` : '';
    return new Fault('plugin.contract', 'plugin', what + where, { stage: this.context.stage });
  }

  /**
   * @param {any} given
   * @param {Schema} schema
   * @returns {RecordBatch}
   */
  batchOf(given, schema) {
    if (!(given instanceof RecordBatch)) throw this.wrong(`the stage gave ${kindOf(given)} instead of a RecordBatch`);
    if (given.schema !== schema && !util.compareSchemas(schema, given.schema)) {
      throw this.wrong(`the stage gave a batch with the columns ${columnsOf(given.schema)}; it had said ${columnsOf(schema)}`);
    }
    const uneven = given.data.children.findIndex((child) => child.length !== given.numRows);
    if (uneven >= 0) {
      const [rows, name] = [given.data.children[uneven].length, schema.fields[uneven].name];
      throw this.wrong(`the stage gave a batch of ${given.numRows} rows whose column ${JSON.stringify(name)} has ${rows}`);
    }
    return given.schema === schema ? given : new RecordBatch(schema, given.data);
  }

  /**
   * @param {any} given
   * @returns {Schema}
   */
  schemaOf(given) {
    if (!(given instanceof Schema)) throw this.wrong(`the stage gave ${kindOf(given)} instead of a Schema`);
    const type = unstreamed(given.fields);
    if (type) throw this.wrong(`the type ${type} cannot be in a stream: decode it first`);
    return given;
  }

  /**
   * @param {any} given
   * @returns {Bytes}
   */
  bytesOf(given) {
    if (given === undefined || given === null) return new Uint8Array(0);
    if (!(given instanceof Uint8Array)) throw this.wrong(`the stage gave ${kindOf(given)} instead of a Uint8Array`);
    return given;
  }

  /**
   * @param {any} given
   * @returns {Media}
   */
  mediaOf(given) {
    if (typeof given?.type !== 'string' || typeof given.extension !== 'string') {
      throw this.wrong(`bind gave ${kindOf(given)} instead of the Media, {type, extension}, that the stage makes`);
    }
    const { type, extension, contentEncoding = '', sealed = false } = given;
    return { type, extension, contentEncoding, sealed };
  }
}

/** @param {any} given */
const kindOf = (given) => (
  given === null ? 'null' : typeof given === 'object' ? `a ${given.constructor?.name ?? 'object'}` : typeof given);

/** @param {Schema} schema */
const columnsOf = ({ fields }) => (
  fields.map((f) => `${f.name} (${typeName(f)}${f.nullable ? '' : ', not null'})`).join(', ') || 'none');

/** The stage that rows come from. */
export class SourceNode extends Node {
  rows = 0;
  /** @type {string | undefined} */
  position;
  batchRows = 8192;

  /**
   * @param {(schema: Schema, estimated: number) => void} opened
   * @param {() => void} check
   */
  async run(opened, check) {
    try {
      const schema = this.schemaOf(await this.call('open'));
      opened(schema, Math.trunc(Number(this.stage.estimatedRows ?? 0)));
      await this.next.begin(schema);
      const batches = await this.call('batches');
      const iterator = batches?.[Symbol.asyncIterator]?.() ?? batches?.[Symbol.iterator]?.();
      if (!iterator) throw this.wrong(`batches gave ${kindOf(batches)}, which cannot be iterated`);
      for (;;) {
        const { value, done } = await this.#following(iterator);
        if (done) break;
        const [given, position] = value instanceof At ? [value.batch, value.position] : [value, undefined];
        const batch = this.batchOf(given, schema);
        if (position !== undefined && Buffer.byteLength(position) > MOST_POSITION) {
          throw this.wrong('the position of a checkpoint is longer than 16 KiB');
        }
        for (const [part, last] of parts(batch, this.batchRows)) {
          check();
          this.rows += part.numRows;
          await this.next.put(part, last ? position : undefined);
        }
        this.position = position ?? this.position;
      }
      await this.next.finish();
    } finally {
      if (this.stage.close) await this.call('close');
    }
  }

  // A source waits for others: that is no stall.
  /** @param {AsyncIterator<any> | Iterator<any>} iterator */
  async #following(iterator) {
    try {
      return await iterator.next();
    } catch (error) {
      throw faultOf(error, this.context.stage);
    }
  }
}

/**
 * A batch in parts that are not too large, each with whether it is the last.
 * @param {RecordBatch} batch
 * @param {number} mostRows
 * @returns {Iterable<[RecordBatch, boolean]>}
 */
function* parts(batch, mostRows) {
  const rows = batch.numRows;
  const size = rows > 0 ? batch.data.byteLength : 0;
  const fitting = size > MOST_BATCH ? Math.floor((rows * MOST_BATCH) / size) : mostRows;
  const each = Math.max(1, Math.min(mostRows, fitting));
  if (rows <= each) {
    yield [batch, true];
    return;
  }
  for (let at = 0; at < rows; at += each) yield [/** @type {RecordBatch} */ (batch.slice(at, at + each)), at + each >= rows];
}

/** A stage from rows to rows. One that holds rows back hands a position on at its end, behind them. */
export class FilterNode extends Node {
  /** @type {string | undefined} */
  #waiting;
  /** @type {any} */
  #schema;

  /** @param {Schema} schema */
  async begin(schema) {
    this.#schema = this.schemaOf(await this.compute('bind', schema));
    await this.next.begin(this.#schema);
  }

  /**
   * @param {RecordBatch} batch
   * @param {string} [position]
   */
  async put(batch, position) {
    const keeps = this.manifest.keeps_rows;
    const made = batch.numRows > 0 ? (await this.compute('apply', batch)) ?? undefined : undefined;
    const given = made === undefined ? undefined : this.batchOf(made, this.#schema);
    if (keeps && (given?.numRows ?? 0) !== batch.numRows) {
      throw this.wrong(`the filter says that it keeps every row, and made ${given?.numRows ?? 0} of ${batch.numRows}`);
    }
    if (this.stage.end && !keeps) {
      this.#waiting = position ?? this.#waiting;
      position = undefined;
    }
    if (given) await this.next.put(given, position);
    else if (position !== undefined) await this.next.put(noRows(this.#schema), position);
  }

  async finish() {
    if (this.stage.end) {
      const batches = await this.compute('end');
      const iterator = batches?.[Symbol.asyncIterator]?.() ?? batches?.[Symbol.iterator]?.();
      if (batches !== undefined && !iterator) throw this.wrong(`end gave ${kindOf(batches)}, which cannot be iterated`);
      while (iterator) {
        const { value, done } = await this.#following(iterator);
        if (done) break;
        await this.next.put(this.batchOf(value, this.#schema), undefined);
      }
    }
    if (this.#waiting !== undefined) await this.next.put(noRows(this.#schema), this.#waiting);
    await this.next.finish();
  }

  /** @param {AsyncIterator<any> | Iterator<any>} iterator */
  async #following(iterator) {
    this.enter();
    try {
      return await iterator.next();
    } catch (error) {
      throw faultOf(error, this.context.stage);
    } finally {
      this.leave();
    }
  }
}

/** A stage from rows to bytes or records. */
export class EncoderNode extends Node {
  rows = 0;
  bytes = 0;
  /** @type {Media | undefined} */
  media;

  /** @param {Schema} schema */
  async begin(schema) {
    this.media = this.mediaOf(await this.compute('bind', schema));
    await this.next.beginStream(this.manifest.shape_out, this.media);
  }

  /** @param {RecordBatch} batch */
  async put(batch) {
    this.rows += batch.numRows;
    if (batch.numRows > 0) await this.#give(await this.compute('encode', batch), batch.numRows);
  }

  /**
   * @param {any} given
   * @param {number} [rows]
   */
  async #give(given, rows) {
    let values;
    if (this.manifest.shape_out === 'bytes') {
      values = [this.bytesOf(given)];
    } else {
      values = [...(given ?? [])].map((v) => this.bytesOf(v));
      if (rows !== undefined && values.length !== rows) {
        throw this.wrong(`an encoder of records gives one for every row, and this one gave ${values.length} for ${rows}`);
      }
    }
    for (const v of values) this.bytes += v.length;
    await this.next.putStream(values);
  }

  async finish() {
    if (this.stage.end) await this.#give(await this.compute('end'));
    await this.next.finish();
  }
}

/** A compressor or an encryptor. */
export class BytesNode extends Node {
  /** @type {Media | undefined} */
  media;

  get #records() {
    return this.manifest.shape_in === 'records';
  }

  /**
   * @param {string} shape
   * @param {Media} media
   */
  async beginStream(shape, media) {
    if (this.#records && shape !== 'records') {
      throw new Fault('link.protocol', 'plugin', 'the stage takes records, and is given a stream of bytes', { stage: this.context.stage });
    }
    this.media = this.mediaOf(await this.compute('bind', media));
    await this.next.beginStream(this.#records ? 'records' : 'bytes', this.media);
  }

  /** @param {Bytes[]} values */
  async putStream(values) {
    if (this.#records) {
      const sealed = [];
      for (const v of values) sealed.push(this.bytesOf(await this.compute('seal', v)));
      await this.next.putStream(sealed);
      return;
    }
    const data = joined(values);
    if (data.length > 0) await this.next.putStream([this.bytesOf(await this.compute('write', data))]);
  }

  async finish() {
    if (!this.#records) await this.next.putStream([this.bytesOf(await this.compute('end'))]);
    await this.next.finish();
  }
}

/** @param {Bytes[]} values */
const joined = (values) => (values.length === 1 ? values[0] : Buffer.concat(values));

/** Where it ends: in somebody's hands after commit, and nowhere after abort. */
export class SinkNode extends Node {
  rows = 0;
  bytes = 0;
  #over = false;

  get takesRows() {
    return this.manifest.shape_in === 'table';
  }

  /** @param {Schema} schema */
  async begin(schema) {
    await this.call('open', schema);
  }

  /**
   * @param {string} _shape
   * @param {Media} media
   */
  async beginStream(_shape, media) {
    await this.call('open', media);
  }

  /**
   * @param {RecordBatch} batch
   * @param {string} [position]
   */
  async put(batch, position) {
    await this.call('write', batch, position);
    this.rows += batch.numRows;
  }

  /** @param {Bytes[]} values */
  async putStream(values) {
    const data = joined(values);
    if (data.length === 0) return;
    await this.call('write', data);
    this.bytes += data.length;
  }

  async finish() {}

  async commit() {
    const receipt = await this.call('commit');
    if (receipt === null || typeof receipt !== 'object') {
      throw this.wrong(`commit gave ${kindOf(receipt)} instead of a receipt, {bytes, sha256, location}`);
    }
    const { bytes, sha256, location, link, linkExpires } = receipt;
    return { bytes, sha256, location, link, link_expires: linkExpires };
  }

  async abort() {
    if (this.#over) return;
    this.#over = true;
    await this.call('abort');
  }
}

/** What the group gives, on its way to the stage after. */
export class OutputNode {
  /** @type {Output | undefined} */
  #output;
  /** @type {any} */
  #schema;
  #shape = 'table';

  /**
   * @param {() => Promise<import('node:net').Socket>} ready
   * @param {() => void} check
   */
  constructor(ready, check) {
    this.ready = ready;
    this.check = check;
  }

  get bytes() {
    return this.#output?.bytes ?? 0;
  }

  /** @param {Schema} schema */
  async begin(schema) {
    this.#schema = schema;
    this.#output = new Output(await this.ready());
    await this.#output.begin(schema);
  }

  /**
   * @param {string} shape
   * @param {Media} media
   */
  async beginStream(shape, media) {
    this.#shape = shape;
    const { type, extension, contentEncoding, sealed } = media;
    const text = JSON.stringify({ Type: type, Extension: extension, ContentEncoding: contentEncoding, Sealed: sealed });
    await this.begin(new Schema([new Field(shape, new Binary(), false)], new Map([[SHAPE, shape], [MEDIA, text]])));
  }

  /**
   * @param {RecordBatch} batch
   * @param {string} [position]
   */
  async put(batch, position) {
    for (const [part, last] of parts(batch, batch.numRows)) {
      this.check();
      await this.#output?.write(part, last ? position : undefined);
    }
  }

  /** @param {Bytes[]} values */
  async putStream(values) {
    if (this.#shape === 'bytes') {
      const whole = joined(values);
      values = [];
      for (let at = 0; at < whole.length; at += MOST_PIECE) values.push(whole.subarray(at, at + MOST_PIECE));
    }
    if (values.length > 0) await this.put(binaryBatch(this.#schema, values), undefined);
  }

  async finish() {
    this.check();
    await this.#output?.end();
  }
}

/**
 * @param {Schema} schema
 * @param {Bytes[]} values
 */
function binaryBatch(schema, values) {
  const offsets = new Int32Array(values.length + 1);
  values.forEach((v, i) => { offsets[i + 1] = offsets[i] + v.length; });
  const child = makeData({ type: new Binary(), length: values.length, nullCount: 0, valueOffsets: offsets, data: joined(values) });
  const type = new Struct(schema.fields);
  return new RecordBatch(schema, makeData({ type, length: values.length, nullCount: 0, children: [child] }));
}

/**
 * Gives a batch of the input to the first stage.
 * @param {any} first
 * @param {string} shape
 * @param {RecordBatch} batch
 * @param {string} [position]
 */
export async function feed(first, shape, batch, position) {
  if (shape === 'table') {
    await first.put(batch, position);
    return;
  }
  const data = /** @type {Data} */ (batch.data.children[0]);
  if (data.nullCount > 0) throw new Fault('link.protocol', 'plugin', 'the input is no valid stream: a null in a stream of bytes');
  const { values, valueOffsets, length } = data;
  if (length === 0) return;
  const at = (/** @type {number} */ i) => Number(valueOffsets[i]);
  if (shape === 'bytes') await first.putStream([values.subarray(at(0), at(length))]);
  else await first.putStream(Array.from({ length }, (_, i) => values.subarray(at(i), at(i + 1))));
}
