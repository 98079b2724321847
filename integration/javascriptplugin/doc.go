// Package javascriptplugin holds no code, only tests of plugins in JavaScript: the package sdk/javascript by its own tests and by the
// compiler of TypeScript, which reads its comments for types, and what `cipherstream plugin new --language javascript` begins, of all six
// kinds, as a bundle. They own the claim that a bundle passes the conformance suite and stands in a pipeline. They never test what
// the host does with plugins in general; engine/host and e2e do.
//
// They need Node.js in /usr/local/bin, /usr/bin or /bin, and npm with its registry once, for CIPHERSTREAM_CACHE (integration/node).
package javascriptplugin
