// A process that its author starts, under a debugger or in a terminal, and not the host (PROTOCOL.md, "Attaching for debugging").

import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';

/** The environment variable with the path of the socket on which a run waits. */
export const ATTACH = 'CIPHERSTREAM_ATTACH';

const MOST_REQUEST = 64 * 2 ** 10; // bytes
const PREFIXES = ['PLUGIN_', 'CIPHERSTREAM_']; // of the variables that a run may set
const GONE = 'no run waits there any more';

/**
 * Connects to the run that waits at a path, and puts the environment in place that it sends. Ends the process where none does.
 * @param {string} at
 * @param {string} name The plugin's.
 */
export async function attach(at, name) {
  console.error(`${name}: attaching to the run that waits at ${at}`);
  delete process.env[ATTACH]; // what this process starts is no plugin
  try {
    const { socket, environment } = await requestAt(at);
    Object.assign(process.env, environment);
    console.error(`${name}: attached; waiting for the run to begin`);
    return socket;
  } catch (error) {
    const { code, message } = /** @type {Error & {code?: string}} */ (error);
    console.error(`${name}: cannot attach: ${code === 'ENOENT' || code === 'ECONNREFUSED' ? GONE : message}`);
    return process.exit(1);
  }
}

/**
 * The connection, and what the run sends as its first line. That the folder is this user's alone says who answers, since Node.js
 * cannot ask the system.
 * @param {string} at
 * @returns {Promise<{socket: net.Socket, environment: Record<string, string>}>}
 */
export async function requestAt(at) {
  const folder = path.dirname(at);
  const info = fs.lstatSync(folder);
  if (!info.isDirectory() || info.uid !== process.getuid?.() || (info.mode & 0o077) !== 0) {
    throw new Error(`${folder} is not a directory of this user alone; start the plugin as the user who started the run`);
  }
  const socket = net.createConnection(at);
  try {
    const line = await new Promise((resolve, reject) => {
      let text = Buffer.alloc(0);
      const ended = () => reject(new Error('the run ended before it said what it wants'));
      socket.on('error', reject).on('end', ended).on('data', (/** @type {Buffer} */ piece) => {
        text = Buffer.concat([text, piece]);
        if (text.length > MOST_REQUEST) ended();
        else if (text.at(-1) === 10) resolve(text.toString()); // nothing comes behind the line
      });
    });
    socket.removeAllListeners();
    return { socket, environment: environmentOf(line) };
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

/**
 * The variables of an attach request.
 * @param {string} line
 * @returns {Record<string, string>}
 */
export function environmentOf(line) {
  let environment;
  try {
    environment = JSON.parse(line)?.environment;
  } catch {
    // told below
  }
  if (typeof environment !== 'object' || !environment || Object.values(environment).some((value) => typeof value !== 'string')) {
    throw new Error('what waits there is not a run of cipherstream');
  }
  if (!environment.PLUGIN_CLIENT_CERT) throw new Error('the run sent no certificate');
  for (const name of Object.keys(environment)) {
    if (!PREFIXES.some((prefix) => name.startsWith(prefix))) throw new Error(`the run wants to set the variable "${name}"`);
  }
  return environment;
}
