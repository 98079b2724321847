// A key, and a certificate for it that it has signed itself: what the plugin's side of the control connection shows to the
// host. Node.js makes keys but no certificates, so the X.509 structure (RFC 5280, section 4.1) is put together here, in DER.

import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';

const SEQUENCE = 0x30;
const SET = 0x31;
const INTEGER = 0x02;
const BIT_STRING = 0x03;
const OCTET_STRING = 0x04;
const UTF8_STRING = 0x0c;
const UTC_TIME = 0x17;
const GENERALIZED_TIME = 0x18;

/**
 * @param {number} tag
 * @param {Uint8Array[]} parts
 */
function der(tag, ...parts) {
  const body = Buffer.concat(parts);
  const length = [];
  for (let n = body.length; n > 0; n >>>= 8) length.unshift(n & 0xff);
  const head = body.length < 0x80 ? [tag, body.length] : [tag, 0x80 | length.length, ...length];
  return Buffer.concat([Buffer.from(head), body]);
}

/**
 * An object identifier whose arcs all fit into what is needed here.
 * @param {number[]} arcs
 */
function oid(...arcs) {
  const body = [40 * arcs[0] + arcs[1]];
  for (const arc of arcs.slice(2)) {
    const digits = [arc & 0x7f];
    for (let rest = arc >>> 7; rest > 0; rest >>>= 7) digits.unshift(0x80 | (rest & 0x7f));
    body.push(...digits);
  }
  return Buffer.from([0x06, body.length, ...body]);
}

/**
 * UTCTime holds years up to 2049 (RFC 5280, section 4.1.2.5).
 * @param {Date} date
 */
function time(date) {
  const text = date.toISOString().replace(/[-:T]|\.\d+/g, '');
  return date.getUTCFullYear() < 2050 ? der(UTC_TIME, Buffer.from(text.slice(2))) : der(GENERALIZED_TIME, Buffer.from(text));
}

const extension = (/** @type {Buffer} */ id, /** @type {Buffer} */ value) => der(SEQUENCE, id, der(OCTET_STRING, value));

/**
 * Makes a P-256 key and a certificate for the name that the host asks for.
 * @returns {{key: string, certificate: string, der: Buffer}} both in PEM, the certificate also in DER
 */
export function newIdentity(name = 'localhost') {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const algorithm = der(SEQUENCE, oid(1, 2, 840, 10045, 4, 3, 2)); // ecdsa-with-SHA256
  const common = der(SEQUENCE, der(SET, der(SEQUENCE, oid(2, 5, 4, 3), der(UTF8_STRING, Buffer.from(name)))));
  const serial = randomBytes(16);
  serial[0] = (serial[0] & 0x7f) | 0x40; // positive, and without leading zeros
  const day = 24 * 60 * 60 * 1000;
  const body = der(
    SEQUENCE,
    der(0xa0, der(INTEGER, Buffer.from([2]))), // version 3
    der(INTEGER, serial),
    algorithm,
    common, // issuer
    der(SEQUENCE, time(new Date(Date.now() - day)), time(new Date(Date.now() + 366 * day))),
    common, // subject
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, der(
      SEQUENCE,
      extension(oid(2, 5, 29, 17), der(SEQUENCE, der(0x82, Buffer.from(name)))), // subjectAltName: dNSName
      extension(oid(2, 5, 29, 37), der(SEQUENCE, oid(1, 3, 6, 1, 5, 5, 7, 3, 1))), // extKeyUsage: serverAuth
    )),
  );
  const signature = der(BIT_STRING, Buffer.from([0]), sign('sha256', body, privateKey));
  const certificate = der(SEQUENCE, body, algorithm, signature);
  const lines = certificate.toString('base64').replace(/.{64}(?=.)/g, '$&\n');
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    certificate: `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`,
    der: certificate,
  };
}
