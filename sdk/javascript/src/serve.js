// The program around the stages: the handshake with the host, the control service, and the end (PROTOCOL.md, "Start"). The stages run
// in a thread of their own (worker.js), so that the host is answered, and told which of them takes too long, while they compute.

import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import * as grpc from '@grpc/grpc-js';
import * as protoLoader from '@grpc/proto-loader';
import protobuf from 'protobufjs';
import { ATTACH, attach } from './attach.js';
import { newIdentity } from './certificate.js';
import controlProto from './control.js';
import { Fault, faultOf } from './fault.js';
import { placeOfStages } from './place.js';
import { CELLS, newCells, newTotals, TOTALS } from './shared.js';

const COOKIE = 'b5d3a8f0-stage';
const CORE_VERSION = 1; // of go-plugin's handshake
const PROTOCOL_VERSION = 1; // of the control service and the data
const MOST_MESSAGE = 16 * 2 ** 20;
const LAST_WORDS = 9_000; // ms that this process outlives its host at most
const BEAT = 250; // ms; the host asks for an event every second
const DEFAULT_STALL = 10_000; // ms

/** The service of go-plugin's that a plugin must have. */
const CONTROLLER = 'syntax = "proto3"; package plugin; message Empty {} '
  + 'service GRPCController { rpc Shutdown(Empty) returns (Empty); }';

/**
 * Serves the host until it is done: the program of a plugin.
 * @param {object} plugin
 * @param {string} plugin.name As in plugins.lock.
 * @param {string} plugin.version A semantic version.
 * @param {string[]} plugin.stages The whole paths of the modules that export the stages.
 * @param {boolean} [plugin.network] Asks for the network, which whoever installs the plugin may grant.
 */
export async function serve({ name, version, stages: modules, network = false }) {
  const { env } = process;
  const run = env[ATTACH] ? await attach(env[ATTACH], name) : undefined;
  if (env.CIPHERSTREAM_PLUGIN !== COOKIE) {
    console.error(`${name} is a CipherStream plugin (version ${version}). It is started by cipherstream, not by hand.`);
    process.exit(2);
  }
  if (!env.PLUGIN_CLIENT_CERT) {
    console.error('the host has sent no certificate, so nobody can be let in');
    process.exit(1);
  }
  process.on('uncaughtException', leave);
  process.on('unhandledRejection', leave);
  const stages = new Stages(modules);
  const left = () => {
    console.error(`${name}: the run has ended`);
    process.exit(0);
  };
  if (run) watch(run, stages, left);
  else watchLifeline(Number(env.CIPHERSTREAM_LIFELINE), stages);
  // Who ends a service signals all its processes; the host decides what that means. An interrupt in the terminal of whoever started
  // this process is meant for it.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => { if (run && signal === 'SIGINT') process.exit(130); });

  const server = new grpc.Server({ 'grpc.max_receive_message_length': MOST_MESSAGE, 'grpc.max_send_message_length': MOST_MESSAGE });
  server.addService(load(controlProto).cipherstream.plugin.v1.Plugin.service, handlers({ name, version, network }, stages));
  server.addService(load(CONTROLLER).plugin.GRPCController.service, {
    Shutdown(/** @type {unknown} */ _call, /** @type {grpc.sendUnaryData<object>} */ reply) {
      reply(null, {});
      const exit = run ? left : () => process.exit(0);
      within(1000, stages.ask('end')).finally(() => {
        setTimeout(exit, 500);
        server.tryShutdown(exit);
      });
    },
  });
  const identity = newIdentity();
  const credentials = grpc.ServerCredentials.createSsl(
    Buffer.from(env.PLUGIN_CLIENT_CERT), // nobody but the host is let in
    [{ private_key: Buffer.from(identity.key), cert_chain: Buffer.from(identity.certificate) }],
    true,
  );
  const dir = fs.mkdtempSync(path.join(env.PLUGIN_UNIX_SOCKET_DIR || os.tmpdir(), 'n-'));
  const address = path.join(dir, 's');
  await new Promise((resolve, reject) => {
    server.bindAsync(`unix:${address}`, credentials, (error) => (error ? reject(error) : resolve(undefined)));
  });
  await stages.manifests;
  const certificate = identity.der.toString('base64').replace(/=+$/, '');
  (run ?? process.stdout).write(`${[CORE_VERSION, PROTOCOL_VERSION, 'unix', address, 'grpc', certificate].join('|')}\n`);
}

/**
 * Ends this process for an error that nobody expected. The message of one may quote a row; the log gets what is safe.
 * @param {unknown} error
 */
function leave(error) {
  faultOf(error);
  process.exit(1);
}

/**
 * Waits for a promise, but not for ever.
 * @param {number} milliseconds
 * @param {Promise<unknown>} promise
 */
async function within(milliseconds, promise) {
  const late = new Promise((resolve) => { setTimeout(resolve, milliseconds).unref(); });
  await Promise.race([promise.catch(() => {}), late]);
}

