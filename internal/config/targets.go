package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// LoadTargets reads what those who work beside the worker need: its databases and its flag provider with their secrets, and no
// other secret has to be at hand. A database whose connection string can't be had is not in the Config, and unreadable says why,
// by its name: the others can still be asked. The errors repeat no value.
func LoadTargets(path string, getenv func(string) string) (c *Config, unreadable map[string]error, err error) {
	document, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("read the worker's configuration: %w", err)
	}
	c = new(Config)
	mistakes := decode(document, c)
	folder := filepath.Dir(path)
	if c.Flags.FlagFile != nil {
		c.Flags.FlagFile.Path = below(folder, c.Flags.FlagFile.Path)
	}
	k := &checker{folder: folder, getenv: getenv}
	c.checkFlags(k)
	if err := errors.Join(mistakes, errors.Join(k.problems...)); err != nil {
		return nil, nil, fmt.Errorf("%s:\n%w", path, err)
	}
	unreadable = map[string]error{}
	for _, name := range slices.Sorted(maps.Keys(c.Databases)) {
		db := c.Databases[name]
		if db.dsn, err = db.DSN.read(folder, getenv); err != nil {
			unreadable[name] = fmt.Errorf("%s: databases.%s.dsn: %w", path, name, err)
			delete(c.Databases, name)
			continue
		}
		c.Databases[name] = db
	}
	if p := c.Flags.Postgres; p != nil && unreadable[p.Database] != nil {
		return nil, nil, unreadable[p.Database] // no flag could be reached
	}
	return c, unreadable, nil
}
