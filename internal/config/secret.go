package config

import (
	"fmt"
	"os"
	"strings"
)

// Secret refers to a secret that stands elsewhere: env:NAME or file:PATH. A literal is refused, so that configuration files
// can be shown and stored.
type Secret string

// read resolves the reference. getenv is os.Getenv outside tests.
func (s Secret) read(getenv func(string) string) (string, error) {
	kind, name, ok := strings.Cut(string(s), ":")
	switch {
	case s == "":
		return "", fmt.Errorf("is missing: write env:NAME or file:PATH")
	case ok && kind == "env":
		value := getenv(name)
		if value == "" {
			return "", fmt.Errorf("names the environment variable %s, which is not set", name)
		}
		return value, nil
	case ok && kind == "file":
		value, err := os.ReadFile(name)
		if err != nil {
			return "", fmt.Errorf("names a file that can't be read: %w", err)
		}
		return strings.TrimSpace(string(value)), nil
	}
	return "", fmt.Errorf("must be env:NAME or file:PATH; secrets don't stand in this file")
}
