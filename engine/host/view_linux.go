package host

import (
	"bytes"
	"cmp"
	"debug/elf"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cipherstream/cipherstream/engine/host/jail"
)

// systemPlaces are the folders and files of the system's programs and libraries, and their configuration. A confined
// process may read them; they belong to the system's packages and are readable for everybody. Those that a system does
// not have are left out. Nothing else of /etc is shown: keys and passwords are there.
var systemPlaces = []string{
	"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store",
	"/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime", "/etc/mime.types",
	"/etc/ssl/certs", "/etc/ssl/cert.pem", "/etc/ssl/openssl.cnf", "/etc/ca-certificates",
	"/etc/pki/ca-trust/extracted", "/etc/pki/tls/certs", "/etc/pki/tls/cert.pem", "/etc/pki/tls/openssl.cnf",
}

// networkPlaces are what finds hosts and services by name.
var networkPlaces = []string{"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/host.conf",
	"/etc/services", "/etc/protocols"}

// devices are those that give access to nothing else.
var devices = []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"}

// temporary is the bounded folder in memory.
const temporary = "/tmp"

// view is what a confined process sees of the file system. A path means the same inside as for the host.
type view struct{ places map[string]jail.Place }

// newView is what every confined process sees.
func newView(network bool) (*view, error) {
	v := &view{places: map[string]jail.Place{
		temporary:     {Kind: jail.Temp, Path: temporary},
		"/proc":       {Kind: jail.Proc, Path: "/proc"},
		"/dev/fd":     {Kind: jail.Link, Path: "/dev/fd", Target: "/proc/self/fd"},
		"/dev/stdin":  {Kind: jail.Link, Path: "/dev/stdin", Target: "/proc/self/fd/0"},
		"/dev/stdout": {Kind: jail.Link, Path: "/dev/stdout", Target: "/proc/self/fd/1"},
		"/dev/stderr": {Kind: jail.Link, Path: "/dev/stderr", Target: "/proc/self/fd/2"},
		"/dev/shm":    {Kind: jail.Link, Path: "/dev/shm", Target: temporary},
	}}
	for _, path := range devices {
		v.places[path] = jail.Place{Kind: jail.Device, Path: path}
	}
	places := systemPlaces
	if network {
		places = slices.Concat(systemPlaces, networkPlaces)
	}
	for _, path := range places {
		// What this user may not read cannot be shown, and is left out.
		if err := v.show(path, false); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			return nil, err
		}
	}
	return v, nil
}

// maxLinks is how many symbolic links the kernel follows (path_resolution(7)).
const maxLinks = 40

