// What an author writes: a class for each stage, and a function that says what it is.
//
// Every class is made with (settings, context), and its methods are called one after the other; each may be async.
//
// | kind | methods |
// |---|---|
// | source | open() gives the Schema; batches() iterates RecordBatch, or At with a position; may have close(), estimatedRows |
// | filter | bind(schema) gives the Schema; apply(batch) a batch or nothing; may have end(), which gives more batches |
// | encoder | bind(schema) gives the Media; encode(batch) bytes, or an array of records; may have end(), which gives the same |
// | compressor | bind(media) gives the Media; write(data) and end() bytes |
// | encryptor | the same; one of records has seal(record) in place of write and end |
// | sink | open(media), write(data), commit() gives the Receipt, abort(); may have undo(resource, runId) |
// | sink of rows | open(schema), write(batch, position), commit() gives the Receipt, abort(); may have undo |

import { authored, framesOf } from './fault.js';
import { specOf } from './setting.js';

/** @typedef {import('apache-arrow').RecordBatch} RecordBatch */
/** @typedef {import('apache-arrow').Schema} Schema */
/** @typedef {import('./setting.js').Settings} Settings */

/**
 * @template T
 * @typedef {T | Promise<T>} Awaitable
 */

/**
 * What a stream of bytes is.
 * @typedef {{type: string, extension: string, contentEncoding?: string, sealed?: boolean}} Media
 */

/**
 * What a sink has made visible: bytes and SHA-256 of the object, and where it is, without credentials. linkExpires is in seconds
 * since 1970-01-01 00:00 UTC.
 * @typedef {{bytes?: number, sha256?: string, location?: string, link?: string, linkExpires?: number}} Receipt
 */

/**
 * Something outside of the process that outlives it. None of the texts holds a secret.
 * @typedef {{name: string, remedy: string, state?: string, discoverable?: boolean}} Resource
 */

/**
 * What a stage may use of its run.
 * @typedef {object} Context
 * @property {string} stage The stage's name in the plan.
 * @property {string} runId Safe in a file name.
 * @property {string} dir A private folder, which goes with the process.
 * @property {string} traceparent The W3C trace context of who asked for the run; empty without one.
 * @property {Log} log Lines for the host's log.
 * @property {AbortSignal} signal Aborts when the run is to end.
 * @property {(name: string, n?: number) => void} count Adds to a counter of the receipt.
 * @property {(name: string, text: string) => void} fact Says something of this run that no number tells.
 * @property {() => boolean} cancelled Whether the run is to end: what takes long looks here, also in a loop without await.
 * @property {(resource: Resource) => Promise<() => void>} announce Tells the host what is about to be begun outside of this
 *   process; when it resolves the host has it. What it gives is called when that has ended.
 */

/** @typedef {Record<'info' | 'warn' | 'error', (message: string, attributes?: Record<string, unknown>) => void>} Log */

/**
 * @typedef {{open(): Awaitable<Schema>, batches(): Iterable<RecordBatch | At> | AsyncIterable<RecordBatch | At>,
 *   close?(): Awaitable<void>, estimatedRows?: number, check?(report: import('./check.js').Report): Awaitable<Schema | void>}} Source
 * @typedef {{bind(schema: Schema): Awaitable<Schema>, apply(batch: RecordBatch): Awaitable<RecordBatch | undefined | void>,
 *   end?(): Iterable<RecordBatch> | AsyncIterable<RecordBatch>}} Filter
 * @typedef {{bind(schema: Schema): Awaitable<Media>, encode(batch: RecordBatch): Awaitable<Uint8Array | Uint8Array[]>,
 *   end?(): Awaitable<Uint8Array | Uint8Array[] | undefined | void>}} Encoder
 * @typedef {{bind(media: Media): Awaitable<Media>, write(data: Uint8Array): Awaitable<Uint8Array | undefined | void>,
 *   end(): Awaitable<Uint8Array | undefined | void>}} Transform
 * @typedef {{bind(media: Media): Awaitable<Media>, seal(record: Uint8Array): Awaitable<Uint8Array>}} RecordSealer
 * @typedef {{open(given: any): Awaitable<void>, write(data: any, position?: string): Awaitable<void>, commit(): Awaitable<Receipt>,
 *   abort(): Awaitable<void>, undo?(resource: Required<Resource>, runId: string): Awaitable<void>,
 *   check?(report: import('./check.js').Report): Awaitable<void>}} Sink
 */

