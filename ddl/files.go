package ddl

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/golang-migrate/migrate/v4/source"
)

// Direction of a SQL file, as golang-migrate names it.
type Direction = source.Direction

// The two directions.
const (
	Up   = source.Up
	Down = source.Down
)

// Files are the SQL files of one folder, read once: what was hashed is what runs. Safe for concurrent use.
type Files struct {
	versions []uint
	files    map[uint]map[Direction]*file
}

type file struct {
	name      string
	version   uint
	direction Direction
	body      []byte
	problem   error // why it can't be run, which concerns only him who would run it
}

func (f *file) sha256() string {
	sum := sha256.Sum256(f.body)
	return hex.EncodeToString(sum[:])
}

// ReadFiles reads the top level of fsys. Names that golang-migrate would silently ignore or take for something else,
// and two files of one version and direction, are refused with a *StrayError. Other files and folders don't matter.
func ReadFiles(fsys fs.FS) (*Files, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("list the SQL files: %w", err)
	}
	all := &Files{files: map[uint]map[Direction]*file{}}
	for _, entry := range entries {
		if entry.IsDir() {
			continue
		}
		f, err := parseName(entry.Name())
		if err != nil {
			return nil, err
		}
		if f == nil {
			continue
		}
		if other := all.find(f.version, f.direction); other != nil {
			return nil, &StrayError{f.name, fmt.Sprintf("%s is version %d %s too: give one of them another version", other.name, f.version, f.direction)}
		}
		if f.body, err = fs.ReadFile(fsys, f.name); err != nil {
			return nil, fmt.Errorf("read a SQL file: %w", err)
		}
		_, f.problem = parseScript(string(f.body))
		if all.files[f.version] == nil {
			all.files[f.version] = map[Direction]*file{}
		}
		all.files[f.version][f.direction] = f
	}
	all.versions = slices.Sorted(maps.Keys(all.files))
	return all, nil
}

// parseName returns nil for a file that is none of ours.
func parseName(name string) (*file, error) {
	m, err := source.Parse(name)
	isSQL := strings.HasSuffix(strings.ToLower(name), ".sql")
	switch {
	case err != nil && !isSQL:
		return nil, nil
	case err != nil:
		return nil, &StrayError{name, "golang-migrate would ignore it: name it NNN_title.up.sql or NNN_title.down.sql, or move it out of this folder"}
	case !strings.HasSuffix(name, "."+string(m.Direction)+".sql"):
		return nil, &StrayError{name, "golang-migrate would run it: end its name in .up.sql or .down.sql, or move it out of this folder"}
	case uint64(m.Version) > math.MaxInt64:
		return nil, &StrayError{name, "its version doesn't fit a bigint: choose a smaller one"}
	}
	return &file{name: name, version: m.Version, direction: m.Direction}, nil
}

// Versions in ascending order.
func (f *Files) Versions() []uint { return slices.Clone(f.versions) }

// Has tells whether there is such a file.
func (f *Files) Has(version uint, direction Direction) bool { return f.find(version, direction) != nil }

// SHA256 of a file in hexadecimal; empty if there is no such file.
func (f *Files) SHA256(version uint, direction Direction) string {
	if found := f.find(version, direction); found != nil {
		return found.sha256()
	}
	return ""
}

// Script is one SQL file, as it was read.
type Script struct {
	Name      string // of the file, without its folder
	Version   uint
	Direction Direction
	Text      string
	// NoTransaction says that its one statement runs outside a transaction.
	NoTransaction bool
	// Statements in order; none if Problem.
	Statements []Statement
	// Problem is why the file can't be run, an ErrScript; nil if it can.
	Problem error
}

// Statement of a script.
type Statement struct {
	Text string // as written, without its semicolon
	Line int    // of its first word, from 1
}

// Script returns a file taken apart; ok is false if there is no such file.
func (f *Files) Script(version uint, direction Direction) (s Script, ok bool) {
	found := f.find(version, direction)
	if found == nil {
		return Script{}, false
	}
	s = Script{Name: found.name, Version: version, Direction: direction, Text: string(found.body), Problem: found.problem}
	parsed, err := parseScript(s.Text)
	if err != nil {
		return s, true
	}
	s.NoTransaction = parsed.noTransaction
	for _, st := range parsed.statements {
		s.Statements = append(s.Statements, Statement{parsed.text[st.start:st.end], parsed.lineOfByte(st.start)})
	}
	return s, true
}

