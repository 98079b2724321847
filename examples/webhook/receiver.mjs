#!/usr/bin/env node
// Receives the webhooks of CipherStream, and believes none that is not signed:
//
//     WEBHOOK_SECRETS=whsec_... node receiver.mjs 127.0.0.1:8080
//
// Three headers prove a delivery, as Standard Webhooks (https://www.standardwebhooks.com) has them: webhook-signature holds
// signatures of webhook-id, webhook-timestamp and the body. So none of the three can be altered, and what somebody else
// sends again is told by them: it is too old, or its id has been handled. While a secret is rotated, deliveries are signed
// with the old one and the new one; WEBHOOK_SECRETS may hold both, with a comma between them.
//
// It is an example to copy from. Receiver is all that a program needs, whatever serves its HTTP, but for a store: the ids
// that were handled are in memory here; keep yours with what an event has changed, in one transaction. It takes nothing but
// Node.js 18 or later, and something in front of it that ends TLS.

import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';
import { pathToFileURL } from 'node:url';

const MAX_BODY = 1 << 20; // bytes; an event has a few KiB, and a batch up to a hundred of them
const TOLERANCE = 5 * 60; // seconds that a delivery may be old, or of the future
const REMEMBERED = 7 * 24 * 3600; // seconds; what fails is tried again, under the same id, for up to 27 hours

// Receiver hands each event to handle(event) once. Where that throws, the sender is told to come again.
export class Receiver {
  #keys;
  #handle;
  #now;
  #handled = new Map(); // when, by the id of the delivery
  #oneByOne = Promise.resolve();

  constructor(secrets, handle, now = () => Date.now() / 1000) {
    this.#keys = secrets.map((secret) => Buffer.from(secret.replace(/^whsec_/, ''), 'base64'));
    if (this.#keys.some((key) => key.length < 24)) throw new Error('a secret is whsec_ and at least 24 bytes in base64');
    this.#handle = handle;
    this.#now = now;
  }

  // receive gives the status to answer with, and why. Headers are those of node:http, and body is a Buffer, as it came.
  async receive(headers, body) {
    const { 'webhook-id': delivery = '', 'webhook-timestamp': timestamp = '', 'webhook-signature': signatures = '' } = headers;
    if (!this.#signed([`${delivery}.${timestamp}.`, body], signatures)) return [401, 'the signature is not right'];
    if (!(Math.abs(this.#now() - Number(timestamp)) <= TOLERANCE)) return [400, 'the delivery is too old, or of the future'];
    let events;
    try {
      const event = JSON.parse(body.toString('utf8'));
      events = event.event === 'batch' ? event.events : [event];
      if (!events.every((e) => typeof e.delivery_id === 'string')) throw new Error('no delivery_id');
    } catch {
      return [400, 'this is no event'];
    }
    // One by one, so that a delivery that comes twice at once is not handled twice.
    const answer = this.#oneByOne.then(() => this.#take(events));
    this.#oneByOne = answer;
    return answer;
  }

  async #take(events) {
    for (const event of events) {
      if (this.#handled.has(event.delivery_id)) continue; // the answer to it got lost, or it was sent again
      try {
        await this.#handle(event);
      } catch (problem) {
        console.error(`${event.delivery_id}: ${problem}`);
        return [503, 'try again later'];
      }
      this.#remember(event.delivery_id);
    }
    return [200, 'thank you'];
  }

  // #signed tells whether one of the signatures is right. How long that takes tells nothing about the right one.
  #signed(content, signatures) {
    const given = signatures.split(' ').filter((one) => one.startsWith('v1,')).map((one) => Buffer.from(one.slice(3)));
    let right = false;
    for (const key of this.#keys) {
      const hmac = createHmac('sha256', key);
      for (const part of content) hmac.update(part);
      const expected = Buffer.from(hmac.digest('base64'));
      for (const one of given) right = (one.length === expected.length && timingSafeEqual(one, expected)) || right;
    }
    return right;
  }

  #remember(id) {
    const now = this.#now();
    for (const [old, when] of this.#handled) { // the oldest is the first
      if (now - when <= REMEMBERED) break;
      this.#handled.delete(old);
    }
    this.#handled.set(id, now);
  }
}

// serve answers one request.
async function serve(receiver, request, response) {
  const answer = (status, text, headers = {}) => {
    if (status >= 400) headers.Connection = 'close'; // the body may not have been read
    response.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8', ...headers }).end(text);
  };
  if (request.method !== 'POST') return answer(405, 'events are posted', { Allow: 'POST' });
  const pieces = [];
  let size = 0;
  try {
    for await (const piece of request.iterator({ destroyOnReturn: false })) {
      if ((size += piece.length) > MAX_BODY) return answer(413, 'the body is too large');
      pieces.push(piece);
    }
  } catch {
    return response.destroy(); // the sender has gone away
  }
  answer(...await receiver.receive(request.headers, Buffer.concat(pieces)));
}

// show is what this example does with an event: one that is about a job tells of it, any other that it came.
function show({ event, delivery_id: id, data }) {
  const about = data.job_id === undefined ? '' : `: job ${data.job_id} (${data.procedure_name}) is ${data.status}`;
  const rows = data.rows_processed === undefined ? '' : ` with ${data.rows_processed} rows`;
  console.log(`${event} ${id}${about}${rows}`);
}

function main() {
  const [, host, port] = /^(.*):(\d+)$/.exec(process.argv[2] ?? '127.0.0.1:8080') ?? [];
  const secrets = (process.env.WEBHOOK_SECRETS ?? '').split(',').map((secret) => secret.trim()).filter(Boolean);
  if (secrets.length === 0) {
    console.error('WEBHOOK_SECRETS is empty: a delivery whose signature cannot be checked is worth nothing');
    process.exit(1);
  }
  const receiver = new Receiver(secrets, show);
  const server = createServer({ requestTimeout: 15_000 }, (request, response) => serve(receiver, request, response));
  server.listen(Number(port), host, () => console.log(`listening on http://${host}:${server.address().port}`));
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) main();
