package config

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ReadDatabase reads the connection string of one database from a worker's configuration, for those who work beside the
// worker: no other secret has to be at hand. The error repeats no value.
func ReadDatabase(path, name string, getenv func(string) string) (dsn string, err error) {
	document, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read the worker's configuration: %w", err)
	}
	var c Config
	if err := decode(document, &c); err != nil {
		return "", fmt.Errorf("%s:\n%w", path, err)
	}
	db, ok := c.Databases[name]
	if !ok {
		return "", fmt.Errorf("%s: has no database %q; it knows: %s", path, name, strings.Join(slices.Sorted(maps.Keys(c.Databases)), ", "))
	}
	if dsn, err = db.DSN.read(filepath.Dir(path), getenv); err != nil {
		return "", fmt.Errorf("%s: databases.%s.dsn: %w", path, name, err)
	}
	return dsn, nil
}
