//go:build unix

package peer

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
)

// errFile says that something other than what SendFile sends has come.
var errFile = errors.New("the other end sent something other than a file, or that it has none")

// SendFile sends an open file to the other end, or, for nil, that there is none.
func SendFile(conn *net.UnixConn, file *os.File) error {
	if file == nil {
		_, err := conn.Write([]byte{0})
		return err
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var sendErr error
	err = raw.Control(func(fd uintptr) {
		_, _, sendErr = conn.WriteMsgUnix([]byte{1}, syscall.UnixRights(int(fd)), nil)
	})
	return errors.Join(err, sendErr)
}

// ReceiveFile waits for what SendFile sends; the file is nil when there is none. No program that is started gets it.
func ReceiveFile(ctx context.Context, conn *net.UnixConn) (*os.File, error) {
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	var said [1]byte
	control := make([]byte, syscall.CmsgSpace(4))
	n, controlBytes, flags, _, err := conn.ReadMsgUnix(said[:], control)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	messages, err := syscall.ParseSocketControlMessage(control[:controlBytes])
	for _, m := range messages {
		fds, _ := syscall.ParseUnixRights(&m) // another kind of message has none
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	if err == nil && n == 1 && flags&syscall.MSG_CTRUNC == 0 && len(files) == int(said[0]) && len(files) <= 1 {
		if len(files) == 0 {
			return nil, nil
		}
		return files[0], nil
	}
	for _, f := range files {
		f.Close()
	}
	return nil, errFile
}
