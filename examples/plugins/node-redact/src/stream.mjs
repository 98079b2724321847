// The two ends of the plugin's data: an Arrow IPC stream that comes in on one unix socket, and one that goes out on
// another (PROTOCOL.md, "Data"). At most one batch is held in each direction; the rest is the sockets' back-pressure.

import { once } from 'node:events';
import net from 'node:net';
import { AsyncByteQueue, Message, RecordBatchReader, RecordBatchStreamWriter } from 'apache-arrow';
import { Fault, nameOf } from './fault.mjs';

const CONTINUATION = 0xffffffff;
const PREFIX = 8; // the continuation marker and the length of the metadata
const MOST_METADATA = 16 * 2 ** 20;
const MOST_BODY = 2 ** 31 - 1;

const upstreamEnded = () => new Fault('link.upstream_ended', 'plugin', 'the stage before ended without finishing its stream');
const downstreamEnded = () => new Fault('link.downstream_ended', 'plugin', 'the stage after ended before it had everything');
const malformed = (what) => new Fault('link.protocol', 'plugin', `the stage before sent something that is not a valid Arrow stream: ${what}`);

/** Listens for the one neighbour upstream, which may connect before anybody waits for it. */
export class Listener {
  #server = net.createServer({ pauseOnConnect: true });
  #connection = once(this.#server, 'connection');

  constructor() {
    this.#server.maxConnections = 1;
    this.#connection.catch(() => {}); // open throws the same error
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
    const [socket] = await Promise.race([this.#connection, aborted]);
    this.close();
    return socket;
  }

  close() {
    this.#server.close();
  }
}

/** Connects to the neighbour downstream. */
export async function connect(path, signal) {
  const socket = net.connect(path);
  try {
    await once(socket, 'connect', { signal });
  } catch (error) {
    socket.destroy();
    if (signal.aborted) throw error;
    throw new Fault('link.downstream_ended', 'plugin', `cannot connect to the stage after: ${error.code}`);
  }
  return socket;
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

/** The batches that hold rows. apache-arrow makes one without rows up where a stream has none. */
export async function* batchesOf(reader) {
  try {
    for await (const batch of reader) {
      if (batch.numRows > 0) yield batch;
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

/** Writes a stream to a socket. Without end, the stream has no end-of-stream marker, and counts as broken off. */
export class Output {
  bytes = 0;
  #socket;
  #pieces = new Pieces();
  #writer = new RecordBatchStreamWriter({ autoDestroy: false });
  #broken = false;

  constructor(socket) {
    this.#socket = socket;
    socket.on('error', () => { this.#broken = true; });
    socket.on('close', () => { this.#broken = true; });
    socket.resume(); // nothing comes, but the end shows
  }

  async begin(schema) {
    this.#writer.reset(this.#pieces, schema);
    await this.#flush();
  }

  async write(batch) {
    this.#writer.write(batch);
    await this.#flush();
  }

  async end() {
    this.#writer.finish();
    await this.#flush();
    this.#socket.end();
    if (!this.#socket.writableFinished) await this.#until('finish');
  }

  async #flush() {
    const socket = this.#socket;
    if (this.#broken) throw downstreamEnded();
    socket.cork();
    let room = true;
    for (const piece of this.#pieces.take()) {
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