/** The thread of the stages, as this one sees it. */
class Stages {
  cells = newCells();
  totals = newTotals();
  /** @type {(event: object) => void} */
  onEvent = () => {};
  /** @type {string[]} */
  ids = [];
  /** @type {Promise<object[]>} */
  manifests;
  #worker;
  #calls = 0;
  /** @type {Map<number, {resolve: (answer: any) => void, reject: (error: unknown) => void}>} */
  #waiting = new Map();

  /** @param {string[]} modules */
  constructor(modules) {
    const urls = modules.map((module) => pathToFileURL(module).href);
    this.#worker = new Worker(new URL('./worker.js', import.meta.url), {
      workerData: { modules: urls, cells: this.cells, totals: this.totals }, stdout: true, resourceLimits: heapLimits(),
    });
    this.#worker.stdout.pipe(process.stderr); // standard output is for the handshake
    this.manifests = new Promise((resolve) => {
      this.#worker.on('message', (message) => {
        if (message.manifests) resolve(message.manifests);
        else if (message.event) this.onEvent(message.event);
        else this.#answered(message);
      });
    });
    this.#worker.on('error', (error) => this.#ended(/** @type {Error} */ (error)));
  }

  /** @param {{call: number, answer: any, fault: any}} message */
  #answered({ call, answer, fault }) {
    const waiting = this.#waiting.get(call);
    this.#waiting.delete(call);
    if (fault) waiting?.reject(faultFrom(fault));
    else waiting?.resolve(answer);
  }

  /**
   * The thread is over: its modules cannot be loaded, or its memory has run out.
   * @param {Error & {code?: string}} error
   */
  #ended(error) {
    if (this.#waiting.size === 0) {
      console.error(error.stack); // of the author's modules, before there is a row
      process.exit(1);
    }
    const stage = this.running();
    const most = heapLimits().maxOldGenerationSizeMb;
    const fault = error.code === 'ERR_WORKER_OUT_OF_MEMORY'
      ? new Fault('plugin.memory', 'plugin', `the stages have used more than ${most} MiB of JavaScript's own memory`, { stage })
      : faultOf(error, stage);
    for (const { reject } of this.#waiting.values()) reject(fault);
    this.#waiting.clear();
  }

  /**
   * Has the other thread do something.
   * @param {string} method
   * @param {unknown} [request]
   * @returns {Promise<any>}
   */
  ask(method, request) {
    if (method === 'cancel' || method === 'end') Atomics.store(this.cells, CELLS.stop, 1);
    return new Promise((resolve, reject) => {
      this.#calls += 1;
      this.#waiting.set(this.#calls, { resolve, reject });
      this.#worker.postMessage({ call: this.#calls, method, request });
    });
  }

  /** The id of the stage that computes; empty when none does. */
  running() {
    return this.ids[Atomics.load(this.cells, CELLS.in) - 1] ?? '';
  }
}

/** The process's memory limit in bytes; nothing is known of it without a host that tells. */
const memoryLimit = () => (Number(process.env.GOMEMLIMIT) / 3) * 4;

/** What JavaScript's own memory may grow to, so that its end is this program's and can be told. */
function heapLimits() {
  const limit = memoryLimit();
  return limit > 0 ? { maxOldGenerationSizeMb: Math.floor((limit * 0.8) / 2 ** 20) } : {};
}

/** @param {{code: string, class: import('./fault.js').Class, message: string, hint: string, stage: string}} fault */
function faultFrom({ code, class: kind, message, ...more }) {
  return new Fault(code, kind, message, more);
}

/** Looks at the other thread while a run goes on: a call that takes too long, and memory that runs out. */
class Watch {
  #stages;
  #limit;
  #call = 0;
  #ran = 0;
  #looked = performance.now();
  #full = false;

  /**
   * @param {Stages} stages
   * @param {number} limit ms
   */
  constructor(stages, limit) {
    this.#stages = stages;
    this.#limit = limit;
  }