// show shows a file or a directory, and every symbolic link on the way there.
func (v *view) show(path string, write bool) error {
	at, rest, links := "/", strings.Split(path, "/"), 0
	var found []jail.Place
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		next := filepath.Join(at, part)
		info, err := os.Lstat(next)
		if err != nil {
			return err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		target, err := os.Readlink(next)
		if err != nil {
			return err
		}
		if links++; links > maxLinks {
			return &fs.PathError{Op: "show", Path: path, Err: errors.New("too many symbolic links")}
		}
		found = append(found, jail.Place{Kind: jail.Link, Path: next, Target: target})
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	for _, link := range found {
		if _, shown := v.shown(link.Path); !shown {
			v.places[link.Path] = link
		}
	}
	if place, shown := v.shown(at); !shown || write && !place.Write {
		v.places[at] = jail.Place{Kind: jail.Bind, Path: at, Write: write}
	}
	return nil
}

// shown returns the place that shows a path already.
func (v *view) shown(path string) (jail.Place, bool) {
	for dir := path; ; dir = filepath.Dir(dir) {
		if place, ok := v.places[dir]; ok {
			return place, place.Kind == jail.Bind || dir == path && place.Kind == jail.Link
		}
		if dir == "/" {
			return jail.Place{}, false
		}
	}
}

// hide hides a directory where the places above it show it.
func (v *view) hide(path string) {
	if _, shown := v.shown(path); shown {
		v.places[path] = jail.Place{Kind: jail.Empty, Path: path}
	}
}

// ordered lists the places, each behind the place that contains it. Those that another place shows already are left
// out.
func (v *view) ordered() (list []jail.Place) {
	all := slices.SortedFunc(maps.Values(v.places), func(a, b jail.Place) int {
		// /tmp comes first, because a link may lead there.
		if a.Path == temporary || b.Path == temporary {
			return boolean(b.Path == temporary) - boolean(a.Path == temporary)
		}
		return cmp.Compare(a.Path, b.Path)
	})
	for _, place := range all {
		above, shown := v.shown(filepath.Dir(place.Path))
		if shown && (place.Kind == jail.Link || place.Kind == jail.Bind && !place.Write && !above.Write) {
			continue
		}
		list = append(list, place)
	}
	return list
}

func boolean(is bool) int {
	if is {
		return 1
	}
	return 0
}

// showInterpreter shows what the system needs to execute a program: the loader of a binary, or the interpreter that the
// first line of a script names.
//
// An interpreter that the line finds by "env" is on the path of the system, and may be a link to elsewhere, such as
// /opt/node/bin/node: then the folder that it is installed in is shown as well. An interpreter that the line names by
// its path is shown alone, and must be a binary. The line is written by the plugin's author, who must not get at other
// files by it.
func (v *view) showInterpreter(program string) error {
	words, err := firstLine(program)
	if err != nil {
		return err
	}
	if len(words) == 0 {
		return v.showLoader(program)
	}
	name, found := byEnv(words)
	if !found {
		return v.showBinary(words[0])
	}
	for _, dir := range searched {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return v.showInstalled(path)
		}
	}
	return nil // the system says that there is none
}

// showBinary shows an executable binary and its loader. It shows nothing when path is not that of a binary.
func (v *view) showBinary(path string) error {
	if !isBinary(path) {
		return nil // executing it says why
	}
	if err := v.show(filepath.Clean(path), false); err != nil {
		return err
	}
	return v.showLoader(path)
}

// isBinary reports whether a path is that of a binary that can be executed.
func isBinary(path string) bool {
	info, err := os.Stat(path)
	if err != nil || !filepath.IsAbs(path) || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return false
	}
	file, err := elf.Open(path)
	if err != nil {
		return false
	}
	file.Close()
	return true
}

// showLoader shows the loader that a binary names (elf(5), PT_INTERP).
func (v *view) showLoader(path string) error {
	file, err := elf.Open(path)
	if err != nil {
		return nil // no binary
	}
	defer file.Close()
	for _, part := range file.Progs {
		if part.Type != elf.PT_INTERP || part.Filesz == 0 || part.Filesz > mostFirstLine {
			continue
		}
		name := make([]byte, part.Filesz)
		if _, err := part.ReadAt(name, 0); err != nil {
			return nil
		}
		if loader := string(bytes.TrimRight(name, "\x00")); isBinary(loader) {
			return v.show(filepath.Clean(loader), false)
		}
	}
	return nil
}

// showInstalled shows a program of the system's path. If it is a link to outside of the system's folders, the folder in
// which it is installed is shown: the one with bin and lib in it, unless that is somebody's home.
func (v *view) showInstalled(path string) error {
	if err := v.show(path, false); err != nil {
		return err
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	if _, within := v.shown(filepath.Dir(real)); within {
		return v.showLoader(real)
	}
	prefix := filepath.Dir(filepath.Dir(real))
	home, _ := os.UserHomeDir()
	info, err := os.Stat(filepath.Join(prefix, "lib"))
	if filepath.Base(filepath.Dir(real)) == "bin" && err == nil && info.IsDir() && prefix != "/" && (home == "" || !within(realPath(home), prefix)) {
		if err := v.show(prefix, false); err != nil {
			return err
		}
	}
	return v.showLoader(real)
}
