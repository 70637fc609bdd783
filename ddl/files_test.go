package ddl

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"maps"
	"testing"
	"testing/fstest"

	migratetest "github.com/golang-migrate/migrate/v4/source/testing"
	"github.com/stretchr/testify/require"
)

func TestFilesKnowTheirFolder(t *testing.T) {
	t.Parallel()
	fsys := folder(three)
	fsys["README.md"] = &fstest.MapFile{}
	fsys["seeds/whatever.sql"] = &fstest.MapFile{}
	files, err := ReadFiles(fsys)
	require.NoError(t, err)

	require.Equal(t, []uint{1, 2, 4}, files.Versions())
	require.True(t, files.Has(4, Down))
	require.False(t, files.Has(3, Up))
	sum := sha256.Sum256([]byte(three["002_b.up.sql"]))
	require.Equal(t, hex.EncodeToString(sum[:]), files.SHA256(2, Up))
	require.Empty(t, files.SHA256(3, Up))
}

func TestStraysAreRefused(t *testing.T) {
	t.Parallel()
	for name, others := range map[string][]string{
		"add_table.sql":                        nil, // no version
		"001-a.up.sql":                         nil,
		"001_a.sql":                            nil, // no direction
		"001_a.UP.sql":                         nil,
		"001_a.up.SQL":                         nil, // runs with stock golang-migrate
		"001_a.up.sql~":                        nil, // an editor's copy, which stock golang-migrate would run
		"99999999999999999999_a.up.sql":        nil,
		"9999999999999999999_a.up.sql":         nil, // fits uint64 but not bigint
		"1_a.up.sql":                           {"001_b.up.sql"},
		"00000000000000000000000000_z.up.sql~": nil,
	} {
		fsys := fstest.MapFS{name: {}}
		for _, other := range others {
			fsys[other] = &fstest.MapFile{}
		}
		_, err := ReadFiles(fsys)
		var stray *StrayError
		require.ErrorAs(t, err, &stray, name)
		require.Equal(t, name, stray.File)
	}
}

func TestBetween(t *testing.T) {
	t.Parallel()
	files := read(t, three)
	for _, c := range []struct {
		from State
		to   uint
		want []uint
	}{
		{State{}, 4, []uint{1, 2, 4}}, {State{}, 1, []uint{1}}, {at(1), 4, []uint{2, 4}},
		{at(2), 2, nil}, {at(4), 1, nil}, {at(9), 4, nil},
	} {
		got, err := files.Between(c.from, c.to)
		require.NoError(t, err)
		require.Equal(t, c.want, got, "from %s to %d", c.from, c.to)
	}
	_, err := files.Between(State{}, 3)
	require.ErrorIs(t, err, ErrMissing)
	_, err = files.Between(at(3), 4)
	require.ErrorIs(t, err, ErrOrder)
}

func TestAMissingFileIsNamed(t *testing.T) {
	t.Parallel()
	files := read(t, map[string]string{"000003_add_street.up.sql": "", "000004_drop.down.sql": ""})
	err := files.Check(3, Down)
	require.ErrorIs(t, err, ErrMissing)
	require.EqualError(t, err, "no such SQL file: version 3 has no .down.sql in this folder: add 000003_add_street.down.sql")
	require.ErrorContains(t, files.Check(4, Up), "version 4 has no .up.sql in this folder: add 000004_drop.up.sql")
	require.ErrorContains(t, files.Check(5, Up), "version 5 has no .up.sql in this folder: add it")
}

