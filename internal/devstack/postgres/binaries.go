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
	for _, dir := range candidates("initdb") {
		if usable(dir) == nil {
			return dir, nil
		}
	}
	return "", ErrNoBinaries
}

// folders to look at: $PG_BINDIR alone, or else all candidates.
func folders(program string) []string {
	if dir := os.Getenv("PG_BINDIR"); dir != "" {
		return []string{dir}
	}
	return candidates(program)
}

// candidates are the folders that may hold a program, those of pg_config and PATH first.
func candidates(program string) []string {
	var dirs []string
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	if path, err := exec.LookPath(program); err == nil {
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
	major, err := majorOf(dir, "postgres")
	if err == nil && major < MinVersion {
		err = fmt.Errorf("%s holds Postgres %d, and at least %d is needed", dir, major, MinVersion)
	}
	return err
}

// majorOf asks a program of a folder for its major version.
func majorOf(dir, program string) (int, error) {
	path := filepath.Join(dir, program)
	out, err := exec.Command(path, "--version").Output()
	if err != nil {
		return 0, fmt.Errorf("%s --version: %w", path, err)
	}
	// "postgres (PostgreSQL) 15.18 (Debian …)", or "(PostgreSQL) 19beta1"
	if _, version, found := strings.Cut(string(out), "(PostgreSQL) "); found {
		digits := strings.IndexFunc(version, func(r rune) bool { return r < '0' || r > '9' })
		if major, err := strconv.Atoi(version[:max(0, digits)]); err == nil {
			return major, nil
		}
	}
	return 0, fmt.Errorf("%s --version printed %q", path, out)
}

// ServerOf finds the folder of a server of exactly this major version, where Binaries looks.
func ServerOf(major int) (string, error) {
	for _, dir := range folders("initdb") {
		if found, err := majorOf(dir, "postgres"); usable(dir) == nil && err == nil && found == major {
			return dir, nil
		}
	}
	return "", fmt.Errorf("no server of Postgres %d found on this machine (looked at $PG_BINDIR, pg_config, PATH and /usr/lib/postgresql): "+
		"install it, on Debian with `apt-get install postgresql-%d`, or name its bin folder in PG_BINDIR", major, major)
}

// ClientsOf finds the folder of pg_dump and psql that can read a server of this major version: its own, or else the nearest newer.
func ClientsOf(major int) (string, error) {
	best, dir := 0, ""
	for _, candidate := range folders("pg_dump") {
		found, err := majorOf(candidate, "pg_dump")
		if _, missing := os.Stat(filepath.Join(candidate, "psql")); err != nil || missing != nil || found < major {
			continue
		}
		if best == 0 || found < best {
			best, dir = found, candidate
		}
	}
	if best == 0 {
		return "", fmt.Errorf("no pg_dump and psql of Postgres %d or newer found on this machine (looked at $PG_BINDIR, pg_config, PATH and /usr/lib/postgresql): "+
			"install them, on Debian with `apt-get install postgresql-client-%d`, or name their folder in PG_BINDIR", major, major)
	}
	return dir, nil
}
