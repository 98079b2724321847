package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	dockercontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"
)

// label marks the containers of tests; its value is the process that they belong to.
const label = "org.cipherstream.tests"

// container is a server in a container.
type container struct {
	way
	of       recipe
	port     int
	password string
	args     []string

	running *testcontainers.DockerContainer
}

// inContainer is where every server finds itself.
func (c *container) inContainer() place {
	return place{address: "0.0.0.0", port: c.of.port, data: "/data", made: "/kept/made"}
}

func (c *container) start(ctx context.Context) error {
	if c.running != nil {
		return c.running.Start(ctx)
	}
	if err := guard(c.engine); err != nil {
		return err
	}
	inside := network.MustParsePort(strconv.Itoa(c.of.port) + "/tcp")
	command := c.of.command(c.inContainer(), c.args)
	kept, err := c.volume()
	if err != nil {
		return err
	}
	c.running, err = testcontainers.Run(ctx, c.image,
		testcontainers.WithEntrypoint(command[0]),
		testcontainers.WithCmd(command[1:]...),
		testcontainers.WithEnv(c.of.env(c.inContainer(), c.password)),
		testcontainers.WithExposedPorts(inside.String()),
		testcontainers.WithLabels(map[string]string{label: owner()}),
		// A port that the engine chose would be another one after a restart; and a server
		// for tests is nobody else's business.
		testcontainers.WithHostConfigModifier(func(h *dockercontainer.HostConfig) {
			h.PortBindings = network.PortMap{inside: {{HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: strconv.Itoa(c.port)}}}
			if kept != "" {
				h.Binds = []string{kept + ":/kept"}
			}
		}),
	)
	return err
}

// volume is the name of the engine's volume for what the server of this very image makes once; empty where it keeps nothing.
func (c *container) volume() (string, error) {
	if c.of.kept == "" {
		return "", nil
	}
	id, err := docker(c.engine, "image", "inspect", "--format", "{{.Id}}", c.image)
	_, digest, _ := strings.Cut(id, ":")
	return "cipherstream-test-" + c.of.name + "-" + digest[:min(len(digest), 12)] + "-" + c.of.kept, err
}

func (c *container) kill() error {
	_, killErr := docker(c.engine, "kill", c.running.GetContainerID())
	if killErr != nil && !c.ended() { // by itself, before it could be killed
		return killErr
	}
	_, err := docker(c.engine, "wait", c.running.GetContainerID())
	return err
}

func (c *container) ended() bool {
	if c.running == nil {
		return true
	}
	state, err := docker(c.engine, "inspect", "--format", "{{.State.Running}}", c.running.GetContainerID())
	return err == nil && state == "false"
}

func (c *container) log() string {
	if c.running == nil {
		return ""
	}
	out, err := exec.Command("docker", "--host", c.engine, "logs", "--tail", "30", c.running.GetContainerID()).CombinedOutput()
	if err != nil {
		return err.Error()
	}
	return string(out)
}

func (c *container) how() string { return "in a container of " + c.image }

func (c *container) remove() {
	if c.running != nil {
		_, _ = docker(c.engine, "rm", "--force", "--volumes", c.running.GetContainerID()) // the guard does it again
	}
}

// dockerTime is how long a command of Docker's client may take: an engine that is stuck fails a test, and does not hold it.
const dockerTime = 3 * time.Minute

// docker runs a command of Docker's client.
func docker(engine string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), dockerTime)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "docker", append([]string{"--host", engine}, args...)...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("docker %s: %w: %s", args[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	return strings.TrimSpace(stdout.String()), nil
}

// owner names this process among all that ever ran.
func owner() string { return strconv.Itoa(os.Getpid()) + "-" + session }

var session = randomHex(8)

// guardScript removes the containers of a process.
const guardScript = `left=$(docker --host "$1" ps --all --quiet --filter "label=$2")
[ -z "$left" ] || docker --host "$1" rm --force --volumes $left >/dev/null 2>&1`

var guarded struct {
	sync.Mutex
	done bool
	// hold is closed by the end of this process.
	hold *os.File
}

// guard prepares for containers, once: it sets testcontainers up, removes containers of processes that
// are dead, and starts the guard of this process, which takes the place of testcontainers' own, whose
// image cannot be had everywhere.
func guard(engine string) error {
	guarded.Lock()
	defer guarded.Unlock()
	if guarded.done {
		return nil
	}
	if err := bury(engine); err != nil {
		return err
	}
	settings := map[string]string{"DOCKER_HOST": engine, "TESTCONTAINERS_RYUK_DISABLED": "true"}
	if strings.HasPrefix(engine, "unix://") && os.Getenv("TESTCONTAINERS_HOST_OVERRIDE") == "" {
		settings["TESTCONTAINERS_HOST_OVERRIDE"] = "127.0.0.1" // localhost may be ::1, where no port is mapped
	}
	for name, value := range settings {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	log.SetDefault(quiet{})
	hold, err := afterDeath(guardScript, engine, label+"="+owner())
	if err != nil {
		return err
	}
	guarded.hold, guarded.done = hold, true
	return nil
}

// bury removes the containers whose process is dead, and whose guard died with it.
func bury(engine string) error {
	list, err := docker(engine, "ps", "--all", "--filter", "label="+label, "--format", `{{.ID}} {{.Label "`+label+`"}}`)
	if err != nil {
		return err
	}
	for line := range strings.Lines(list) {
		id, whose, _ := strings.Cut(strings.TrimSpace(line), " ")
		pid, _, _ := strings.Cut(whose, "-")
		if n, err := strconv.Atoi(pid); err == nil && errors.Is(syscall.Kill(n, 0), syscall.ESRCH) {
			_, _ = docker(engine, "rm", "--force", "--volumes", id) // another binary may do so at the same time
		}
	}
	return nil
}

// quiet drops what testcontainers has to say: a failure comes as an error.
type quiet struct{}

func (quiet) Printf(string, ...any) {}
