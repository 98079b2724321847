package session

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cipherstream/cipherstream/sdk/envelope"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

const (
	// maxSecret bounds a secret, in bytes.
	maxSecret = 64 << 10
	// secretTimeout is how long a program may take to print a secret, and secretGrace
	// how long what it started may hold its output open afterwards.
	secretTimeout = 30 * time.Second
	secretGrace   = time.Second
)

const codeSecret = "cli.secret"

// SecretForms explains references to secrets.
const SecretForms = "env:VARIABLE, file:PATH or command:PROGRAM ARGUMENTS"

func secretFault(format string, args ...any) *fault.Fault {
	return fault.New(codeSecret, fault.Usage, format, args...)
}

// ReadSecret reads the secret that a reference names:
//
//	env:VARIABLE              an environment variable
//	file:PATH                 a file
//	command:PROGRAM ARGUMENTS what a program prints
//
// The program is started without a shell: the words are what stands between spaces, and
// nothing is quoted or expanded. It gets no input and has 30 seconds. One line end at the
// end is not part of a secret, which is UTF-8 text of up to 64 KiB. Errors show neither a
// secret nor a reference that might be one.
func ReadSecret(ctx context.Context, reference string) (string, error) {
	scheme, rest, ok := strings.Cut(reference, ":")
	if isKey(reference) || ok && strings.HasSuffix(rest, "=") && isKey(rest) {
		return "", secretFault("a key was given where a reference to one is expected").
			WithHint("others can see arguments in the list of processes, so this key should be replaced; refer to a key with %s", SecretForms)
	}
	var text []byte
	var err error
	from := ""
	switch {
	case ok && scheme == "env":
		from = "environment variable " + rest
		text, err = readVariable(rest)
	case ok && scheme == "file":
		from = "file " + rest
		text, err = readSecretFile(rest)
	case ok && scheme == "command":
		from = "output of " + programName(rest)
		text, err = readCommand(ctx, rest)
	default:
		// It may be the secret itself.
		return "", secretFault("a reference to a secret begins with env:, file: or command:").
			WithHint("write %s", SecretForms)
	}
	if err != nil {
		return "", err
	}
	secret := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	switch {
	case len(text) > maxSecret:
		return "", secretFault("the %s is longer than a secret may be, %d bytes", from, maxSecret)
	case secret == "":
		return "", secretFault("the %s is empty", from).WithHint("put the secret there")
	case !utf8.ValidString(secret):
		return "", secretFault("the %s is not UTF-8 text", from).WithHint("write a binary secret in base64")
	}
	return secret, nil
}

// isKey reports whether text is a key in base64, in any of its alphabets, with padding or
// without. A path may look like one without.
func isKey(text string) bool {
	text = strings.NewReplacer("-", "+", "_", "/", "=", "").Replace(strings.TrimSpace(text))
	raw, err := base64.RawStdEncoding.DecodeString(text)
	return err == nil && len(raw) == envelope.KeySize
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func readVariable(name string) ([]byte, error) {
	if !variableName.MatchString(name) {
		return nil, secretFault("what follows env: is no name of an environment variable")
	}
	text, ok := os.LookupEnv(name)
	if !ok {
		return nil, secretFault("the environment variable %s is not set", name).WithHint("export it first, or refer to another with %s", SecretForms)
	}
	return []byte(text), nil
}

func readSecretFile(path string) ([]byte, error) {
	if path == "" {
		return nil, secretFault("no path follows file:")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, secretFault("the file of a secret cannot be read: %w", err).WithHint("check the path after file:, and who may read it")
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return nil, secretFault("the file of a secret cannot be read: %w", err).WithHint("check the path after file:, and who may read it")
	}
	return text, nil
}

// programName is the first word of a command.
func programName(command string) string {
	name, _, _ := strings.Cut(strings.TrimLeft(command, " "), " ")
	return name
}

// errTooLong ends a program that prints too much.
var errTooLong = errors.New("it printed too much")

// bounded takes up to a secret's length.
type bounded struct {
	text []byte
	full bool
}

func (b *bounded) Write(p []byte) (int, error) {
	if len(b.text)+len(p) > maxSecret {
		b.full = true
		return 0, errTooLong
	}
	b.text = append(b.text, p...)
	return len(p), nil
}

func readCommand(ctx context.Context, command string) ([]byte, error) {
	words := strings.FieldsFunc(command, func(r rune) bool { return r == ' ' })
	if len(words) == 0 {
		return nil, secretFault("no program follows command:")
	}
	limited, cancel := context.WithTimeout(ctx, secretTimeout)
	defer cancel()
	program := exec.CommandContext(limited, words[0], words[1:]...)
	program.WaitDelay = secretGrace
	var out bounded
	program.Stdout = &out
	err := program.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return out.text, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case limited.Err() != nil:
		return nil, secretFault("%s did not print a secret within %v", words[0], secretTimeout)
	case out.full:
		return nil, secretFault("%s printed more than a secret may be, %d bytes", words[0], maxSecret)
	case errors.Is(err, exec.ErrWaitDelay):
		return nil, secretFault("%s ended, but something that it started holds its output open", words[0])
	case errors.As(err, &exit):
		// What it says may hold the secret, or what led to it.
		return nil, secretFault("%s was to print a secret, but failed: %s", words[0], exit.ProcessState).
			WithHint("start it by hand to see what it says")
	}
	return nil, secretFault("%s could not be started: %w", words[0], startError(err))
}

// startError leaves out what the message says already.
func startError(err error) error {
	var failed *exec.Error
	if errors.As(err, &failed) {
		return failed.Err
	}
	return err
}
