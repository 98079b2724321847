package host

import (
	"io"
	"os"
	"path/filepath"
	"strings"
)

// mostFirstLine is what the kernel reads of a script's first line, in bytes (execve(2)).
const mostFirstLine = 255

// firstLine are the words of the first line of a script, behind #!: a program, and its arguments. There are none where a
// program is no script.
func firstLine(program string) ([]string, error) {
	file, err := os.Open(program)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, mostFirstLine))
	if err != nil {
		return nil, err
	}
	line, is := strings.CutPrefix(string(text), "#!")
	if !is {
		return nil, nil
	}
	line, _, _ = strings.Cut(line, "\n")
	return strings.Fields(line), nil
}

// byEnv is the program that env finds, by the words of a script's first line; false where the line does not say env. It is
// empty where env is told of none.
func byEnv(words []string) (name string, is bool) {
	if filepath.Base(words[0]) != "env" {
		return "", false
	}
	for _, word := range words[1:] {
		if !strings.HasPrefix(word, "-") && !strings.Contains(word, "=") {
			return word, true
		}
	}
	return "", true
}
