// Command cipherstream-sandbox serves a database of generated practice data on
// loopback, MySQL-compatible, until its standard input ends. "cipherstream sandbox" and
// "cipherstream run --sandbox" start it; it holds the embedded server, so that the
// program that extracts data does not. It owns no data and no server, which package
// embedded does, and speaks to programs, not to people.
package main
