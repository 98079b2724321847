// One run of one group of stages: Open, Start, Acknowledge, Commit, Cancel; or, in place of a run, Undo (PROTOCOL.md, "Control"). It lives in
// the thread of the stages.

import { Announced } from './announced.js';
import { BytesNode, EncoderNode, feed, FilterNode, OutputNode, SinkNode, SourceNode } from './chain.js';
import { check } from './check.js';
import { cancelled, Fault, faultOf } from './fault.js';
import { answered, connect, Input, Listener } from './link.js';
import { parse } from './setting.js';
import { CELLS, TOTALS } from './shared.js';
import { typeName } from './values.js';

/** @typedef {import('./stage.js').Definition} Definition */
/** @typedef {import('./stage.js').Context} Context */

const LONGEST_LINE = 8192;
/** @type {Record<string, any>} */
const KINDS = {
  source: SourceNode, filter: FilterNode, encoder: EncoderNode, compressor: BytesNode, encryptor: BytesNode, sink: SinkNode,
};

export class Session {
  #stages;
  #send;
  #cells;
  #totals;
  #stop = new AbortController();
  #announced;
  /** @type {any} */
  #request;
  /** @type {any[]} */
  #nodes = [];
  /** @type {Listener | undefined} */
  #listener;
  /** @type {OutputNode | undefined} */
  #output;
  #rows = 0;
  #started = false;
  /** @type {Promise<unknown>} */
  #over = Promise.resolve();
  /** @type {((outcome: Promise<unknown>) => void) | undefined} */
  #commit; // while the sink waits for Commit
  /** @type {string | undefined} */
  #told;
  /** @type {Fault | undefined} */
  #failure; // of a callback that nobody waited for

  /**
   * @param {Definition[]} stages
   * @param {(event: object) => void} send
   * @param {Int32Array} cells
   * @param {Float64Array} totals
   */
  constructor(stages, send, cells, totals) {
    this.#stages = stages;
    this.#send = send;
    this.#cells = cells;
    this.#totals = totals;
    this.#announced = new Announced(send, this.#stop.signal);
  }