// What a folder can have wrong changes nothing, whatever direction is asked for.
func TestWrongFilesAreRefusedBeforeAnythingRuns(t *testing.T) {
	t.Parallel()
	b := setup(t, three)
	require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
	approved := b.files.SHA256(2, Up)
	for name, c := range map[string]struct {
		change map[string]string // "" takes the file away
		err    error
		says   string
	}{
		"changed since approval":   {map[string]string{"002_b.up.sql": "alter table a add column b int"}, ErrChanged, "002_b.up.sql"},
		"one blank more":           {map[string]string{"002_b.up.sql": three["002_b.up.sql"] + " "}, ErrChanged, "002_b.up.sql"},
		"gone":                     {map[string]string{"002_b.up.sql": ""}, ErrMissing, "add 002_b.up.sql"},
		"ends its own transaction": {map[string]string{"002_b.up.sql": "alter table a add column b text; commit;"}, ErrChanged, "002_b.up.sql"},
	} {
		spoilt := maps.Clone(three)
		for file, body := range c.change {
			spoilt[file] = body
			if body == "" {
				delete(spoilt, file)
			}
		}
		e := New(b.pool, read(t, spoilt), Options{Plan: "p"})
		err := e.Up(t.Context(), 2, approved)
		require.ErrorIs(t, err, c.err, name)
		require.ErrorContains(t, err, c.says, name)
		b.requireState(t, at(1))
	}

	without := maps.Clone(three)
	delete(without, "001_a.down.sql")
	err := New(b.pool, read(t, without), Options{Plan: "p"}).Down(t.Context(), 1, "")
	require.ErrorIs(t, err, ErrMissing)
	require.ErrorContains(t, err, "add 001_a.down.sql")
	changed := maps.Clone(three)
	changed["001_a.down.sql"] = "drop table a cascade;"
	require.ErrorIs(t, New(b.pool, read(t, changed), Options{Plan: "p"}).Down(t.Context(), 1, b.files.SHA256(1, Down)), ErrChanged)
	b.requireState(t, at(1))
	require.True(t, b.has(t, "a"))
}

func TestVersionZeroIsAVersion(t *testing.T) {
	t.Parallel()
	files := read(t, map[string]string{"0_a.up.sql": "", "1_b.up.sql": ""})
	got, err := files.Between(State{}, 1)
	require.NoError(t, err)
	require.Equal(t, []uint{0, 1}, got)
	got, err = files.Between(at(0), 1)
	require.NoError(t, err)
	require.Equal(t, []uint{1}, got)
}

// golang-migrate's own suite for sources wants exactly these files.
func TestSourceConforms(t *testing.T) {
	t.Parallel()
	migratetest.Test(t, read(t, map[string]string{
		"1_a.up.sql": "1 up", "1_a.down.sql": "1 down", "3_a.up.sql": "3 up", "4_a.up.sql": "4 up",
		"4_a.down.sql": "4 down", "5_a.down.sql": "5 down", "7_a.up.sql": "7 up", "7_a.down.sql": "7 down",
	}).Source())
}

func TestUnreadableFolder(t *testing.T) {
	t.Parallel()
	_, err := ReadFiles(failing{})
	require.ErrorIs(t, err, fs.ErrPermission)
}

type failing struct{}

func (failing) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: errors.Join(fs.ErrPermission)}
}

func TestAScriptIsTakenApart(t *testing.T) {
	t.Parallel()
	files, err := ReadFiles(fstest.MapFS{
		"1_a.up.sql":   {Data: []byte("-- contraflow: ignore ban-drop-column: nobody reads it\nbegin;\nalter table a drop b; -- why\n\n insert into a values ('x;') ;commit;")},
		"1_a.down.sql": {Data: []byte("-- contraflow: no-transaction\nvacuum a")},
		"2_b.up.sql":   {Data: []byte("commit;")},
	})
	require.NoError(t, err)
	s, ok := files.Script(1, Up)
	require.True(t, ok)
	require.Equal(t, []Statement{{"alter table a drop b", 3}, {"insert into a values ('x;')", 5}}, s.Statements)
	require.Equal(t, "1_a.up.sql", s.Name)
	require.False(t, s.NoTransaction)
	s, ok = files.Script(1, Down)
	require.True(t, ok)
	require.True(t, s.NoTransaction)
	s, ok = files.Script(2, Up)
	require.True(t, ok)
	require.ErrorIs(t, s.Problem, ErrScript)
	_, ok = files.Script(2, Down)
	require.False(t, ok)
}