/**
 * @template S
 * @typedef {new (settings: any, context: Context) => S} Makes
 */

/** @typedef {{settings?: Settings, summary?: string, doc?: string}} About */

/** A source's batch (which may have no rows) and the position behind it, from which a later run can go on. */
export class At {
  /**
   * @param {RecordBatch} batch
   * @param {string} position
   */
  constructor(batch, position) {
    this.batch = batch;
    this.position = position;
  }
}

/** What one of the functions below gives: a stage, and what Describe says of it. */
export class Definition {
  /**
   * @param {Makes<any>} Stage
   * @param {Settings} settings
   * @param {{kind: string, name: string, summary: string, doc: string, shape_in: string, shape_out: string, keeps_rows: boolean}} about
   */
  constructor(Stage, settings, about) {
    this.Stage = Stage;
    this.settings = settings;
    this.manifest = { ...about, spec: Buffer.from(JSON.stringify({ fields: specOf(settings) })) };
    /** Where the author has defined it, for faults. */
    this.place = framesOf(new Error('here')).find(authored);
  }
}

/**
 * @param {string} kind
 * @param {string} name
 * @param {[string, string]} shapes
 * @param {string[]} methods
 * @param {About & {keepsRows?: boolean}} about
 * @param {Makes<any>} Stage
 */
function define(kind, name, [shapeIn, shapeOut], methods, { settings = {}, summary, doc = '', keepsRows = false }, Stage) {
  for (const method of methods) {
    if (typeof Stage?.prototype?.[method] !== 'function') {
      throw new TypeError(`${kind} ${JSON.stringify(name)} has no method ${method}()`);
    }
  }
  const line = summary || doc.split('\n')[0] || `${kind} ${name}`;
  return new Definition(Stage, settings, { kind, name, summary: line, doc, shape_in: shapeIn, shape_out: shapeOut, keeps_rows: keepsRows });
}

/**
 * A stage that reads rows from somewhere.
 * @param {string} name
 * @param {About} about
 * @param {Makes<Source>} Stage
 */
export const source = (name, about, Stage) => define('source', name, ['', 'table'], ['open', 'batches'], about, Stage);

/**
 * A stage that takes rows and gives rows. keepsRows says that it gives exactly one for each.
 * @param {string} name
 * @param {About & {keepsRows?: boolean}} about
 * @param {Makes<Filter>} Stage
 */
export const filter = (name, about, Stage) => define('filter', name, ['table', 'table'], ['bind', 'apply'], about, Stage);

/**
 * A stage that makes bytes of rows; with records, an array with one record, and its line end, for each.
 * @param {string} name
 * @param {About & {records?: boolean}} about
 * @param {Makes<Encoder>} Stage
 */
export const encoder = (name, about, Stage) => (
  define('encoder', name, ['table', about.records ? 'records' : 'bytes'], ['bind', 'encode'], about, Stage));

/**
 * A stage that makes fewer bytes of bytes.
 * @param {string} name
 * @param {About} about
 * @param {Makes<Transform>} Stage
 */
export const compressor = (name, about, Stage) => (
  define('compressor', name, ['bytes', 'bytes'], ['bind', 'write', 'end'], about, Stage));

/**
 * A stage that seals bytes; with records, each record by itself.
 * @param {string} name
 * @param {About & {records?: boolean}} about
 * @param {Makes<Transform> | Makes<RecordSealer>} Stage
 */
export function encryptor(name, about, Stage) {
  const shape = about.records ? 'records' : 'bytes';
  return define('encryptor', name, [shape, shape], about.records ? ['bind', 'seal'] : ['bind', 'write', 'end'], about, Stage);
}

/**
 * A stage that leaves bytes, or rows, somewhere: visible after commit, and without a trace after abort.
 * @param {string} name
 * @param {About & {rows?: boolean}} about
 * @param {Makes<Sink>} Stage
 */
export const sink = (name, about, Stage) => (
  define('sink', name, [about.rows ? 'table' : 'bytes', ''], ['open', 'write', 'commit', 'abort'], about, Stage));
