// Package scaffold tests what an author meets: "cipherstream plugin new" for every kind, the module that it writes built and
// tested without a network, its stage in a pipeline, and the commands and the code of the author's guide, sdk/README.md. It
// holds tests only; the templates themselves are those of cmd/cipherstream/scaffold.
package scaffold
