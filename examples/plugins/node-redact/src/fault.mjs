// Coded failures, as they cross the boundary to the host (PROTOCOL.md, "Faults").

export class Fault extends Error {
  /**
   * @param {string} code stable, lower case, dotted: "redact.unknown_column"
   * @param {string} className one of the eight classes: "usage", "data", "plugin" …
   * @param {string} message what was expected and what came; never a value of a row
   * @param {string} hint what to do about it
   */
  constructor(code, className, message, hint = '') {
    super(message);
    this.code = code;
    this.class = className;
    this.hint = hint;
    this.stage = '';
  }

  /** Names the stage that failed, unless one is named already. */
  in(stage) {
    this.stage ||= stage;
    return this;
  }

  toMessage() {
    return { code: this.code, class: this.class, message: this.message, hint: this.hint, stage: this.stage };
  }
}

export const cancelled = () => new Fault('run.cancelled', 'cancelled', 'the run was cancelled');

/**
 * Makes a fault of whatever was thrown. The message of an unexpected error may quote a row, so only its name goes to the
 * host, and where it happened to the log.
 */
export function faultOf(error) {
  if (error instanceof Fault) return error;
  console.error(`unexpected ${nameOf(error)}\n${framesOf(error)}`);
  return new Fault('plugin.panic', 'plugin', `the plugin threw ${nameOf(error)}`, 'this is a defect of the plugin; its log says where');
}

export function nameOf(error) {
  return error instanceof Error ? error.name : `a ${typeof error}`;
}

/** The stack without its first lines, which repeat the message. */
export function framesOf(error) {
  const lines = String(error?.stack ?? '').split('\n');
  return lines.filter((line) => /^\s+at /.test(line)).join('\n');
}
