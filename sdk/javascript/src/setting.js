// Settings of a stage: what the host is told of them, and their values, checked (PROTOCOL.md, "Settings").

import { Fault } from './fault.js';

/**
 * @typedef {'string' | 'boolean' | 'integer' | 'number' | 'duration' | 'size' | 'secret' | 'scalar' | 'list' | 'map' | 'object'} Type
 */

/**
 * One setting. A stage is given a string, a boolean or a number (an integer is exact: beyond 2^53 it is refused); milliseconds for a
 * duration, bytes for a size, a Secret, an array or an object. One that was not given and has no default is undefined.
 * @typedef {object} Setting
 * @property {Type} [type] Default: string.
 * @property {boolean} [required]
 * @property {unknown} [default] As a stage would be given it, or as text for durations and sizes.
 * @property {string[]} [enum] The texts that are allowed.
 * @property {number | string} [min] Inclusive: of numbers, durations and sizes, of the length of texts and lists.
 * @property {number | string} [max]
 * @property {Setting} [items] What a list or a map holds.
 * @property {Settings} [fields] What an object holds.
 * @property {string} [doc]
 * @property {string} [code] The language of a text that is code.
 * @property {string} [secret] The kind of a secret.
 *
 * @typedef {Record<string, Setting>} Settings By their names.
 */

const TYPES = ['string', 'boolean', 'integer', 'number', 'duration', 'size', 'secret', 'scalar', 'list', 'map', 'object'];

/** @type {Record<string, number>} */
const UNITS = { ns: 1e-6, us: 1e-3, 'µs': 1e-3, ms: 1, s: 1e3, m: 60e3, h: 3600e3 };

/** @type {Record<string, number>} */
const SIZES = {
  '': 1, B: 1, kB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40,
};

/** A secret setting. It shows nothing of itself when it is printed; reveal() gives the text. */
export class Secret {
  #text;

  /** @param {string} text */
  constructor(text) {
    this.#text = text;
  }

  reveal() {
    return this.#text;
  }

  toString() {
    return 'Secret(***)';
  }

  toJSON() {
    throw new TypeError('a secret is not written anywhere');
  }

  [Symbol.for('nodejs.util.inspect.custom')]() {
    return this.toString();
  }
}

/**
 * The settings as Describe tells them.
 * @param {Settings} settings
 * @returns {object[]}
 */
export function specOf(settings) {
  return Object.entries(settings).map(([name, s]) => fieldOf(name, s));
}

/**
 * @param {string} name
 * @param {Setting} s
 * @returns {object}
 */
function fieldOf(name, s) {
  const { type = 'string', required, enum: allowed, items, fields, doc, code, secret } = s;
  if (!TYPES.includes(type)) throw new TypeError(`setting ${JSON.stringify(name)}: a type is one of ${TYPES.join(', ')}`);
  const text = typeof s.default === 'string' ? s.default : JSON.stringify(s.default);
  const bound = (/** @type {number | string | undefined} */ n) => (n === undefined ? undefined : String(n));
  return {
    name, type, required, default: text, enum: allowed, min: bound(s.min), max: bound(s.max),
    items: items && fieldOf('', items), fields: fields && specOf(fields), doc, code, secret,
  };
}

/**
 * The values of a stage's settings, of which none is quoted in a fault.
 * @param {Uint8Array} text JSON
 * @param {Settings} settings
 * @returns {Record<string, any>}
 */
export function parse(text, settings) {
  let given;
  try {
    given = text.length > 0 ? JSON.parse(Buffer.from(text).toString()) : {};
  } catch {
    throw invalid('', 'the settings are no JSON');
  }
  return objectOf(given, settings, '');
}

/**
 * @param {string} place
 * @param {string} what
 */
export function invalid(place, what) {
  return new Fault('config.invalid', 'usage', place ? `${place}: ${what}` : what, { details: place ? { setting: place } : {} });
}

/**
 * @param {any} given
 * @param {Settings} settings
 * @param {string} place
 */
