package activities

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/signals"
)

const tiny = "name: tiny\ndatabase: shop\nmigrations: migrations\nsteps:\n  - {name: expand, migrate: {to: 1}}\n"

// outside makes a folder beside the plan root, with SQL files in it.
func (b *bundle) outside(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for _, name := range []string{"1_a.up.sql", "1_a.down.sql"} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte("select 1;"), 0o600))
	}
	require.NoError(t, os.WriteFile(filepath.Join(folder, "plan.yaml"), []byte(tiny), 0o600))
	return folder
}

func TestNothingOutsideThePlanRootIsRead(t *testing.T) {
	t.Parallel()
	for title, spoil := range map[string]func(*testing.T, *bundle, string){
		"a link to a folder of SQL files": func(t *testing.T, b *bundle, outside string) {
			b.write(t, "tiny.yaml", tiny)
			require.NoError(t, os.Symlink(outside, filepath.Join(b.root, "migrations")))
		},
		"a link to one SQL file": func(t *testing.T, b *bundle, outside string) {
			b.write(t, "tiny.yaml", tiny)
			b.write(t, "migrations/1_a.down.sql", "select 1;")
			require.NoError(t, os.Symlink(filepath.Join(outside, "1_a.up.sql"), filepath.Join(b.root, "migrations", "1_a.up.sql")))
		},
		"a link to a plan": func(t *testing.T, b *bundle, outside string) {
			require.NoError(t, os.Symlink(filepath.Join(outside, "plan.yaml"), filepath.Join(b.root, "tiny.yaml")))
		},
		"a link to a plan's folder": func(t *testing.T, b *bundle, outside string) {
			require.NoError(t, os.Symlink(outside, filepath.Join(b.root, "tiny")))
		},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			spoil(t, b, b.outside(t))
			_, err := b.begin(t, "tiny", "run-1")
			requireOneOf(t, err, []string{"BadPlan", "SQLFiles", "UnknownPlan"})
			b.untouched(t)
			_, err = b.begin(t, shopPlan, "run-2")
			require.NoError(t, err, "other plans don't suffer")
		})
	}
	for _, folder := range []string{"../outside", "/etc", "..", "shop/../../outside", `..\\outside`} {
		t.Run("migrations: "+folder, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			document := `{"name": "p", "database": "shop", "migrations": "` + folder + `", "steps": [{"name": "s", "migrate": {"to": 1}}]}`
			_, err := b.beginWith(t, signals.Input{Document: []byte(document)}, "run-1")
			requireOneOf(t, err, []string{"SQLFiles", "BadPlan"})
			b.untouched(t)
		})
	}
}

func TestLinksWithinThePlanRootAreFine(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.write(t, "tiny.yaml", tiny)
	b.write(t, "sql/1_a.up.sql", "create table a ();")
	b.write(t, "sql/1_a.down.sql", "drop table a;")
	require.NoError(t, os.Symlink("sql", filepath.Join(b.root, "migrations")))
	begun, err := b.begin(t, "tiny", "run-1")
	require.NoError(t, err)
	require.Equal(t, "migrations", begun.Schema.Folder)
}

func TestPlansAreFoundByTheirNames(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.write(t, "broken.yaml", "name: [")
	b.write(t, "folder/plan.json", `{"name": "as-json", "database": "shop", "steps": [{"name": "s", "soak": "1s"}]}`)
	b.write(t, "short.yml", "name: short\ndatabase: shop\nsteps: [{name: s, soak: 1s}]\n")
	require.NoError(t, os.Symlink("/does/not/exist", filepath.Join(b.root, "gone.yaml")))
	require.NoError(t, os.Mkdir(filepath.Join(b.root, "a-folder.yaml"), 0o755))

	for _, name := range []string{"as-json", "short", shopPlan} {
		_, err := b.begin(t, name, "run-1")
		require.NoError(t, err, name)
	}
	_, err := b.begin(t, "nope", "run-1")
	requirePermanent(t, err, "UnknownPlan", "it knows: as-json, short, split-customer-address;", "lists: a-folder.yaml, broken.yaml, gone.yaml")
	_, err = b.begin(t, "broken", "run-1")
	requirePermanent(t, err, "BadPlan", "broken.yaml:")
	_, err = b.begin(t, "gone", "run-1")
	requirePermanent(t, err, "BadPlan", "gone.yaml")

	b.write(t, "twice.yaml", "name: short\ndatabase: shop\nsteps: [{name: s, soak: 2s}]\n")
	_, err = b.begin(t, "short", "run-1")
	requirePermanent(t, err, "BadPlan", `plan "short" stands in`, "short.yml", "twice.yaml")
}
