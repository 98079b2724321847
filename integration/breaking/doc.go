// Package breaking holds no code, only a test of stages that break on purpose, in every language that has an SDK: what a run says of
// an exception, a call that hangs, another schema and too much memory must lead the author to the line, within seconds.
package breaking
