package folder

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Probe tells whether the bucket takes uploads: it writes a hidden file and removes it. Of a
// directory that the first upload would make, the nearest one that is there stands for it.
func (b *Bucket) Probe() error {
	dir := b.root
	info, err := os.Stat(dir)
	for b.create && errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
		info, err = os.Stat(dir)
	}
	if err == nil && !info.IsDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return b.fault(0, err)
	}
	probe, err := os.CreateTemp(dir, ".probe.*"+attributesSuffix)
	if err != nil {
		return b.fault(0, err)
	}
	return b.fault(0, errors.Join(probe.Close(), os.Remove(probe.Name())))
}
