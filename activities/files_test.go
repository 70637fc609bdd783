package activities

import "testing"

// What the worker has on disk is looked at whole, whichever file the plan would run.
func TestFilesThatCannotBeToldApartBeginNothing(t *testing.T) {
	t.Parallel()
	for title, c := range map[string]struct {
		file  string
		parts []string
	}{
		"two files of one version":     {"2_again.up.sql", []string{"2_again.up.sql", "000002_add_street.up.sql is version 2 up too"}},
		"two ways back of one version": {"02_again.down.sql", []string{"02_again.down.sql", "000002_add_street.down.sql", "version 2 down too"}},
		"no version":                   {"add_index.up.sql", []string{"add_index.up.sql", "golang-migrate would ignore it"}},
		"an editor's copy":             {"000002_add_street.up.sql~", []string{"000002_add_street.up.sql~", "golang-migrate would run it"}},
		"capitals":                     {"000004_later.UP.sql", []string{"000004_later.UP.sql", "golang-migrate would"}},
		"a version beyond a bigint":    {"9999999999999999999_later.up.sql", []string{"9999999999999999999_later.up.sql", "smaller"}},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.write(t, "shop/migrations/"+c.file, "select 1;")
			_, err := b.begin(t, shopPlan, "run-1")
			requirePermanent(t, err, "SQLFiles", c.parts...)
			b.untouched(t)
		})
		t.Run(title+", after the beginning", func(t *testing.T) {
			t.Parallel()
			b, begun := begunShop(t)
			b.write(t, "shop/migrations/"+c.file, "select 1;")
			_, err := b.migrate(t, begun, "expand", 2)
			requirePermanent(t, err, "SQLFiles", c.parts...)
			_, err = b.down(t, begun, "expand", 0, 2)
			requirePermanent(t, err, "SQLFiles", c.parts...)
			if b.has(t, "customers") {
				t.Error("nothing is changed")
			}
		})
	}
}

func TestAMissingWayBackIsNamed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.remove(t, "shop/migrations/000002_add_street.down.sql")
	_, err := b.begin(t, shopPlan, "run-1")
	requirePermanent(t, err, "SQLFiles", "step expand", "add 000002_add_street.down.sql")
	b.untouched(t)
}
