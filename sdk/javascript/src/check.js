// Says what is wrong with one stage before it runs (PROTOCOL.md, "Check"): no row is read, and nothing is left behind.

import { RecordBatchReader, Schema, Table, tableToIPC } from 'apache-arrow';
import { Fault, faultOf } from './fault.js';

/** What the check of a source or a sink has found, for the author's check(report) to fill. */
export class Report {
  /** @type {{level: string, fault: object}[]} */
  findings = [];
  #stage;

  /** @param {string} stage */
  constructor(stage) {
    this.#stage = stage;
  }

  /**
   * A run would fail with it.
   * @param {Fault} fault
   */
  wrong(fault) {
    this.#add('wrong', fault);
  }

  /**
   * A run would do what is rarely meant.
   * @param {Fault} fault
   */
  warn(fault) {
    this.#add('warning', fault);
  }

  /**
   * Only a run can tell.
   * @param {string} message
   */
  unchecked(message) {
    this.#add('unchecked', new Fault('check.unchecked', 'usage', message));
  }

  /**
   * It was looked at, and is well.
   * @param {string} message
   */
  fine(message) {
    this.#add('fine', new Fault('check.fine', 'usage', message));
  }

  /**
   * @param {string} level
   * @param {Fault} fault
   */
  #add(level, fault) {
    fault.stage ||= this.#stage;
    this.findings.push({ level, fault: fault.toMessage() });
  }
}

/**
 * Makes the stage and, as far as it is known what it would be given, binds it.
 * @param {() => any} make
 * @param {any} request
 */
export async function check(make, request) {
  const report = new Report(request.stage.id);
  let given;
  try {
    given = await look(make(), request, report);
  } catch (error) {
    report.wrong(faultOf(error, request.stage.id));
  }
  const { findings } = report;
  if (given instanceof Schema) return { findings, columns: tableToIPC(new Table(given), 'stream') };
  if (typeof given?.type !== 'string') return { findings };
  return { findings, media: { type: given.type, extension: given.extension, content_encoding: given.contentEncoding, sealed: given.sealed } };
}

/**
 * @param {any} stage
 * @param {any} request
 * @param {Report} report
 */
async function look(stage, { stage: { kind }, columns, media, backward, connect }, report) {
  if (kind === 'source' || kind === 'sink') {
    if (!connect) return undefined;
    if (stage.check) return stage.check(report);
    report.unchecked('what the stage reaches is seen when it runs');
    return undefined;
  }
  if (kind === 'filter' || kind === 'encoder') {
    const schema = backward ? undefined : known(columns);
    return schema && stage.bind(schema);
  }
  if (!media) return undefined;
  const { type, extension, content_encoding: contentEncoding, sealed } = media;
  return stage.bind({ type, extension, contentEncoding, sealed });
}

/**
 * The columns that a stage would be given, when all of them are known.
 * @param {Uint8Array} columns
 * @returns {Schema | undefined}
 */
function known(columns) {
  if (columns.length === 0) return undefined;
  const { schema } = RecordBatchReader.from(columns).open();
  const open = schema.metadata.get('cipherstream.open') === 'true';
  return open || schema.fields.some(({ metadata }) => metadata.get('cipherstream.unknown') === 'true') ? undefined : schema;
}
