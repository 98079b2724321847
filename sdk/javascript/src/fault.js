// Coded failures: what a machine and a person can act on (PROTOCOL.md, "Failures").

import { fileURLToPath } from 'node:url';
import path from 'node:path';

/** @typedef {'usage' | 'connect' | 'source' | 'data' | 'sink' | 'plugin' | 'cancelled' | 'internal'} Class */

/** @type {readonly Class[]} */
export const CLASSES = ['usage', 'connect', 'source', 'data', 'sink', 'plugin', 'cancelled', 'internal'];

const OWN = path.dirname(fileURLToPath(import.meta.url));

/**
 * What went wrong, for a stage to throw. code is stable and begins with the plugin's name ("redact.unknown_column"). The message
 * never holds a value of a row or a secret: it is logged and shown.
 */
export class Fault extends Error {
  /**
   * @param {string} code
   * @param {Class} kind
   * @param {string} message
   * @param {{hint?: string, retryable?: boolean, details?: Record<string, string>, stage?: string}} [more]
   */
  constructor(code, kind, message, { hint = '', retryable = false, details = {}, stage = '' } = {}) {
    super(message);
    if (!CLASSES.includes(kind)) throw new TypeError(`a fault's class is one of ${CLASSES.join(', ')}`);
    this.name = 'Fault';
    this.code = code;
    this.kind = kind;
    this.hint = hint;
    this.retryable = retryable;
    this.details = details;
    this.stage = stage;
  }

  /** The fault as the host takes it. */
  toMessage() {
    const { code, kind, message, hint, retryable, details, stage } = this;
    return { code, class: kind, message, hint, retryable, details, stage };
  }
}

export const cancelled = () => new Fault('run.cancelled', 'cancelled', 'the run was cancelled');

/**
 * The fault of whatever was thrown. Of an error that nobody expected it says the kind and the line of the author's code, and no
 * more: its text may quote a row. The calls that led there go to the log.
 * @param {unknown} error
 * @param {string} [stage]
 */
export function faultOf(error, stage = '') {
  if (error instanceof Fault) {
    error.stage ||= stage;
    return error;
  }
  const frames = framesOf(error);
  const own = frames.find(authored);
  console.error(`unexpected ${nameOf(error)} in stage ${stage || '(none)'}${frames.map((f) => `\n  ${f.file}:${f.line}`).join('')}`);
  const where = own ? ` at ${path.basename(own.file)}:${own.line}` : '';
  const message = `the plugin's code threw ${nameOf(error)}${where}`;
  return new Fault('plugin.panic', 'plugin', message, { stage, hint: 'the log says which calls led there' });
}

/** @param {unknown} error */
export function nameOf(error) {
  return error instanceof Error ? error.name : `a ${typeof error}`;
}

/**
 * A place in a file of the author's, and not of this package or another one.
 * @param {{file: string}} place
 */
export function authored({ file }) {
  return path.isAbsolute(file) && !file.startsWith(OWN + path.sep) && !file.split(path.sep).includes('node_modules');
}

/**
 * The places of an error's calls, without its text.
 * @param {unknown} error
 */
export function framesOf(error) {
  if (!(error instanceof Error) || typeof error.stack !== 'string') return [];
  const head = `${error.name}: ${error.message}`;
  const stack = error.message === '' ? error.stack : error.stack.startsWith(head) ? error.stack.slice(head.length) : '';
  return stack.split('\n').flatMap((line) => {
    const at = /^ +at (?:.* \()?(.+):(\d+):\d+\)?$/.exec(line);
    return at ? [{ file: fileOf(at[1]), line: Number(at[2]) }] : [];
  });
}

/** @param {string} url */
export function fileOf(url) {
  return url.startsWith('file://') ? fileURLToPath(url) : url;
}
