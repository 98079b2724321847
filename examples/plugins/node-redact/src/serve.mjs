// The program around the stages: the handshake with the host, the control service, and the end (PROTOCOL.md, "Start").

import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import * as grpc from '@grpc/grpc-js';
import * as protoLoader from '@grpc/proto-loader';
import protobuf from 'protobufjs';
import controlProto from '../control.proto';
import controllerProto from '../controller.proto';
import { newIdentity } from './certificate.mjs';
import { faultOf, framesOf, nameOf } from './fault.mjs';
import { Session } from './session.mjs';

const COOKIE = 'b5d3a8f0-stage';
const CORE_VERSION = 1; // of go-plugin's handshake
const PROTOCOL_VERSION = 1; // of the control service and the data
const MOST_MESSAGE = 16 * 2 ** 20;
const LAST_WORDS = 10_000; // ms that this process outlives its host at most

/**
 * Serves the host until it is done.
 * @param plugin {name, version, stages: [{manifest, Stage}]}
 */
export async function serve(plugin) {
  const { env } = process;
  if (env.CIPHERSTREAM_PLUGIN !== COOKIE) {
    console.error(`${plugin.name} is a CipherStream plugin (version ${plugin.version}). It is started by cipherstream, not by hand.`);
    process.exit(2);
  }
  if (!env.PLUGIN_CLIENT_CERT) {
    console.error('the host has sent no certificate, so nobody can be let in');
    process.exit(1);
  }
  // The message of an error that nobody expected may quote a row; the log gets what is safe.
  const broken = (error) => {
    console.error(`unexpected ${nameOf(error)}\n${framesOf(error)}`);
    process.exit(1);
  };
  process.on('uncaughtException', broken);
  process.on('unhandledRejection', broken);
  const session = new Session(plugin.stages);
  watchLifeline(Number(env.CIPHERSTREAM_LIFELINE), session);
  // Who ends a service signals all its processes; the host decides what that means.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => {});
  const versions = (env.PLUGIN_PROTOCOL_VERSIONS ?? '').split(',').map(Number);
  if (!versions.includes(PROTOCOL_VERSION)) {
    // The handshake says which version this is; the host tells the user.
    console.error(`${plugin.name} speaks protocol version ${PROTOCOL_VERSION}, the host ${versions.join(', ')}`);
  }

  const server = new grpc.Server({ 'grpc.max_receive_message_length': MOST_MESSAGE, 'grpc.max_send_message_length': MOST_MESSAGE });
  server.addService(load(controlProto).cipherstream.plugin.v1.Plugin.service, handlers(plugin, session));
  server.addService(load(controllerProto).plugin.GRPCController.service, {
    Shutdown(_call, reply) {
      session.cancel();
      reply(null, {});
      server.tryShutdown(() => process.exit(0));
    },
  });

  const identity = newIdentity();
  const credentials = grpc.ServerCredentials.createSsl(
    Buffer.from(env.PLUGIN_CLIENT_CERT), // nobody but the host is let in
    [{ private_key: Buffer.from(identity.key), cert_chain: Buffer.from(identity.certificate) }],
    true,
  );
  const dir = fs.mkdtempSync(path.join(env.PLUGIN_UNIX_SOCKET_DIR || os.tmpdir(), 'n-'));
  const address = path.join(dir, 's');
  await new Promise((resolve, reject) => {
    server.bindAsync(`unix:${address}`, credentials, (error) => (error ? reject(error) : resolve()));
  });
  const certificate = identity.der.toString('base64').replace(/=+$/, '');
  process.stdout.write([CORE_VERSION, PROTOCOL_VERSION, 'unix', address, 'grpc', certificate].join('|') + '\n');
}

/**
 * Ends this process when the host is gone: the descriptor is a pipe on which nothing is ever written. What a run has begun is
 * ended first, where the system leaves the time for it.
 */
function watchLifeline(fd, session) {
  if (!(fd >= 3)) return;
  const lifeline = new net.Socket({ fd, readable: true, writable: false });
  const end = () => {
    setTimeout(() => process.exit(3), LAST_WORDS);
    session.end().finally(() => process.exit(3));
  };
  lifeline.on('end', end).on('error', end).on('close', end);
  lifeline.resume();
}

function load(text) {
  const { root } = protobuf.parse(text, { keepCase: true });
  return grpc.loadPackageDefinition(protoLoader.fromJSON(root.toJSON(), { keepCase: true, longs: Number, defaults: true, oneofs: true }));
}

function handlers(plugin, session) {
  return {
    Describe(_call, reply) {
      const stages = plugin.stages.map(({ manifest }) => ({ ...manifest, spec: Buffer.from(JSON.stringify(manifest.spec)) }));
      reply(null, { name: plugin.name, version: plugin.version, stages, link_words: true });
    },
    Open(call, reply) {
      session.open(call.request).then(
        () => reply(null, {}),
        (error) => reply(null, { fault: faultOf(error).toMessage() }),
      );
    },
    async Start(call) {
      call.on('cancelled', () => session.cancel()); // the host is gone, or has turned away
      await session.start((event) => call.write(event));
      call.end();
    },
    Acknowledge(call, reply) {
      session.acknowledge(call.request.id);
      reply(null, {});
    },
    async Undo(call, reply) {
      const outcomes = await session.undo(call.request);
      reply(null, { outcomes: outcomes.map((error) => (error ? { fault: faultOf(error).toMessage() } : {})) });
    },
    Commit(_call, reply) {
      session.commit().then(
        (receipt) => reply(null, { receipt }),
        (error) => reply(null, { fault: faultOf(error).toMessage() }),
      );
    },
    Cancel(_call, reply) {
      session.cancel();
      reply(null, {});
    },
  };
}
