// Where another thread is: its inspector is asked to pause it, also in the middle of a loop, for a moment.

import inspector from 'node:inspector';
import { authored, fileOf } from './fault.js';

const PATIENCE = 1500; // ms: a thread within a call of the system, or of a library, does not pause

/**
 * The line of the author's code that the thread of the stages is at. There is one such thread in a process.
 * @returns {Promise<{file: string, line: number} | undefined>} nothing when it cannot be told
 */
export async function placeOfStages() {
  const session = new inspector.Session();
  try {
    session.connect();
    return await new Promise((resolve, reject) => {
      setTimeout(() => resolve(undefined), PATIENCE).unref();
      watch(session, resolve, reject);
    });
  } catch {
    return undefined;
  } finally {
    session.disconnect();
  }
}

/**
 * @param {inspector.Session} session
 * @param {(place: {file: string, line: number} | undefined) => void} resolve
 * @param {(error: Error) => void} reject
 */
function watch(session, resolve, reject) {
  /** @type {Map<string, string>} */
  const files = new Map();
  let worker = '';
  let number = 0;
  const post = (/** @type {string} */ method, /** @type {any} */ params) => {
    session.post(/** @type {any} */ (method), params, (/** @type {Error | null} */ error) => { if (error) reject(error); });
  };
  const tell = (/** @type {string} */ method) => {
    number += 1;
    post('NodeWorker.sendMessageToWorker', { sessionId: worker, message: JSON.stringify({ id: number, method }) });
  };
  session.on('NodeWorker.attachedToWorker', ({ params }) => {
    worker = params.sessionId;
    tell('Debugger.enable');
    tell('Debugger.pause');
  });
  session.on('NodeWorker.receivedMessageFromWorker', ({ params: { message } }) => {
    const { method, params } = JSON.parse(message);
    if (method === 'Debugger.scriptParsed') files.set(params.scriptId, fileOf(params.url));
    if (method !== 'Debugger.paused') return;
    const places = params.callFrames.map((/** @type {any} */ { location }) => (
      { file: files.get(location.scriptId) ?? '', line: location.lineNumber + 1 }));
    tell('Debugger.resume');
    tell('Debugger.disable');
    resolve(places.find(authored));
  });
  post('NodeWorker.enable', { waitForDebuggerOnStart: false });
}