function objectOf(given, settings, place) {
  if (given === null || typeof given !== 'object' || Array.isArray(given)) throw invalid(place, 'expected an object');
  const names = Object.keys(settings);
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(settings, name)) {
      throw invalid(within(place, name), `there is no such setting${names.length ? `; there are ${names.join(', ')}` : ''}`);
    }
  }
  /** @type {Record<string, any>} */
  const out = {};
  for (const [name, s] of Object.entries(settings)) {
    const at = within(place, name);
    if (Object.hasOwn(given, name)) out[name] = valueOf(given[name], s, at);
    else if (s.required) throw invalid(at, 'it is required');
    else out[name] = s.default === undefined ? undefined : valueOf(s.default, s, at);
  }
  return out;
}

/**
 * @param {string} place
 * @param {string} name
 */
const within = (place, name) => (place ? `${place}.${name}` : name);

/**
 * @param {any} v
 * @param {Setting} s
 * @param {string} at
 * @returns {any}
 */
function valueOf(v, s, at) {
  switch (s.type ?? 'string') {
    case 'string':
    case 'secret':
      if (typeof v !== 'string') throw invalid(at, 'expected text');
      if (s.enum && !s.enum.includes(v)) throw invalid(at, `expected one of ${s.enum.join(', ')}`);
      bounds([...v].length, s, at, ' characters', Number);
      return s.type === 'secret' ? new Secret(v) : v;
    case 'boolean':
      if (typeof v !== 'boolean') throw invalid(at, 'expected true or false');
      return v;
    case 'integer':
      if (!Number.isSafeInteger(v)) throw invalid(at, 'expected an integer that a number of JavaScript holds');
      bounds(v, s, at, '', Number);
      return v;
    case 'number':
      if (typeof v !== 'number') throw invalid(at, 'expected a number');
      bounds(v, s, at, '', Number);
      return v;
    case 'duration': {
      const n = duration(v);
      if (n === undefined) throw invalid(at, 'expected a duration such as "250ms" or "1m30s"');
      bounds(n, s, at, '', duration);
      return n;
    }
    case 'size': {
      const n = size(v);
      if (n === undefined) throw invalid(at, 'expected a size such as 4096 or "64KiB"');
      bounds(n, s, at, '', size);
      return n;
    }
    case 'scalar':
      if (v !== null && !['string', 'boolean', 'number'].includes(typeof v)) {
        throw invalid(at, 'expected text, a number, true, false or null');
      }
      return v;
    case 'list':
      if (!Array.isArray(v)) throw invalid(at, 'expected a list');
      bounds(v.length, s, at, ' elements', Number);
      return v.map((x, i) => (s.items ? valueOf(x, s.items, `${at}[${i}]`) : x));
    case 'object':
      return objectOf(v, s.fields ?? {}, at);
    default: // a map
      if (v === null || typeof v !== 'object' || Array.isArray(v)) throw invalid(at, 'expected an object');
      bounds(Object.keys(v).length, s, at, ' elements', Number);
      return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, s.items ? valueOf(x, s.items, within(at, k)) : x]));
  }
}

/**
 * @param {number} n
 * @param {Setting} s
 * @param {string} at
 * @param {string} unit
 * @param {(bound: any) => number | undefined} read
 */
function bounds(n, s, at, unit, read) {
  if (s.min !== undefined && n < /** @type {number} */ (read(s.min))) throw invalid(at, `expected at least ${s.min}${unit}`);
  if (s.max !== undefined && n > /** @type {number} */ (read(s.max))) throw invalid(at, `expected at most ${s.max}${unit}`);
}

/**
 * Milliseconds of a duration; undefined when it is none.
 * @param {unknown} text
 */
export function duration(text) {
  if (typeof text !== 'string') return undefined;
  const whole = /^(-?)((?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+|0)$/.exec(text);
  if (!whole) return undefined;
  let total = 0;
  for (const [, n, unit] of whole[2].matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)) total += Number(n) * UNITS[unit];
  return whole[1] ? -total : total;
}

/**
 * Bytes of a size; undefined when it is none.
 * @param {unknown} v
 */
export function size(v) {
  if (typeof v === 'number') return Number.isSafeInteger(v) && v >= 0 ? v : undefined;
  const m = typeof v === 'string' ? /^(\d+(?:\.\d+)?) ?([kKMGT]?i?B?)$/.exec(v) : null;
  if (!m || SIZES[m[2]] === undefined) return undefined;
  const n = Number(m[1]) * SIZES[m[2]];
  return Number.isSafeInteger(n) ? n : undefined;
}
