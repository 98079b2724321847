// One run of one group of stages: Open, Start, Acknowledge, Commit, Cancel; or, in place of a run, Undo (PROTOCOL.md, "Control").
// The host sends the stages of this plugin that stand next to each other in the pipeline to one process, so a group may have
// several: filters, and a sink behind them.

import { once } from 'node:events';
import { Announced } from './announced.mjs';
import { cancelled, Fault, faultOf } from './fault.mjs';
import { answered, batchesOf, checkpointOf, connect, Listener, noRows, openInput, Output, withCheckpoint } from './stream.mjs';

const HEARTBEAT = 250; // ms; the host asks for an event every second

export class Session {
  rows = 0;
  counters = {};
  #stages;
  #filters;
  #sink; // {id, sink}, of a group that ends with one
  #runId;
  #given = 0; // rows that the sink was given
  #commit; // {settle} while the sink waits for Commit
  #listener;
  #outputPath;
  #outputPeer;
  #output;
  #schema; // of what the group gives, or its sink is given
  #started = false;
  #over = Promise.resolve(); // when Start has nothing left to do
  #stop = new AbortController();
  #announced = new Announced(this.#stop.signal);

  /** @param stages the plugin's stages: [{manifest, Stage}] */
  constructor(stages) {
    this.#stages = stages;
  }