  /** @returns {Promise<Fault | undefined>} the fault of a call that has not come back in time */
  async look() {
    const { cells } = this.#stages;
    const [now, call] = [performance.now(), Atomics.load(cells, CELLS.calls)];
    // A pause of the whole process counts for a second at most.
    this.#ran = Atomics.load(cells, CELLS.in) === 0 || call !== this.#call ? 0 : this.#ran + Math.min(1000, now - this.#looked);
    [this.#call, this.#looked] = [call, now];
    if (this.#ran > this.#limit) {
      const stage = this.#stages.running();
      return new Fault('plugin.stalled', 'plugin', `one call of the stage has taken more than ${this.#limit / 1000}s${await whereOf()}`, {
        stage, hint: 'this is a defect of the stage, or a batch that is too much for it; limits.stall of the pipeline gives it longer',
      });
    }
    const [used, limit] = [process.memoryUsage.rss(), memoryLimit()];
    if (!this.#full && used > limit * 0.7) {
      this.#full = true;
      const stage = this.#stages.running();
      const where = await whereOf();
      console.error(`${used >> 20} MiB of memory are used, of at most ${limit >> 20}; stage ${stage || '(none)'} is running${where}`);
    }
    return undefined;
  }
}

async function whereOf() {
  const place = await placeOfStages();
  return place ? ` (at ${path.basename(place.file)}:${place.line})` : '';
}

/**
 * Ends this process when the host is gone: the descriptor is a pipe on which nothing is ever written. What a run has begun is
 * ended first, where the system leaves the time for it.
 * @param {number} fd
 * @param {Stages} stages
 */
function watchLifeline(fd, stages) {
  if (!(fd >= 3)) return;
  watch(new net.Socket({ fd, readable: true, writable: false }), stages, () => process.exit(3));
}

/**
 * Ends what a run has begun, and then the process, when a connection to the host ends.
 * @param {net.Socket} connection
 * @param {Stages} stages
 * @param {() => void} leave
 */
function watch(connection, stages, leave) {
  const end = () => { within(LAST_WORDS, stages.ask('end')).finally(leave); };
  connection.on('end', end).on('error', end).on('close', end);
  connection.resume();
}

/**
 * @param {string} text
 * @returns {any}
 */
function load(text) {
  const { root } = protobuf.parse(text, { keepCase: true });
  return grpc.loadPackageDefinition(protoLoader.fromJSON(root.toJSON(), { keepCase: true, longs: Number, defaults: true, oneofs: true }));
}

/**
 * @param {{name: string, version: string, network: boolean}} plugin
 * @param {Stages} stages
 * @returns {grpc.UntypedServiceImplementation}
 */
function handlers(plugin, stages) {
  /** @typedef {grpc.ServerUnaryCall<any, any>} Call */
  /** @typedef {grpc.sendUnaryData<any>} Reply */
  let limit = DEFAULT_STALL;
  /**
   * A method whose failure stands in its answer.
   * @param {(request: any) => Promise<object>} method
   */
  const answering = (method) => (/** @type {Call} */ call, /** @type {Reply} */ reply) => {
    method(call.request).then((answer) => reply(null, answer), (error) => reply(null, { fault: faultOf(error).toMessage() }));
  };
  return {
    Describe(/** @type {Call} */ _call, /** @type {Reply} */ reply) {
      stages.manifests.then((manifests) => reply(null, { ...plugin, stages: manifests, link_words: true }));
    },
    Check(/** @type {Call} */ call, /** @type {Reply} */ reply) {
      stages.ask('check', call.request).then((answer) => reply(null, answer), (error) => {
        reply(null, { findings: [{ level: 'wrong', fault: faultOf(error).toMessage() }] });
      });
    },
    Open: answering(async (request) => {
      limit = request.limits?.stall_nanoseconds / 1e6 || DEFAULT_STALL;
      stages.ids = await stages.ask('open', request);
      return {};
    }),
    async Start(/** @type {grpc.ServerWritableStream<any, any>} */ call) {
      const cancel = () => { stages.ask('cancel').catch(() => {}); };
      call.on('cancelled', cancel); // the host is gone, or has turned away
      stages.onEvent = (event) => call.write(event);
      const watch = new Watch(stages, limit);
      let beat;
      const failure = new Promise((resolve) => {
        beat = setInterval(() => {
          call.write({ progress: progressOf(stages.totals) });
          watch.look().then((fault) => { if (fault) resolve({ fault: fault.toMessage() }); });
        }, BEAT);
      });
      const end = stages.ask('start').catch((error) => ({ fault: faultOf(error).toMessage() }));
      const last = await Promise.race([end, failure]);
      clearInterval(beat);
      stages.onEvent = () => {};
      call.write(last);
      call.end();
    },
    Acknowledge: answering(async ({ id }) => {
      await stages.ask('acknowledge', id);
      return {};
    }),
    Undo: answering(async (request) => ({ outcomes: await stages.ask('undo', request) })),
    Commit: answering(async () => ({ receipt: await stages.ask('commit') })),
    Cancel(/** @type {Call} */ _call, /** @type {Reply} */ reply) {
      stages.ask('cancel').catch(() => {}); // answered at once, also while a stage computes
      reply(null, {});
    },
  };
}

/** @param {Float64Array} totals */
function progressOf(totals) {
  const [rows, bytes] = [Math.max(0, totals[TOTALS.rows]), Math.max(0, totals[TOTALS.bytes])];
  const [encodedRows, encodedBytes] = [totals[TOTALS.encodedRows], totals[TOTALS.encodedBytes]];
  return {
    rows, bytes, ...(encodedRows >= 0 && { encoded_rows: encodedRows }), ...(encodedBytes >= 0 && { encoded_bytes: encodedBytes }),
  };
}
