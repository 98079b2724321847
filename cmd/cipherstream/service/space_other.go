//go:build !linux

package service

import "syscall"

// space is how many bytes are free where a folder is. Of its file system nothing is known here.
func space(folder string) (free int64, kind string, err error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(folder, &s); err != nil {
		return 0, "", err
	}
	return int64(s.Bavail) * int64(s.Bsize), "", nil
}
