// Package debugging holds the tests of what a plugin's author debugs with, on the
// program as it is built: run --record, plugin replay and run --attach, with a plugin
// of somebody else's. It owns that plugin (testdata/acme); it never looks into a
// package of the program.
package debugging
