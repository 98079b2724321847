// Package partitions holds the tests of the setting partitions of the source mysql on servers: that rows and their order are
// those of one connection, that all connections see one state under a writing load, and that nothing is left of them. It never
// looks at how long something takes.
package partitions
