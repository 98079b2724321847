// Package embedded serves the sandbox's practice on loopback: a MySQL-compatible
// server in this process, whose rows are generated as they are read.
//
// Its library is more than half of any program that holds it, and takes time at the
// start of each of its processes: only cmd/cipherstream-sandbox, and tests, import it.
// It owns nothing of the data, which package sandbox makes.
//
// All of it needs the build tag gms_pure_go, by which the library does without cgo.
package embedded
