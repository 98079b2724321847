// Package isolation tests what a third-party plugin can do to its host, to the
// machine and to a run: its test program is the host, the first-party stages, and a
// plugin whose stages break in every way, whatever their kind. It owns nothing that
// runs outside its tests, and never tests what a stage computes.
package isolation
