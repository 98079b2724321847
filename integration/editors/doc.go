// Package editors tries the language server of the program with editors of others, set up as docs/editors.md prints it. It
// owns nothing of the server, and is only tests.
package editors
