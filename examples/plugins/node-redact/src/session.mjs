// One run of one group of stages: Open, Start, Cancel (PROTOCOL.md, "Control"). The host sends the stages of this plugin
// that stand next to each other in the pipeline to one process, so a group may have several.

import { Fault, faultOf } from './fault.mjs';
import { answered, batchesOf, connect, Listener, openInput, Output } from './stream.mjs';

const HEARTBEAT = 250; // ms; the host asks for an event every second

const cancelled = () => new Fault('run.cancelled', 'cancelled', 'the run was cancelled');

export class Session {
  rows = 0;
  counters = {};
  #stages;
  #filters;
  #listener;
  #outputPath;
  #outputPeer;
  #output;
  #started = false;
  #stop = new AbortController();

  /** @param stages the plugin's stages: [{manifest, Stage}] */
  constructor(stages) {
    this.#stages = stages;
  }

  /** Makes the stages and listens for the input. */
  async open(request) {
    if (this.#filters) throw new Fault('control.order', 'internal', 'this process already serves a run');
    this.#filters = request.stages.map(({ id, kind, name, settings }) => {
      const known = this.#stages.find((s) => s.manifest.kind === kind && s.manifest.name === name);
      if (!known) throw new Fault('plugin.unknown_stage', 'plugin', `there is no ${kind} called ${JSON.stringify(name)} in this plugin`).in(id);
      const count = (counter, n) => {
        const key = `${id}.${counter}`;
        this.counters[key] = (this.counters[key] ?? 0) + n;
      };
      return { id, filter: named(id, () => new known.Stage(settings, { count })) };
    });
    if (!request.input || !request.output) throw new Fault('internal', 'internal', 'a group of filters needs an input and an output');
    this.#outputPath = request.output;
    this.#outputPeer = request.output_peer;
    this.#listener = await new Listener(request.input_peer).open(request.input);
  }

  /** Runs the group; send is given its events, of which the last is finished or fault. */
  async start(send) {
    if (!this.#listener || this.#started) {
      send({ fault: new Fault('control.order', 'internal', 'Start comes once, after Open').toMessage() });
      return;
    }
    this.#started = true;
    const heartbeat = setInterval(() => send({ progress: { rows: this.rows, bytes: this.#output?.bytes ?? 0 } }), HEARTBEAT);
    try {
      await this.#run();
      send({ finished: this.#account() });
    } catch (error) {
      send({ fault: faultOf(this.#stop.signal.aborted ? cancelled() : error).toMessage() });
    } finally {
      clearInterval(heartbeat);
      this.#listener.close();
    }
  }

  /** Stops the group; what is being read or written breaks off. */
  cancel() {
    this.#stop.abort();
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
      const after = held(await connect(this.#outputPath, signal, this.#outputPeer));
      const input = await openInput(held(await this.#listener.accept(signal)));
      const schema = this.#filters.reduce((s, { id, filter }) => named(id, () => filter.bind(s)), input.schema);
      await answered(after, this.#outputPeer);
      this.#output = new Output(after);
      await this.#output.begin(schema);
      for await (const batch of batchesOf(input)) {
        this.rows += batch.numRows;
        await this.#output.write(this.#filters.reduce((b, { id, filter }) => named(id, () => filter.apply(b)), batch));
      }
      signal.throwIfAborted();
      await this.#output.end();
    } finally {
      for (const socket of sockets) socket.destroy();
    }
  }

  #account() {
    const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
    return {
      rows: this.rows,
      bytes: this.#output.bytes,
      counters: this.counters,
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
