// Package repo holds the tests that police the repository: which folder may
// import which, package comments, what may stand at the top, the size of files,
// machine paths, seeds of fuzz targets, and the list of dependencies with the
// reason for each.
//
// It reads the tree as files, so that it sees every operating system's sources and
// works without git. It never runs the code it looks at, and formatting and
// static analysis are not its business (`make lint`).
package repo
