// Package nodeplugin holds no code, only tests of a plugin that is not written in Go: examples/plugins/node-redact,
// in JavaScript. They own the claim that a plugin may be written in any language from sdk/PROTOCOL.md alone: the
// plugin passes the conformance suite, stands in a pipeline of real rows, hands every Arrow type through unchanged, and
// its death fails the run. They never test what the host does with plugins in general; engine/host and e2e do.
//
// They need Node.js 18 or later with npm, which installs the plugin's dependencies once, into CIPHERSTREAM_CACHE.
package nodeplugin
