// Package pythonplugin holds no code, only tests of plugins in Python: the package sdk/python by its own tests, and what
// `cipherstream plugin new --language python` begins, of all six kinds, as a bundle. They own the claim that a bundle passes the
// conformance suite and stands in a pipeline. They never test what the host does with plugins in general; engine/host and
// e2e do.
//
// They need a python3 in /usr/local/bin, /usr/bin or /bin of the version that the packages were installed for, and PyPI once, for
// CIPHERSTREAM_CACHE (integration/scripts/python.sh).
package pythonplugin
