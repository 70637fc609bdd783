package config

import (
	"fmt"
	"os"
	"regexp"
	"strings"
)

// Secret refers to a secret that stands elsewhere: env:NAME or file:PATH. A literal is refused, so that configuration files
// can be shown and stored.
type Secret string

// variable is a name as shells take it; anything else may be a secret, and is not repeated.
var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// ReadSecret resolves a reference that does not stand in a configuration file; a path is relative to the working directory.
// getenv is os.Getenv outside tests. The error repeats no value.
func ReadSecret(reference string, getenv func(string) string) (string, error) {
	return Secret(reference).read(".", getenv)
}

// read resolves the reference; a path is relative to folder. getenv is os.Getenv outside tests.
func (s Secret) read(folder string, getenv func(string) string) (string, error) {
	kind, name, ok := strings.Cut(string(s), ":")
	switch {
	case s == "":
		return "", fmt.Errorf("is missing: write env:NAME or file:PATH")
	case ok && kind == "env" && variable.MatchString(name):
		value := getenv(name)
		if value == "" {
			return "", fmt.Errorf("names the environment variable %s, which is not set", name)
		}
		return value, nil
	case ok && kind == "file":
		content, err := os.ReadFile(below(folder, name))
		if err != nil {
			return "", fmt.Errorf("names a file that can't be read: %w", err)
		}
		value := strings.TrimSpace(string(content))
		if value == "" {
			return "", fmt.Errorf("names the file %s, which is empty", name)
		}
		return value, nil
	}
	return "", fmt.Errorf("must be env:NAME or file:PATH; secrets don't stand in this file")
}
