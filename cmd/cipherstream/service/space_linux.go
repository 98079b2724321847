package service

import "syscall"

// Types of file systems (statfs(2)) that what was synced to may not outlive, or where locks are others'.
var unsure = map[int64]string{
	0x6969:     "NFS, where locks and syncs are those of a server",
	0x517b:     "SMB, where locks and syncs are those of a server",
	0xff534d42: "SMB, where locks and syncs are those of a server",
	0xfe534d42: "SMB, where locks and syncs are those of a server",
	0x01021994: "tmpfs, which is gone with the power",
}

// space is how many bytes are free where a folder is, and what its file system cannot promise; empty is nothing known.
func space(folder string) (free int64, kind string, err error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(folder, &s); err != nil {
		return 0, "", err
	}
	return int64(s.Bavail) * int64(s.Bsize), unsure[int64(uint32(s.Type))], nil
}
