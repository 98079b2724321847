// The two ends of the plugin's data: an Arrow IPC stream that comes in on one unix socket, and one that goes out on
// another (PROTOCOL.md, "Data"). At most one batch is held in each direction; the rest is the sockets' back-pressure.

import { timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import { AsyncByteQueue, Message, RecordBatch, RecordBatchReader, RecordBatchStreamWriter } from 'apache-arrow';
import { Fault, nameOf } from './fault.mjs';

const CONTINUATION = 0xffffffff;
const PREFIX = 8; // the continuation marker and the length of the metadata
const MOST_METADATA = 16 * 2 ** 20;
const MOST_BODY = 2 ** 31 - 1;

const upstreamEnded = () => new Fault('link.upstream_ended', 'plugin', 'the stage before ended without finishing its stream');
const downstreamEnded = () => new Fault('link.downstream_ended', 'plugin', 'the stage after ended before it had everything');
const malformed = (what) => new Fault('link.protocol', 'plugin', `the stage before sent something that is not a valid Arrow stream: ${what}`);

const LONGEST_WAIT = 2 ** 31 - 1; // ms, of a timer
const MOST_PENDING = 64; // connections that have not said their word

/** How long a neighbour may take to say its word; 0 is for ever. */
const patience = (peer) => Math.min(Number(peer?.patience_nanoseconds ?? 0) / 1e6, LONGEST_WAIT);

/** Reads as many bytes as the word has, and no more, and says whether they are the word. */
function says(socket, word, milliseconds) {
  return new Promise((resolve) => {
    const timer = milliseconds > 0 ? setTimeout(() => socket.destroy(), milliseconds) : undefined;
    const settle = (is) => {
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
  #pending = new Set();
  #peer;
  #took;
  #connection = new Promise((resolve) => { this.#took = resolve; });

  constructor(peer) {
    this.#peer = peer;
    this.#server.on('connection', (socket) => this.#meet(socket));
  }

  async #meet(socket) {
    socket.on('error', () => {}); // whoever reads is told
    this.#pending.add(socket);
    if (this.#pending.size > MOST_PENDING) this.#pending.values().next().value.destroy();
    const { hello, welcome } = this.#peer ?? {};
    const known = !hello?.length || (await says(socket, Buffer.from(hello), patience(this.#peer)));
    this.#pending.delete(socket);
    if (!known || !this.#took) {
      socket.destroy();
      return;
    }
    if (hello?.length) socket.write(Buffer.from(welcome));
    this.#took(socket);
    this.#took = undefined;
    this.close();
  }

  async open(path) {
    try {
      this.#server.listen(path);
      await once(this.#server, 'listening');
    } catch (error) {
      throw new Fault('link.listen', 'internal', `cannot listen on the data socket: ${error.code}`);
    }
    return this;
  }

  /** Waits for the neighbour and returns its connection. */
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

/** Connects to the neighbour downstream, and says hello. */
export async function connect(path, signal, peer) {
  const socket = net.connect(path);
  try {
    await once(socket, 'connect', { signal });
  } catch (error) {
    socket.destroy();
    if (signal.aborted) throw error;
    throw new Fault('link.downstream_ended', 'plugin', `cannot connect to the stage after: ${error.code}`);
  }
  if (peer?.hello?.length) socket.write(Buffer.from(peer.hello));
  return socket;
}

/** Waits for the answer. Nothing is sent before it: somebody else may have taken the socket's place. */
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
 */
async function* messages(socket) {
  const source = socket[Symbol.asyncIterator]();
  let chunks = [];
  let size = 0;
  const fill = async (n) => {
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

function bodyLength(metadata) {
  try {
    return Number(Message.decode(metadata).bodyLength);
  } catch (error) {
    throw malformed(`the metadata of a message cannot be read (${nameOf(error)})`);
  }
}

/** Opens the stream that a socket delivers; the result has its schema, and its batches when it is iterated. */
export async function openInput(socket) {
  try {
    const reader = await RecordBatchReader.from(messages(socket));
    return (await reader.open()).isAsync() ? reader : Promise.reject(malformed('it is not a stream'));
  } catch (error) {
    throw inputFault(error);
  }
}

const CHECKPOINT = 'cipherstream.checkpoint';

/** The source's position behind the rows of a batch, if it gave one there (PROTOCOL.md, "Checkpoints"). */
export const checkpointOf = (batch) => batch.metadata.get(CHECKPOINT);

/** The batch with that position, or with none. */
export const withCheckpoint = (batch, position) => new RecordBatch(batch.schema, batch.data, new Map(position ? [[CHECKPOINT, position]] : []));

/** A batch without rows. */
export const noRows = (schema) => new RecordBatch(schema, undefined);

/** The batches that hold rows, or a position. apache-arrow makes one without rows up where a stream has none. */
export async function* batchesOf(reader) {
  try {
    for await (const batch of reader) {
      if (batch.numRows > 0 || checkpointOf(batch)) yield batch;
    }
  } catch (error) {
    throw inputFault(error);
  }
}

function inputFault(error) {
  if (error instanceof Fault) return error;
  // A unix socket whose peer died with unread data answers ECONNRESET instead of an end.
  if (error?.code === 'ECONNRESET' || error?.code === 'ERR_STREAM_PREMATURE_CLOSE') return upstreamEnded();
  return malformed(`${nameOf(error)} while it was read`);
}

/** Collects what apache-arrow's writer makes, so that it can be sent before more of it is made. */
class Pieces extends AsyncByteQueue {
  #pieces = [];

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

  begin(schema) {
    this.#writer.reset(this.#pieces, schema);
    return this.#pieces.take();
  }

  write(batch) {
    this.#writer.write(batch);
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

  constructor(socket) {
    this.#socket = socket;
    socket.on('error', () => { this.#broken = true; });
    socket.on('close', () => { this.#broken = true; });
    socket.resume(); // nothing comes, but the end shows
  }

  async begin(schema) {
    await this.#send(this.#encoding.begin(schema));
  }

  async write(batch) {
    await this.#send(this.#encoding.write(batch));
  }

  async end() {
    await this.#send(this.#encoding.end());
    this.#socket.end();
    if (!this.#socket.writableFinished) await this.#until('finish');
  }

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

  /** Waits for an event that never comes once the socket is closed. */
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
