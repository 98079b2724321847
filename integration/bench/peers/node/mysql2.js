// A plain program for Node.js: mysql2 with its stream of rows, with the settings that its documentation gives for large
// numbers and dates.
//
// usage: node mysql2.js TABLE COLUMNS FORMAT FILE
'use strict';
const fs = require('node:fs');
const { pipeline, Transform } = require('node:stream');
const mysql = require('mysql2');

const [table, columns, form, file] = process.argv.slice(2);
const connection = mysql.createConnection({
  host: process.env.PEER_HOST,
  port: Number(process.env.PEER_PORT),
  user: process.env.PEER_USER,
  password: process.env.PEER_PASSWORD,
  database: process.env.PEER_DATABASE,
  charset: 'utf8mb4',
  supportBigNumbers: true,
  dateStrings: true,
});

const field = (value) => {
  if (value === null) return '';
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};
let header = form === 'csv';
const lines = new Transform({
  writableObjectMode: true,
  transform(row, _, done) {
    if (form === 'ndjson') return done(null, JSON.stringify(row) + '\n');
    const first = header ? Object.keys(row).join(',') + '\n' : '';
    header = false;
    done(null, first + Object.values(row).map(field).join(',') + '\n');
  },
});
pipeline(connection.query(`SELECT ${columns} FROM ${table}`).stream(), lines, fs.createWriteStream(file), (error) => {
  connection.destroy();
  if (error) {
    console.error(String(error));
    process.exitCode = 1;
  }
});
