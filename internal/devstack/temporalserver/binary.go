package temporalserver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ErrNoBinary says that the Temporal CLI has not been built yet, and how to build it.
var ErrNoBinary = errors.New("no Temporal CLI: build it once with `make tools`, or give its path")

// cliBelowRoot is where `make tools` puts the CLI, seen from the folder of go.mod.
const cliBelowRoot = ".cache/bin/temporal"

// Binary finds the Temporal CLI that `make tools` builds: below the nearest folder around the working directory that
// has a go.mod and the CLI.
func Binary() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			if path := filepath.Join(dir, cliBelowRoot); executable(path) == nil {
				return path, nil
			}
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("%w (looked for %s in %s and the folders around it)", ErrNoBinary, cliBelowRoot, start)
		}
	}
}

func executable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("%s is no program", path)
	}
	return nil
}