  /**
   * Makes the stages and listens for the input.
   * @param {any} request
   * @returns {Promise<string[]>} the stages' ids
   */
  async open(request) {
    if (this.#request) throw new Fault('control.order', 'internal', 'this process already serves a run');
    const nodes = request.stages.map((/** @type {any} */ of, /** @type {number} */ i) => this.#node(of, request, i + 1));
    const [begins, ends] = [nodes[0] instanceof SourceNode, nodes.at(-1) instanceof SinkNode];
    if (nodes.length === 0 || begins === Boolean(request.input) || ends === Boolean(request.output)) {
      throw new Fault('internal', 'internal',
        'a group needs an input unless it begins with a source, and an output unless it ends with a sink');
    }
    if (request.input) this.#listener = await new Listener(request.input_peer).open(request.input);
    if (nodes[0] instanceof SourceNode) nodes[0].batchRows = request.limits?.batch_rows || nodes[0].batchRows;
    this.#nodes = nodes;
    this.#request = request;
    return request.stages.map((/** @type {any} */ of) => of.id);
  }

  /**
   * @param {any} of
   * @param {any} request
   * @param {number} number
   */
  #node(of, request, number) {
    const { definition, stage, context } = this.#make(of, request);
    return new KINDS[of.kind](definition, stage, context, { cells: this.#cells, number });
  }

  /**
   * @param {any} of
   * @param {any} request
   */
  #make({ id, kind, name, settings }, request) {
    const definition = this.#stages.find(({ manifest }) => manifest.kind === kind && manifest.name === name);
    if (!definition) {
      const message = `there is no ${kind} called ${JSON.stringify(name)} in this plugin`;
      throw new Fault('plugin.unknown_stage', 'plugin', message, { stage: id });
    }
    const context = this.#context(id, request);
    try {
      return { definition, context, stage: new definition.Stage(parse(settings, definition.settings), context) };
    } catch (error) {
      throw faultOf(error, id);
    }
  }

  /**
   * @param {string} id
   * @param {any} request
   * @returns {Context & {counters: Record<string, number>, facts: Record<string, string>}}
   */
  #context(id, request) {
    /** @type {Record<string, number>} */
    const counters = {};
    /** @type {Record<string, string>} */
    const facts = {};
    const line = (/** @type {number} */ level) => (/** @type {string} */ message, /** @type {Record<string, unknown>} */ attributes = {}) => {
      const texts = Object.entries(attributes).map(([k, v]) => [k, String(v).slice(0, LONGEST_LINE)]);
      this.#send({ log: { level, message: String(message).slice(0, LONGEST_LINE), stage: id, attributes: Object.fromEntries(texts) } });
    };
    return {
      stage: id, runId: request.run_id, dir: request.dir, traceparent: request.traceparent ?? '', counters, facts,
      log: { info: line(0), warn: line(4), error: line(8) },
      signal: this.#stop.signal,
      count: (name, n = 1) => { counters[`${id}.${name}`] = (counters[`${id}.${name}`] ?? 0) + n; },
      fact: (name, text) => { facts[`${id}.${name}`] = text; },
      cancelled: () => Atomics.load(this.#cells, CELLS.stop) !== 0,
      announce: (resource) => this.#announced.announce(id, resource),
    };
  }

  /** Runs the group, and gives the last event: finished, or fault. */
  async start() {
    if (!this.#request || this.#started) {
      return { fault: new Fault('control.order', 'internal', 'Start comes once, after Open').toMessage() };
    }
    this.#started = true;
    const run = this.#toTheEnd();
    this.#over = run;
    return run;
  }

  async #toTheEnd() {
    try {
      await this.#run();
      this.#checkpoint();
      if (this.#nodes.at(-1) instanceof SinkNode) await this.#decision();
      return { finished: this.#account() };
    } catch (error) {
      const fault = error instanceof Decided ? error.fault : this.#failure ?? (this.#stop.signal.aborted ? cancelled() : faultOf(error));
      await this.#abort();
      return { fault: fault.toMessage(), account: this.#account() };
    } finally {
      this.#listener?.close();
    }
  }

  async #run() {
    const { signal } = this.#stop;
    const { input_peer: _, output_peer: outputPeer, output } = this.#request;
    /** @type {import('node:net').Socket[]} */
    const sockets = [];
    const held = (/** @type {import('node:net').Socket} */ socket) => {
      sockets.push(socket);
      socket.on('error', () => {}); // whoever reads or writes is told
      signal.addEventListener('abort', () => socket.destroy());
      return socket;
    };
    const check = () => {
      this.#tell();
      if (signal.aborted) throw cancelled();
    };
    try {
      check();
      if (output) {
        const after = held(await connect(output, signal, outputPeer));
        this.#output = new OutputNode(async () => {
          await answered(after, outputPeer);
          return after;
        }, check);
      }
      this.#nodes.forEach((node, i) => { node.next = this.#nodes[i + 1] ?? this.#output; });
      const first = this.#nodes[0];
      if (first instanceof SourceNode) {
        await first.run((schema, estimated) => this.#opened(schema, estimated), () => {
          check();
          this.#checkpoint();
        });
        return;
      }
      const input = await Input.open(held(await /** @type {Listener} */ (this.#listener).accept(signal)));
      await this.#begin(first, input);
      for await (const [batch, position] of input.batches()) {
        check();
        this.#rows += batch.numRows;
        await feed(first, input.shape, batch, position);
      }
      check();
      await first.finish();
    } finally {
      for (const socket of sockets) socket.destroy();
    }
  }

  /**
   * @param {any} first
   * @param {Input} input
   */
  async #begin(first, { shape, schema, media }) {
    const takes = first.manifest.shape_in;
    if ((takes === 'table') !== (shape === 'table')) {
      throw new Fault('link.protocol', 'plugin', `the stage takes ${takes}, and is given ${shape}`, { stage: first.context.stage });
    }
    if (takes === 'table') await first.begin(schema);
    else await first.beginStream(shape, media);
  }

  /**
   * @param {import('apache-arrow').Schema} schema
   * @param {number} estimated
   */
  #opened(schema, estimated) {
    const columns = schema.fields.map((f) => (
      { name: f.name, type: typeName(f), nullable: f.nullable, source_type: f.metadata.get('cipherstream.source_type') ?? '' }));
    this.#send({ opened: { columns, estimated_rows: estimated } });
  }

  /** Tells how far the source has come. */
  #checkpoint() {
    const first = this.#nodes[0];
    if (first instanceof SourceNode && first.position !== undefined && first.position !== this.#told) {
      this.#told = first.position;
      this.#send({ checkpoint: { position: first.position, rows: first.rows } });
    }
  }

