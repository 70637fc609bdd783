package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Binaries are the programs that run as processes of their own.
type Binaries struct {
	Worker, Shop string
}

// ErrNoBinaries says that the programs have not been built.
var ErrNoBinaries = errors.New("not built yet: run `make build`")

// Built finds the programs that `make build` leaves in bin/ below the module root.
func Built() (Binaries, error) {
	root, err := moduleRoot()
	if err != nil {
		return Binaries{}, err
	}
	b := Binaries{Worker: filepath.Join(root, "bin", "contraflow-worker"), Shop: filepath.Join(root, "bin", "shop")}
	for _, path := range []string{b.Worker, b.Shop} {
		if _, err := os.Stat(path); err != nil {
			return Binaries{}, fmt.Errorf("%s: %w", path, ErrNoBinaries)
		}
	}
	return b, nil
}

// Build compiles the programs into a folder, for tests: what they run is then what the sources say.
func Build(ctx context.Context, folder string) (Binaries, error) {
	root, err := moduleRoot()
	if err != nil {
		return Binaries{}, err
	}
	b := Binaries{Worker: filepath.Join(folder, "contraflow-worker"), Shop: filepath.Join(folder, "shop")}
	for pkg, path := range map[string]string{"./worker": b.Worker, "./examples/shop": b.Shop} {
		build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", path, pkg)
		build.Dir = root
		if out, err := build.CombinedOutput(); err != nil {
			return Binaries{}, fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
		}
	}
	return b, nil
}

// moduleRoot is the nearest folder around the working directory that has a go.mod.
func moduleRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no go.mod in %s and the folders around it: run this inside the repository", start)
		}
	}
}