  /** Makes the stages and listens for the input. */
  async open(request) {
    if (this.#filters) throw new Fault('control.order', 'internal', 'this process already serves a run');
    const made = request.stages.map((of) => ({ id: of.id, kind: of.kind, keepsRows: this.#known(of).manifest.keeps_rows, stage: this.#make(of) }));
    const last = made.at(-1);
    this.#sink = last?.kind === 'sink' ? made.pop() : undefined;
    this.#filters = made;
    if (!request.input || !request.output !== (this.#sink !== undefined) || made.some(({ kind }) => kind === 'sink')) {
      throw new Fault('internal', 'internal', 'a group needs an input, and an output unless its last stage is a sink');
    }
    this.#runId = request.run_id;
    this.#outputPath = request.output;
    this.#outputPeer = request.output_peer;
    this.#listener = await new Listener(request.input_peer).open(request.input);
  }

  #known({ id, kind, name }) {
    const known = this.#stages.find((s) => s.manifest.kind === kind && s.manifest.name === name);
    if (!known) throw new Fault('plugin.unknown_stage', 'plugin', `there is no ${kind} called ${JSON.stringify(name)} in this plugin`).in(id);
    return known;
  }

  #make(of) {
    const { id, settings } = of;
    const { Stage } = this.#known(of);
    const count = (counter, n) => {
      const key = `${id}.${counter}`;
      this.counters[key] = (this.counters[key] ?? 0) + n;
    };
    const announce = (resource) => this.#announced.announce(id, resource);
    return named(id, () => new Stage(settings, { count, announce }));
  }

  /** Runs the group; send is given its events, of which the last is finished or fault. */
  async start(send) {
    if (!this.#listener || this.#started) {
      send({ fault: new Fault('control.order', 'internal', 'Start comes once, after Open').toMessage() });
      return;
    }
    this.#started = true;
    this.#announced.begin(send);
    this.#over = this.#toTheEnd(send);
    await this.#over;
  }

  async #toTheEnd(send) {
    const heartbeat = setInterval(() => send({ progress: { rows: this.rows, bytes: this.#output?.bytes ?? 0 } }), HEARTBEAT);
    try {
      await this.#run();
      if (this.#sink) await this.#decision(send);
      send({ finished: this.#account() });
    } catch (error) {
      const fault = faultOf(this.#stop.signal.aborted ? cancelled() : error);
      await this.#abort();
      send({ fault: fault.toMessage() });
    } finally {
      clearInterval(heartbeat);
      this.#listener.close();
    }
  }

  /** The host has what was announced with this number. */
  acknowledge(id) {
    this.#announced.acknowledge(id);
  }

  /**
   * Ends what another process of this plugin had announced and cannot end any more.
   * @returns an error for each resource that could not be ended, and undefined for what is gone
   */
  async undo({ stage: of, resources }) {
    let failure;
    let stage;
    try {
      stage = this.#make(of);
      if (!stage.undo) throw new Fault('undo.unsupported', 'plugin', 'this stage announces nothing');
    } catch (error) {
      failure = error;
    }
    const outcomes = [];
    for (const resource of resources) {
      outcomes.push(failure ?? await namedAsync(of.id, () => stage.undo(resource)).catch((error) => error));
    }
    return outcomes;
  }

  /** Makes the sink's rows visible, and gives the receipt. It comes once, when they have all been written. */
  async commit() {
    if (!this.#commit) throw new Fault('control.order', 'internal', 'Commit comes once, after Prepared');
    const { settle } = this.#commit;
    this.#commit = undefined;
    const outcome = namedAsync(this.#sink.id, () => this.#sink.stage.commit());
    settle(outcome.then(() => {}));
    return outcome;
  }

  /** Waits for Commit, whose outcome decides once it has begun, or for the end of the run. */
  async #decision(send) {
    const { signal } = this.#stop;
    const begun = new Promise((resolve) => { this.#commit = { settle: (outcome) => resolve({ outcome }) }; });
    const stopped = once(signal, 'abort').then(() => ({}));
    if (signal.aborted) throw cancelled();
    send({ prepared: { account: this.#account(), streams: false } });
    const { outcome } = await Promise.race([begun, stopped]);
    this.#commit = undefined;
    if (!outcome) throw cancelled();
    await outcome;
  }

  /** Lets the sink remove its traces. The run's own fault is what is told. */
  async #abort() {
    try {
      await this.#sink?.stage.abort();
    } catch (error) {
      console.error(`clean-up failed: ${faultOf(error).message}`);
    }
  }

  /** Stops the group; what is being read or written breaks off. */
  cancel() {
    this.#stop.abort();
  }

  /** Stops the group, and waits until the sink has removed its traces. */
  async end() {
    this.cancel();
    await this.#over;
  }

  async #run() {
    const { signal } = this.#stop;
    const sockets = [];
    const held = (socket) => {
      sockets.push(socket);
      socket.on('error', () => {}); // whoever reads or writes is told
      signal.addEventListener('abort', () => socket.destroy());
      return socket;
    };
    try {
      const after = this.#sink ? undefined : held(await connect(this.#outputPath, signal, this.#outputPeer));
      const input = await openInput(held(await this.#listener.accept(signal)));
      const schema = this.#schema = this.#filters.reduce((s, { id, stage }) => named(id, () => stage.bind(s)), input.schema);
      if (after) {
        await answered(after, this.#outputPeer);
        this.#output = new Output(after);
        await this.#output.begin(schema);
      } else {
        await namedAsync(this.#sink.id, () => this.#sink.stage.open(schema, this.#runId));
      }
      // A filter that may hold rows back holds back the positions behind them.
      const holds = this.#filters.some(({ stage, keepsRows }) => stage.end && !keepsRows);
      let waiting;
      for await (const batch of batchesOf(input)) {
        this.rows += batch.numRows;
        const position = checkpointOf(batch);
        if (batch.numRows > 0) await this.#pass(batch, 0, holds ? undefined : position);
        else if (!holds) await this.#write(noRows(this.#schema), position);
        if (holds) waiting = position ?? waiting;
      }
      signal.throwIfAborted();
      // What a filter gives at its end goes through those behind it, whose own ends come later.
      for (const [i, { id, stage }] of this.#filters.entries()) {
        if (stage.end) await this.#pass(named(id, () => stage.end()), i + 1);
      }
      if (waiting) await this.#write(noRows(this.#schema), waiting);
      await this.#output?.end();
    } finally {
      for (const socket of sockets) socket.destroy();
    }
  }

  /** Takes a batch through filter i and those behind it, and writes what comes of it; a filter may give nothing. */
  async #pass(batch, i, position) {
    this.#stop.signal.throwIfAborted();
    for (const { id, stage } of this.#filters.slice(i)) batch = batch && named(id, () => stage.apply(batch));
    if (batch || position) await this.#write(batch ?? noRows(this.#schema), position);
  }

  /** Writes a batch, and behind its rows the source's position, if there is one. */
  async #write(batch, position) {
    this.#stop.signal.throwIfAborted();
    if (this.#output) {
      await this.#output.write(withCheckpoint(batch, position));
      return;
    }
    await namedAsync(this.#sink.id, () => this.#sink.stage.write(batch, position));
    this.#given += batch.numRows;
  }

  #account() {
    const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
    return {
      rows: this.rows,
      bytes: this.#output?.bytes ?? 0,
      counters: this.counters,
      ...(this.#sink && { encoded_rows: this.#given }),
      cpu_nanoseconds: (userCPUTime + systemCPUTime) * 1000,
      peak_memory_bytes: maxRSS * 1024,
    };
  }
}

/** Names the stage in what goes wrong. */
function named(id, call) {
  try {
    return call();
  } catch (error) {
    throw faultOf(error).in(id);
  }
}

async function namedAsync(id, call) {
  try {
    return await call();
  } catch (error) {
    throw faultOf(error).in(id);
  }
}