  /** Writes the totals to where the other thread reads them. */
  #tell() {
    const { rows, bytes, encoded_rows: encodedRows = -1, encoded_bytes: encodedBytes = -1 } = this.#sums();
    this.#totals[TOTALS.rows] = rows;
    this.#totals[TOTALS.bytes] = bytes;
    this.#totals[TOTALS.encodedRows] = encodedRows;
    this.#totals[TOTALS.encodedBytes] = encodedBytes;
  }

  /** Waits for the outcome of Commit, which decides once it has begun, or for the end of the run. */
  async #decision() {
    const { signal } = this.#stop;
    if (signal.aborted) throw cancelled();
    const outcome = new Promise((resolve, reject) => {
      this.#commit = resolve;
      signal.addEventListener('abort', () => { if (this.#commit) reject(cancelled()); }, { once: true });
    });
    this.#send({ prepared: { account: this.#account() } });
    try {
      await outcome;
    } finally {
      this.#commit = undefined;
    }
  }

  /** Makes the sink's output visible, and gives the receipt. It comes once, when everything has been written. */
  async commit() {
    const settle = this.#commit;
    if (!settle) throw new Fault('control.order', 'internal', 'Commit comes once, after Prepared');
    this.#commit = undefined;
    const outcome = this.#nodes.at(-1).commit();
    settle(outcome.catch((/** @type {Fault} */ fault) => { throw new Decided(fault); }));
    return outcome;
  }

  async #abort() {
    const last = this.#nodes.at(-1);
    if (!(last instanceof SinkNode)) return;
    try {
      await last.abort();
    } catch (error) {
      console.error(`clean-up after the failure failed too: ${faultOf(error).code}`);
    }
  }

  /** Stops the group; what is being read or written breaks off. */
  async cancel() {
    this.#stop.abort(cancelled());
    if (!this.#started) {
      this.#listener?.close();
      await this.#abort();
    }
  }

  /**
   * Ends the run with this fault.
   * @param {Fault} fault
   */
  fail(fault) {
    this.#failure ??= fault;
    this.#stop.abort(fault);
  }

  /** Stops the group, and waits until the sink has cleaned up. */
  async end() {
    await this.cancel();
    await this.#over;
  }

  /** @param {number} id */
  acknowledge(id) {
    this.#announced.acknowledge(id);
  }

  /**
   * Says what is wrong with one stage before it runs.
   * @param {any} request
   */
  check(request) {
    return check(() => this.#make(request.stage, request).stage, request);
  }

  /**
   * Ends what another process had announced.
   * @param {any} request
   * @returns {Promise<object[]>} a fault for each resource that could not be ended
   */
  async undo(request) {
    const outcomes = [];
    for (const { run_id: runId, state, ...resource } of request.resources) {
      try {
        const { stage } = this.#make(request.stage, request);
        if (!stage.undo) throw new Fault('undo.unsupported', 'plugin', 'this stage announces nothing');
        await stage.undo({ ...resource, state: Buffer.from(state).toString() }, runId);
        outcomes.push({});
      } catch (error) {
        outcomes.push({ fault: faultOf(error, request.stage.id).toMessage() });
      }
    }
    return outcomes;
  }

  #sums() {
    const first = this.#nodes[0];
    /** @type {{rows: number, bytes: number, encoded_rows?: number, encoded_bytes?: number, media?: object}} */
    const sums = { rows: first instanceof SourceNode ? first.rows : this.#rows, bytes: this.#output?.bytes ?? 0 };
    for (const node of this.#nodes) {
      if (node.media) {
        const { type, extension, contentEncoding, sealed } = node.media;
        sums.media = { type, extension, content_encoding: contentEncoding, sealed };
      }
      if (node instanceof EncoderNode) {
        sums.encoded_rows = node.rows;
        if (node.bytes > 0) sums.encoded_bytes = node.bytes;
      }
      if (node instanceof SinkNode) {
        sums.bytes = node.bytes;
        if (node.takesRows) sums.encoded_rows = node.rows;
      }
    }
    return sums;
  }

  #account() {
    this.#tell();
    const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
    return {
      ...this.#sums(),
      counters: Object.assign({}, ...this.#nodes.map((node) => node.context.counters)),
      facts: Object.assign({}, ...this.#nodes.map((node) => node.context.facts)),
      cpu_nanoseconds: (userCPUTime + systemCPUTime) * 1000,
      peak_memory_bytes: maxRSS * 1024,
    };
  }
}

/** The outcome of a Commit that failed, which a Cancel that came meanwhile does not change. */
class Decided extends Error {
  /** @param {Fault} fault */
  constructor(fault) {
    super('decided');
    this.fault = fault;
  }
}