// Check tells whether a file can be run: nil, ErrMissing or ErrScript. It needs no database.
func (f *Files) Check(version uint, direction Direction) error {
	_, err := f.runnable(version, direction, "")
	return err
}

// Between lists, ascending, the versions that lead from where the database stands up to version to; none if it stands
// there or above. ErrMissing if there is no up file of to, ErrOrder if the files don't know where the database stands.
func (f *Files) Between(from State, to uint) ([]uint, error) {
	if !f.Has(to, Up) {
		return nil, f.missing(to, Up)
	}
	if from.Exists && from.Version >= to {
		return nil, nil
	}
	last, _ := slices.BinarySearch(f.versions, to)
	if !from.Exists {
		return slices.Clone(f.versions[:last+1]), nil
	}
	first, known := slices.BinarySearch(f.versions, from.Version)
	if !known {
		return nil, fmt.Errorf("%w: the database stands at version %d, which has no file in this folder: add it, or use the folder it came from", ErrOrder, from.Version)
	}
	return slices.Clone(f.versions[first+1 : last+1]), nil
}

// Source gives the files to golang-migrate.
func (f *Files) Source() source.Driver { return memory{f} }

func (f *Files) find(version uint, direction Direction) *file { return f.files[version][direction] }

// runnable finds a file that may be run; an empty sha stands for any content.
func (f *Files) runnable(version uint, direction Direction, sha string) (*file, error) {
	found := f.find(version, direction)
	switch {
	case found == nil:
		return nil, f.missing(version, direction)
	case sha != "" && sha != found.sha256():
		return nil, fmt.Errorf("%s: %w: bring the planned file back, or plan anew", found.name, ErrChanged)
	case found.problem != nil:
		return nil, fmt.Errorf("%s: %w", found.name, found.problem)
	}
	return found, nil
}

// missing names the file to add as its other direction is named, if there is one.
func (f *Files) missing(version uint, direction Direction) error {
	add := "it"
	for other, found := range f.files[version] {
		add = strings.TrimSuffix(found.name, "."+string(other)+".sql") + "." + string(direction) + ".sql"
	}
	return fmt.Errorf("%w: version %d has no .%s.sql in this folder: add %s", ErrMissing, version, direction, add)
}

// before returns the version that precedes version in the files.
func (f *Files) before(version uint) State {
	if i, _ := slices.BinarySearch(f.versions, version); i > 0 {
		return State{Version: f.versions[i-1], Exists: true}
	}
	return State{}
}

// memory is golang-migrate's view of Files.
type memory struct{ *Files }

func (m memory) Open(string) (source.Driver, error) { return m, nil }
func (m memory) Close() error                       { return nil }

func (m memory) First() (uint, error) { return m.at("first", 0) }

func (m memory) Prev(version uint) (uint, error) {
	i, ok := slices.BinarySearch(m.versions, version)
	if !ok {
		i = 0
	}
	return m.at("prev", i-1)
}

func (m memory) Next(version uint) (uint, error) {
	i, ok := slices.BinarySearch(m.versions, version)
	if !ok {
		i = len(m.versions)
	}
	return m.at("next", i+1)
}

// at answers as golang-migrate expects at both ends of the list.
func (m memory) at(op string, i int) (uint, error) {
	if i < 0 || i >= len(m.versions) {
		return 0, &fs.PathError{Op: op, Path: ".", Err: fs.ErrNotExist}
	}
	return m.versions[i], nil
}

func (m memory) ReadUp(version uint) (io.ReadCloser, string, error)   { return m.read(version, Up) }
func (m memory) ReadDown(version uint) (io.ReadCloser, string, error) { return m.read(version, Down) }

func (m memory) read(version uint, direction Direction) (io.ReadCloser, string, error) {
	found := m.find(version, direction)
	if found == nil {
		return nil, "", &fs.PathError{Op: "read", Path: fmt.Sprintf("%d.%s", version, direction), Err: fs.ErrNotExist}
	}
	return io.NopCloser(bytes.NewReader(found.body)), found.name, nil
}
