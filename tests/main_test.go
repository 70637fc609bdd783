// Package tests runs whole migrations end to end: the real worker, command line and shop as processes, a real Temporal server, a
// real Postgres, and servers that speak LaunchDarkly's and Slack's protocols. Then it breaks them one by one.
package tests

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/devstack/temporaltest"
)

// atOnce is how many tests run side by side: they wait far more than they compute, mostly for Temporal to find out that a
// worker was killed.
const atOnce = 6

// binaries are the programs under test, built from the sources as they stand, with the race detector if the tests have it.
var binaries struct{ worker, cli, shop string }

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if err := flag.Set("test.parallel", strconv.Itoa(atOnce)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	folder, err := os.MkdirTemp("", "contraflow-tests-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(folder)
	if err := build(folder); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer pgtest.Stop()
	defer temporaltest.Stop()
	return m.Run()
}

func build(folder string) error {
	args := []string{"build", "-buildvcs=false", "-o", folder + string(filepath.Separator)}
	if raceDetector {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "./worker", "./starter", "./examples/shop")...)
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	binaries.worker, binaries.cli, binaries.shop = filepath.Join(folder, "worker"), filepath.Join(folder, "starter"), filepath.Join(folder, "shop")
	return nil
}
