package servers

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// way is how a kind of server is run on this machine: from an image, or from programs.
type way struct {
	image, engine string
	programs      string // a folder with links to them, or empty: they are in PATH
	files         string // the root file system of mysqld, or empty
}

func (w way) instance(of recipe, port int, password string, args []string) instance {
	if w.image != "" {
		return &container{way: w, of: of, port: port, password: password, args: args}
	}
	return &process{way: w, of: of, port: port, password: password, args: args}
}

// find looks for ways to run a kind of server, the best one first. The error is missing
// when there is none.
func find(of recipe) (ways []way, err error) {
	wanted := os.Getenv("CIPHERSTREAM_SERVERS")
	var problems []string
	switch wanted {
	case "", "container", "process":
	default:
		return nil, fmt.Errorf("CIPHERSTREAM_SERVERS is %q; it is container, process or not set", wanted)
	}
	if wanted == "" && os.Getenv("CIPHERSTREAM_"+strings.ToUpper(of.name)+"_IMAGE") != "" {
		wanted = "container" // nothing else is that image
	}
	for _, how := range []struct {
		wanted, name string
		find         func(recipe) (way, error)
	}{{"container", "in a container", findImage}, {"process", "as a process", findPrograms}} {
		if wanted != "" && wanted != how.wanted {
			continue
		}
		w, err := how.find(of)
		if err != nil {
			problems = append(problems, how.name+": "+err.Error())
			continue
		}
		ways = append(ways, w)
	}
	if len(ways) == 0 {
		return nil, missing{fmt.Sprintf("%s cannot be run here (`make deps` gets it ready):\n\t%s", of.name, strings.Join(problems, "\n\t"))}
	}
	return ways, nil
}

func findImage(of recipe) (w way, err error) {
	if w.engine, err = script("engine.sh"); err != nil {
		return w, fmt.Errorf("no Docker engine answers: %w", err)
	}
	if w.image, err = script("image.sh", "--find", of.name); err != nil {
		return w, fmt.Errorf("no image: %w", err)
	}
	return w, nil
}

// findPrograms takes what integration/images made, and else programs of the machine.
func findPrograms(of recipe) (w way, err error) {
	program := map[string]string{"mysql": "mysqld", "mariadb": "mariadbd", "minio": "minio"}[of.name]
	if of.name != "mariadb" { // whose scripts expect their files where Debian has them
		if w.files, err = script("rootfs.sh", "--find", of.name); err == nil {
			return w, nil
		}
	}
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin") {
		path := filepath.Join(dir, program)
		if _, err := exec.LookPath(path); err != nil {
			continue
		}
		// MariaDB has a program of that name as well.
		version, err := exec.Command(path, "--version").CombinedOutput()
		if err != nil || of.name == "mysql" && bytes.Contains(version, []byte("MariaDB")) {
			continue
		}
		return way{programs: dir}, nil
	}
	return w, fmt.Errorf("there is no %s, neither in PATH nor made by integration/images", program)
}

// script runs one of integration/images and returns the line that it prints.
func script(name string, args ...string) (string, error) {
	folder, err := images()
	if err != nil {
		return "", err
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.Command("bash", append([]string{filepath.Join(folder, name)}, args...)...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w %s", strings.Join(append([]string{name}, args...), " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return strings.TrimSpace(stdout.String()), nil
}

// images is the folder integration/images: tests run in the folder of their package.
func images() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, missing := os.Stat(filepath.Join(dir, "go.mod")); missing == nil {
			return filepath.Join(dir, "integration", "images"), nil
		}
		if dir == filepath.Dir(dir) {
			err = errors.New("the working folder is not in the module")
		}
		dir = filepath.Dir(dir)
	}
	return "", err
}
