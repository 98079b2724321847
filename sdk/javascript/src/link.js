// The two ends of a group's data: an Arrow IPC stream that comes in on one unix socket, and one that goes out on
// another (PROTOCOL.md, "Data"). At most one batch is held in each direction; the rest is the sockets' back-pressure.

import { timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import { AsyncByteQueue, DataType, Message, RecordBatch, RecordBatchReader, RecordBatchStreamWriter } from 'apache-arrow';
import { Fault, nameOf } from './fault.js';
import { unstreamed } from './values.js';

/** @typedef {import('apache-arrow').Schema} Schema */
/** @typedef {import('./stage.js').Media} Media */

/**
 * Who has to be at the other end of a data socket (control.proto).
 * @typedef {{hello?: Uint8Array, welcome?: Uint8Array, patience_nanoseconds?: number}} Peer
 */

/** Keys of the metadata of schemas and batches. */
export const SHAPE = 'cipherstream.shape';
export const MEDIA = 'cipherstream.media';
const CHECKPOINT = 'cipherstream.checkpoint';


const CONTINUATION = 0xffffffff;
const PREFIX = 8; // the continuation marker and the length of the metadata
const MOST_METADATA = 16 * 2 ** 20;
const MOST_BODY = 2 ** 31 - 1;

const upstreamEnded = () => new Fault('link.upstream_ended', 'plugin', 'the stage before ended without finishing its stream');
const downstreamEnded = () => new Fault('link.downstream_ended', 'plugin', 'the stage after ended before it had everything');
const malformed = (/** @type {string} */ what) => (
  new Fault('link.protocol', 'plugin', `the stage before sent something that is not a valid Arrow stream: ${what}`));

const LONGEST_WAIT = 2 ** 31 - 1; // ms, of a timer
const MOST_PENDING = 64; // connections that have not said their word

/** How long a neighbour may take to say its word; 0 is for ever. */
const patience = (/** @type {Peer | undefined} */ peer) => Math.min(Number(peer?.patience_nanoseconds ?? 0) / 1e6, LONGEST_WAIT);

/**
 * Reads as many bytes as the word has, and no more, and says whether they are the word.
 * @param {net.Socket} socket
 * @param {Buffer} word
 * @param {number} milliseconds
 * @returns {Promise<boolean>}
 */
function says(socket, word, milliseconds) {
  return new Promise((resolve) => {
    const timer = milliseconds > 0 ? setTimeout(() => socket.destroy(), milliseconds) : undefined;
    const settle = (/** @type {boolean} */ is) => {
      clearTimeout(timer);
      socket.off('readable', look).off('end', ended).off('close', ended);
      resolve(is);
    };
    // One listener, which hears of new bytes only: one that is made anew for a part of a word is called again at once.
    const look = () => {
      const heard = socket.read(word.length);
      if (heard) settle(heard.length === word.length && timingSafeEqual(heard, word));
    };
    const ended = () => settle(false);
    socket.on('readable', look).on('end', ended).on('close', ended);
    if (socket.destroyed || socket.readableEnded) ended();
    else look();
  });
}

/**
 * Listens for the one neighbour upstream, which may connect before anybody waits for it. Who does not say the word that the
 * host has given to the neighbour alone is turned away, and holds nobody up. Node.js cannot ask the system who it is.
 */
export class Listener {
  #server = net.createServer({ pauseOnConnect: true });
  /** @type {Set<net.Socket>} */
  #pending = new Set();
  #peer;
  /** @type {((socket: net.Socket) => void) | undefined} */
  #took;
  /** @type {Promise<net.Socket>} */
  #connection = new Promise((resolve) => { this.#took = resolve; });

  /** @param {Peer} [peer] */
  constructor(peer) {
    this.#peer = peer;
    this.#server.on('connection', (socket) => this.#meet(socket));
  }

  /** @param {net.Socket} socket */
  async #meet(socket) {
    socket.on('error', () => {}); // whoever reads is told
    this.#pending.add(socket);
    if (this.#pending.size > MOST_PENDING) this.#pending.values().next().value?.destroy();
    const { hello, welcome } = this.#peer ?? {};
    const known = !hello?.length || (await says(socket, Buffer.from(hello), patience(this.#peer)));
    this.#pending.delete(socket);
    if (!known || !this.#took) {
      socket.destroy();
      return;
    }
    if (hello?.length) socket.write(Buffer.from(welcome ?? []));
    this.#took(socket);
    this.#took = undefined;
    this.close();
  }

  /** @param {string} path */
  async open(path) {
    try {
      this.#server.listen(path);
      await once(this.#server, 'listening');
    } catch (error) {
      throw new Fault('link.listen', 'internal', `cannot listen on the data socket: ${codeOf(error)}`);
    }
    return this;
  }

  /**
   * Waits for the neighbour and returns its connection.
   * @param {AbortSignal} signal
   * @returns {Promise<net.Socket>}
   */
  async accept(signal) {
    signal.throwIfAborted();
    const aborted = once(signal, 'abort').then(() => Promise.reject(signal.reason));
    return Promise.race([this.#connection, aborted]);
  }

  close() {
    this.#server.close();
    for (const socket of this.#pending) socket.destroy();
  }
}

/** @param {unknown} error */
const codeOf = (error) => /** @type {NodeJS.ErrnoException} */ (error)?.code;

/**
 * Connects to the neighbour downstream, and says hello.
 * @param {string} path
 * @param {AbortSignal} signal
 * @param {Peer} [peer]
 */
export async function connect(path, signal, peer) {
  const socket = net.connect(path);
  try {
    await once(socket, 'connect', { signal });
  } catch (error) {
    socket.destroy();
    if (signal.aborted) throw error;
    throw new Fault('link.downstream_ended', 'plugin', `cannot connect to the stage after: ${codeOf(error)}`);
  }
  if (peer?.hello?.length) socket.write(Buffer.from(peer.hello));
  return socket;
}

/**
 * Waits for the answer. Nothing is sent before it: somebody else may have taken the socket's place.
 * @param {net.Socket} socket
 * @param {Peer} [peer]
 */
export async function answered(socket, peer) {
  if (!peer?.welcome?.length) return;
  if (await says(socket, Buffer.from(peer.welcome), patience(peer))) return;
  socket.destroy();
  throw new Fault('link.stranger', 'plugin', 'whoever listens at the data socket of the stage after does not know the word of the host');
}

/**
 * Cuts what a socket delivers into whole messages and gives each as one piece, from its prefix to the end of its body.
 * apache-arrow takes the end of its input for the end of the stream. Here it is an error, unless the end-of-stream marker
 * came: without it, the neighbour died, and what it did not send must not be missing silently.
 * @param {net.Socket} socket
 */
async function* messages(socket) {
  const source = socket[Symbol.asyncIterator]();
  /** @type {Buffer[]} */
  let chunks = [];
  let size = 0;
  const fill = async (/** @type {number} */ n) => {
    while (size < n) {
      const { value, done } = await source.next();
      if (done) throw upstreamEnded();
      chunks.push(value);
      size += value.length;
    }
    if (chunks.length > 1) chunks = [Buffer.concat(chunks, size)];
    return chunks[0];
  };
  for (;;) {
    const prefix = await fill(PREFIX);
    if (prefix.readUInt32LE(0) !== CONTINUATION) throw malformed('a message does not begin with FFFFFFFF');
    const metadata = prefix.readInt32LE(4);
    if (metadata < 0 || metadata > MOST_METADATA) throw malformed(`metadata of ${metadata} bytes`);
    let total = PREFIX + metadata;
    if (metadata > 0) {
      const body = bodyLength((await fill(total)).subarray(PREFIX, total));
      if (!(body >= 0 && body <= MOST_BODY)) throw malformed(`a body of ${body} bytes`);
      total += body;
    }
    const whole = await fill(total);
    // A copy of its own, which starts at an aligned address.
    yield new Uint8Array(whole.subarray(0, total));
    chunks = size > total ? [whole.subarray(total)] : [];
    size -= total;
    if (metadata === 0) return; // the end-of-stream marker
  }
}

/** @param {Uint8Array} metadata */
function bodyLength(metadata) {
  try {
    return Number(Message.decode(metadata).bodyLength);
  } catch (error) {
    throw malformed(`the metadata of a message cannot be read (${nameOf(error)})`);
  }
}

/** A stream of batches from the stage before. */
export class Input {
  /**
   * @param {import('apache-arrow').AsyncRecordBatchStreamReader} reader
   * @param {string} shape
   * @param {Media} media
   */
  constructor(reader, shape, media) {
    this.reader = reader;
    this.schema = reader.schema;
    this.shape = shape;
    this.media = media;
  }

  /**
   * Opens the stream that a socket delivers.
   * @param {net.Socket} socket
   */
  static async open(socket) {
    const reader = await firstOf(socket);
    const { fields, metadata } = reader.schema;
    const type = unstreamed(fields);
    if (type) throw malformed(`the type ${type} cannot be in a stream`);
    const shape = metadata.get(SHAPE) ?? 'table';
    if (!['table', 'records', 'bytes'].includes(shape)) throw malformed('it has an unknown shape');
    const binary = fields.length === 1 && (DataType.isBinary(fields[0].type) || DataType.isLargeBinary(fields[0].type));
    if (shape !== 'table' && !binary) {
      throw malformed('a stream of bytes has one column, which is binary');
    }
    return new Input(reader, shape, mediaOf(metadata.get(MEDIA)));
  }

  /**
   * The batches that hold rows, or a position, up to the marker. apache-arrow makes one without rows up where a stream has none.
   * @returns {AsyncGenerator<[RecordBatch, string | undefined]>} each with the source's position behind it
   */
  async* batches() {
    try {
      for await (const batch of this.reader) {
        const position = batch.metadata.get(CHECKPOINT);
        if (batch.numRows > 0 || position) yield [batch, position];
      }
    } catch (error) {
      throw inputFault(error);
    }
  }
}

/**
 * @param {net.Socket} socket
 * @returns {Promise<import('apache-arrow').AsyncRecordBatchStreamReader>}
 */
async function firstOf(socket) {
  try {
    const reader = await RecordBatchReader.from(messages(socket));
    const opened = await reader.open();
    if (!opened.isAsync()) throw malformed('it is not a stream');
    return /** @type {import('apache-arrow').AsyncRecordBatchStreamReader} */ (opened);
  } catch (error) {
    throw inputFault(error);
  }
}

/**
 * @param {string | undefined} text
 * @returns {Media}
 */
function mediaOf(text) {
  try {
    const { Type = '', Extension = '', ContentEncoding = '', Sealed = false } = JSON.parse(text ?? '{}');
    return { type: Type, extension: Extension, contentEncoding: ContentEncoding, sealed: Sealed };
  } catch {
    throw malformed('its media cannot be read');
  }
}

/**
 * A batch without rows.
 * @param {Schema} schema
 */
export const noRows = (schema) => new RecordBatch(schema, undefined);

/**
 * The error as a fault: what stages after have thrown keeps its own.
 * @param {unknown} error
 */
function inputFault(error) {
  if (error instanceof Fault) return error;
  // A unix socket whose peer died with unread data answers ECONNRESET instead of an end.
  const code = codeOf(error);
  if (code === 'ECONNRESET' || code === 'ERR_STREAM_PREMATURE_CLOSE') return upstreamEnded();
  return malformed(`${nameOf(error)} while it was read`);
}

/** Collects what apache-arrow's writer makes, so that it can be sent before more of it is made. */
class Pieces extends AsyncByteQueue {
  /** @type {Uint8Array[]} */
  #pieces = [];

  /** @param {any} piece */
  write(piece) {
    if (piece.byteLength > 0) this.#pieces.push(piece);
  }

  take() {
    return this.#pieces.splice(0);
  }
}

/** Makes the bytes of an Arrow IPC stream, as pieces: first the schema's, then a batch's, then the end-of-stream marker. */
export class Encoding {
  #pieces = new Pieces();
  #writer = new RecordBatchStreamWriter({ autoDestroy: false });

  /** @param {Schema} schema */
  begin(schema) {
    this.#writer.reset(this.#pieces, schema);
    return this.#pieces.take();
  }

  /**
   * @param {RecordBatch} batch
   * @param {string} [position] of the source, behind its rows
   */
  write(batch, position) {
    const metadata = new Map(position === undefined ? [] : [[CHECKPOINT, position]]);
    this.#writer.write(new RecordBatch(batch.schema, batch.data, metadata));
    return this.#pieces.take();
  }

  end() {
    this.#writer.finish();
    return this.#pieces.take();
  }
}

/** Writes a stream to a socket. Without end, the stream has no end-of-stream marker, and counts as broken off. */
export class Output {
  bytes = 0;
  #socket;
  #encoding = new Encoding();
  #broken = false;

  /** @param {net.Socket} socket */
  constructor(socket) {
    this.#socket = socket;
    socket.on('error', () => { this.#broken = true; });
    socket.on('close', () => { this.#broken = true; });
    socket.resume(); // nothing comes, but the end shows
  }

  /** @param {Schema} schema */
  async begin(schema) {
    await this.#send(this.#encoding.begin(schema));
  }

  /**
   * @param {RecordBatch} batch
   * @param {string} [position] of the source, behind its rows
   */
  async write(batch, position) {
    await this.#send(this.#encoding.write(batch, position));
  }

  async end() {
    await this.#send(this.#encoding.end());
    this.#socket.end();
    if (!this.#socket.writableFinished) await this.#until('finish');
  }

  /** @param {Uint8Array[]} pieces */
  async #send(pieces) {
    const socket = this.#socket;
    if (this.#broken) throw downstreamEnded();
    socket.cork();
    let room = true;
    for (const piece of pieces) {
      room = socket.write(piece);
      this.bytes += piece.byteLength;
    }
    socket.uncork();
    if (!room && socket.writableNeedDrain) await this.#until('drain');
  }

  /**
   * Waits for an event that never comes once the socket is closed.
   * @param {string} event
   */
  async #until(event) {
    const stop = new AbortController();
    try {
      const closed = once(this.#socket, 'close', { signal: stop.signal }).then(() => Promise.reject(downstreamEnded()));
      await Promise.race([once(this.#socket, event, { signal: stop.signal }), closed]);
    } catch (error) {
      throw error instanceof Fault ? error : downstreamEnded();
    } finally {
      stop.abort();
    }
  }
}
