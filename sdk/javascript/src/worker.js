// The thread of the stages: it loads the author's modules, and does what the thread of the control service asks (serve.js).

import { parentPort, workerData } from 'node:worker_threads';
import { Fault, faultOf } from './fault.js';
import { Session } from './session.js';
import { Definition } from './stage.js';

const port = /** @type {import('node:worker_threads').MessagePort} */ (parentPort);
const { modules, cells, totals } = workerData;

/** @type {Definition[]} */
const stages = [];
for (const module of modules) {
  for (const value of Object.values(await import(module))) if (value instanceof Definition && !stages.includes(value)) stages.push(value);
}
const session = new Session(stages, (event) => port.postMessage({ event }), cells, totals);

// An error outside of what is waited for, in a callback for instance, fails the run as any other does.
const broken = (/** @type {unknown} */ error) => session.fail(faultOf(error));
process.on('uncaughtException', broken);
process.on('unhandledRejection', broken);

/** @type {Record<string, (request: any) => unknown>} */
const methods = {
  check: (request) => session.check(request),
  open: (request) => session.open(request),
  start: () => session.start(),
  commit: () => session.commit(),
  cancel: () => session.cancel(),
  end: () => session.end(),
  acknowledge: (id) => session.acknowledge(id),
  undo: (request) => session.undo(request),
};

port.on('message', async ({ call, method, request }) => {
  try {
    port.postMessage({ call, answer: await methods[method](request) });
  } catch (error) {
    port.postMessage({ call, fault: faultOf(error).toMessage() });
  }
});
port.postMessage({ manifests: stages.map(({ manifest }) => manifest) });

// A plugin without a stage is one whose author has forgotten an export.
if (stages.length === 0) throw new Fault('plugin.no_stage', 'plugin', `no stage is exported by ${modules.join(', ')}`);
