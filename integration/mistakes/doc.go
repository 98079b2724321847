// Package mistakes holds what people commonly get wrong in pipelines, on the command line and about their database, against
// what they are told: every mistake gets a code, its place, and what to do. The mistakes are the table in mistakes_test.go;
// the answers stand in testdata, as they are printed.
package mistakes
