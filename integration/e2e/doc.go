// Package e2e holds no code, only tests of the whole: the program as it is built
// for users, run as users run it, against a real server. They own what only the
// whole can show: that rows arrive value for value, that every failure has its exit
// code and leaves nothing behind, that no death of a process is taken for success,
// and that memory does not grow with the rows. They never look inside the program.
//
// They run beside each other, but for those that measure time or memory, or change what all others see: the environment of
// the test program, a global variable of a server.
package e2e
