package postgres

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// MinVersion is the oldest major version of Postgres that contraflow supports.
const MinVersion = 14

// ErrNoBinaries says that no usable Postgres server is installed, and how to get one.
var ErrNoBinaries = errors.New("no Postgres server found (looked at $PG_BINDIR, pg_config, PATH and /usr/lib/postgresql): " +
	"install one, on Debian with `apt-get install postgresql`, or name its bin folder in PG_BINDIR")

// Binaries finds the folder that holds initdb and postgres: $PG_BINDIR, else what pg_config says, else PATH,
// else the newest below /usr/lib/postgresql (where Debian puts them).
func Binaries() (string, error) {
	if dir := os.Getenv("PG_BINDIR"); dir != "" {
		if err := usable(dir); err != nil {
			return "", fmt.Errorf("PG_BINDIR: %w", err)
		}
		return dir, nil
	}
	for _, dir := range candidates() {
		if usable(dir) == nil {
			return dir, nil
		}
	}
	return "", ErrNoBinaries
}

func candidates() []string {
	var dirs []string
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		dirs = append(dirs, filepath.Dir(path))
	}
	debian, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is constant, so it cannot be malformed
	sort.Slice(debian, func(i, j int) bool { return debianVersion(debian[i]) > debianVersion(debian[j]) })
	return append(dirs, debian...)
}

func debianVersion(dir string) int {
	v, err := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
	if err != nil {
		return 0
	}
	return v
}

// usable reports why dir does not hold a server of MinVersion or newer; nil when it does.
func usable(dir string) error {
	for _, name := range []string{"initdb", "postgres"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	out, err := exec.Command(filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return fmt.Errorf("%s/postgres --version: %w", dir, err)
	}
	fields := strings.Fields(string(out)) // "postgres (PostgreSQL) 15.18 (Debian …)"
	if len(fields) < 3 {
		return fmt.Errorf("%s/postgres --version printed %q", dir, out)
	}
	major, err := strconv.Atoi(strings.SplitN(fields[2], ".", 2)[0])
	if err != nil || major < MinVersion {
		return fmt.Errorf("%s holds Postgres %s, and at least %d is needed", dir, fields[2], MinVersion)
	}
	return nil
}
