// Package incremental tests pipelines that keep state, with the program as users have it and with servers that change
// meanwhile: transactions that are committed late, runs that are killed at any moment, outputs whose state could not be
// kept. Nothing may ever be left out; it never looks at how a run is made.
package incremental
