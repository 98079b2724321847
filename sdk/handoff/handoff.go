//go:build unix

// Package handoff passes an open file from one process to another over a unix
// socket (SCM_RIGHTS). It is how a sink in a plugin process reaches the standard
// output of its host. It owns the meeting of the two processes; it never reads or
// writes the file.
package handoff

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cipherstream/cipherstream/sdk/peer"
)

// separator stands between the path of the socket and the word.
const separator = "#"

// maxAddress is the longest path of a unix socket that every system takes.
const maxAddress = 103

// slowest is how long a process that asks may take to say its word.
const slowest = 10 * time.Second

// Offer waits on a socket in dir, a directory that only this user can enter, and
// gives file to the first process that asks with Take. The address holds a word that
// nobody guesses: who does not say it is given nothing, and holds nobody up. The file
// stays open here, and must until stop has returned.
//
// Stop ends the offer, removes the socket and says what went wrong: nothing if the
// file was taken or nobody asked. Calling it again returns the same. The end of ctx
// ends the offer too.
func Offer(ctx context.Context, dir string, file *os.File) (address string, stop func() error, err error) {
	dir, err = os.MkdirTemp(dir, "handoff-")
	if err != nil {
		return "", nil, fmt.Errorf("handoff: %w", err)
	}
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
		}
	}()
	address = filepath.Join(dir, "s")
	if len(address) > maxAddress {
		return "", nil, fmt.Errorf("handoff: the socket path %q has %d bytes; at most %d are possible", address, len(address), maxAddress)
	}
	word := peer.NewWord()
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: address, Net: "unix"})
	if err != nil {
		return "", nil, fmt.Errorf("handoff: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- give(ctx, listener, word, file) }()
	return address + separator + hex.EncodeToString(word), sync.OnceValue(func() error {
		cancel()
		err := <-done
		return errors.Join(err, os.RemoveAll(dir))
	}), nil
}

// give serves the first process that asks.
func give(ctx context.Context, listener *net.UnixListener, word []byte, file *os.File) error {
	conn, err := peer.Accept(ctx, listener, peer.Expected{Hello: word, Patience: slowest}, nil)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("handoff: waiting for the receiver: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()

	// Not file.Fd, which would make the file blocking for everybody who shares it.
	raw, err := file.SyscallConn()
	if err != nil {
		return fmt.Errorf("handoff: %w", err)
	}
	var sendErr error
	err = raw.Control(func(fd uintptr) {
		_, _, sendErr = conn.WriteMsgUnix([]byte{0}, syscall.UnixRights(int(fd)), nil)
	})
	if err := errors.Join(err, sendErr); err != nil {
		return fmt.Errorf("handoff: giving %s: %w", file.Name(), err)
	}
	return nil
}

// cutWord takes an address apart. One that another program offers at may have no word.
func cutWord(address string) (path string, word []byte) {
	if i := strings.LastIndex(address, separator); i >= 0 {
		if word, err := hex.DecodeString(address[i+len(separator):]); err == nil && len(word) > 0 {
			return address[:i], word
		}
	}
	return address, nil
}

// Take asks for the file that is offered at address. The caller closes it.
func Take(ctx context.Context, address string) (*os.File, error) {
	address, word := cutWord(address)
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "unix", address)
	if err != nil {
		return nil, fmt.Errorf("handoff: %w", err)
	}
	defer c.Close()
	conn := c.(*net.UnixConn)
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()

	if err := (peer.Expected{Hello: word}).Greet(conn); err != nil {
		return nil, fmt.Errorf("handoff: asking at %s: %w", address, err)
	}
	// Room for more than one descriptor, so that too many are seen and closed.
	control := make([]byte, syscall.CmsgSpace(4*8))
	n, controlLength, flags, _, err := conn.ReadMsgUnix(make([]byte, 1), control)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("handoff: receiving from %s: %w", address, err)
	}
	descriptors, err := rights(control[:controlLength])
	if err == nil && (n != 1 || len(descriptors) != 1 || flags&syscall.MSG_CTRUNC != 0) {
		err = fmt.Errorf("expected one descriptor, got %d", len(descriptors))
	}
	if err != nil {
		for _, fd := range descriptors {
			syscall.Close(fd)
		}
		return nil, fmt.Errorf("handoff: receiving from %s: %w", address, err)
	}
	return os.NewFile(uintptr(descriptors[0]), "handoff"), nil
}

// rights returns every descriptor in the control messages.
func rights(control []byte) ([]int, error) {
	messages, err := syscall.ParseSocketControlMessage(control)
	if err != nil {
		return nil, err
	}
	var all []int
	for _, m := range messages {
		descriptors, err := syscall.ParseUnixRights(&m)
		if err != nil {
			return all, err
		}
		all = append(all, descriptors...)
	}
	return all, nil
}
