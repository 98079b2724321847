#!/usr/bin/env node
// Opens a sealed delivery: node decrypt.mjs --customer clinic-7 --keys keys.txt sealed.zip > rows.ndjson
//
// Every line of a delivery is {"encrypted_data":"KEY_ID:IV:CIPHERTEXT_AND_TAG"}, and each opens in its own place only:
// the index of the line, counted from 0, and the customer stand in what GCM authenticates. A .gz or a .zip around the
// lines is taken off here; a .zst by `zstd -d` before. A format that was compressed before it was sealed (everything but
// NDJSON) comes out compressed, and from a .zip as .gz.
//
// The lines do not show that they are all, that they are of one run, and that the delivery is not an old one: give its
// receipt with --receipt, which is authenticated first (sdk/envelope/RECEIPT.md has its bytes), and the run that you
// expect with --expect-run. Needs nothing but Node.js 18 or later.

import { createDecipheriv, createHash, createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { parseArgs } from 'node:util';
import { createGunzip, createInflateRaw } from 'node:zlib';

const TAG_SIZE = 16;
const MAX_RECEIPT = 1 << 20;

// readKeys gives the keys of a file, one of base64 a line, by what the envelope calls them.
async function readKeys(path) {
  const ring = new Map();
  for (const line of (await readFile(path, 'ascii')).split('\n')) {
    if (line.trim() === '') continue;
    const key = Buffer.from(line.trim(), 'base64');
    if (key.length !== 32) throw new Error('a key is 32 bytes in base64');
    ring.set(createHash('sha256').update(key).digest('hex').slice(0, 16), key);
  }
  return ring;
}

// openLines gives the envelope lines of a delivery as a stream of bytes, whatever it is packed in.
async function openLines(path) {
  const file = await open(path);
  const head = Buffer.alloc(30);
  const { bytesRead } = await file.read(head, 0, head.length, 0);
  await file.close();
  if (head.readUInt16BE(0) === 0x1f8b) {
    return (input) => input.pipe(createGunzip());
  }
  if (bytesRead === head.length && head.readUInt32LE(0) === 0x04034b50) {
    return openEntry(head);
  }
  return (input) => input;
}

// openEntry finds the data of a zip archive's one entry, which stands behind its local header (APPNOTE.TXT, 4.3.7).
function openEntry(head) {
  const [flags, method, packed] = [head.readUInt16LE(6), head.readUInt16LE(8), head.readUInt32LE(18)];
  const start = 30 + head.readUInt16LE(26) + head.readUInt16LE(28);
  if (method === 8) {
    const inflate = createInflateRaw();
    const opened = (input) => input.on('error', (e) => inflate.destroy(e)).pipe(inflate);
    return Object.assign(opened, { start });
  }
  if (method === 0 && (flags & 8) === 0) {
    return Object.assign((input) => input, { start, end: start + packed - 1, size: packed });
  }
  throw new Error('this is no archive of a delivery');
}

// linesOf cuts a stream at its line ends. What follows the last one is an error.
async function* linesOf(stream) {
  let pieces = [];
  for await (const chunk of stream) {
    let from = 0;
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
      pieces.push(chunk.subarray(from, at));
      yield Buffer.concat(pieces);
      pieces = [];
      from = at + 1;
    }
    pieces.push(chunk.subarray(from));
  }
  if (Buffer.concat(pieces).length > 0) throw new Error('it is cut off');
}

// unseal gives what the line of that index was sealed from: a row, or a chunk of the file.
function unseal(line, index, ring, customer) {
  const [keyId, iv, text] = JSON.parse(line).encrypted_data.split(':');
  const key = ring.get(keyId);
  if (!key) throw new Error(`it was sealed with key ${keyId}, which is not among yours`);
  const sealed = Buffer.from(text, 'base64');
  const cipher = createDecipheriv('aes-256-gcm', key, Buffer.from(iv, 'base64'), { authTagLength: TAG_SIZE });
  cipher.setAAD(Buffer.from(`stream:${customer}:${index}`));
  cipher.setAuthTag(sealed.subarray(-TAG_SIZE));
  const plain = cipher.update(sealed.subarray(0, -TAG_SIZE));
  try {
    return Buffer.concat([plain, cipher.final()]);
  } catch {
    throw new Error('altered, out of its place, or of another customer or key');
  }
}

// The members of a statement, in their order.
const MEMBERS = ['bytes', 'key_id', 'parameters', 'procedure', 'rows', 'run_id', 'sha256', 'time'];

// readReceipt gives what a receipt proves: its statement, after its MAC was checked under the key that it names.
async function readReceipt(path, ring) {
  const file = await open(path);
  const text = Buffer.alloc(MAX_RECEIPT + 1);
  const { bytesRead } = await file.read(text, 0, text.length, 0);
  await file.close();
  if (bytesRead > MAX_RECEIPT) throw new Error('the receipt is too large');
  const { statement, mac } = JSON.parse(text.toString('utf8', 0, bytesRead));
  if (typeof statement !== 'string' || typeof mac !== 'string') {
    throw new Error('the receipt is not authenticated, so it proves nothing');
  }
  const proved = JSON.parse(statement);
  // One form only: nothing twice, nothing more.
  if (JSON.stringify(proved, MEMBERS) !== statement) throw new Error('the receipt is not in its canonical form');
  const key = ring.get(proved.key_id);
  if (!key) throw new Error(`the receipt was made with key ${proved.key_id}, which is not among yours`);
  const receiptKey = Buffer.from(hkdfSync('sha256', key, Buffer.alloc(0), 'cipherstream receipt v1', 32));
  const expected = Buffer.from(createHmac('sha256', receiptKey).update(statement).digest('hex'));
  const given = Buffer.from(mac);
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) throw new Error('the receipt is forged');
  return proved;
}

async function checkReceipt(path, receipt, expectRun) {
  if (expectRun && receipt.run_id !== expectRun) {
    throw new Error(`this is the delivery of run ${receipt.run_id}, not of ${expectRun}`);
  }
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  if (hash.digest('hex') !== receipt.sha256) {
    throw new Error('the delivery is not the one of the receipt, or not all of it');
  }
}

async function* unsealed(path, ring, customer, progress) {
  const unpack = await openLines(path);
  if (unpack.size === 0) return;
  const input = createReadStream(path, { start: unpack.start, end: unpack.end });
  for await (const line of linesOf(unpack(input))) {
    yield unseal(line, progress.index, ring, customer);
    progress.index++;
  }
}

const { values: o, positionals } = parseArgs({
  options: {
    customer: { type: 'string' }, keys: { type: 'string' }, receipt: { type: 'string' }, 'expect-run': { type: 'string' },
  },
  allowPositionals: true,
});
if (!o.customer || !o.keys || positionals.length !== 1 || (o['expect-run'] && !o.receipt)) {
  console.error('usage: decrypt.mjs --customer ID --keys FILE [--receipt FILE [--expect-run ID]] FILE');
  process.exit(2);
}
const progress = { index: 0 };
try {
  const ring = await readKeys(o.keys);
  if (o.receipt) await checkReceipt(positionals[0], await readReceipt(o.receipt, ring), o['expect-run']);
  await pipeline(unsealed(positionals[0], ring, o.customer, progress), process.stdout, { end: false });
} catch (problem) {
  console.error(`line ${progress.index}: ${problem.message}`);
  process.exitCode = 1;
}
