// Package pages holds the pages of docs/ against the program: those that are made from its tables are what the
// tables say, the examples in them run, and the figures in them are the constants of the code. It never says anything
// itself: with -update its tests write the generated pages anew.
package pages
