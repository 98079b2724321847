// Package examples runs what stands under examples/ as a reader would, who has a fresh machine and its README. It owns
// only tests. The decryptors are tested in package e2e, on deliveries of every kind.
package examples
