package ddl

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// vacuumed is a cluster in which autovacuum works on table a, for hours if nobody stops it; it begins again soon after.
func vacuumed(t *testing.T, second string, againstWraparound bool) bundle {
	t.Helper()
	b := cluster(t, map[string]string{"autovacuum": "on", "autovacuum_naptime": "1s"})
	b.files = read(t, map[string]string{"1_a.up.sql": three["001_a.up.sql"], "2_b.up.sql": second})
	super := b.db
	super.DSN = b.db.SuperDSN
	b.exec(t, "drop table a; create table a (n int check (n > 0), f text)")
	b.exec(t, "insert into a select g, repeat('x', 300) from generate_series(1, 50000) g")
	b.exec(t, "alter table a add constraint low check (n < 100000) not valid")
	options := "autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1, autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0"
	if againstWraparound {
		options += ", autovacuum_freeze_max_age = 100000"
		b.exec(t, `do $$ begin for i in 1..101000 loop begin
			insert into a values (1); raise exception 'an id of its own'; exception when raise_exception then null; end; end loop; end $$`)
	}
	b.exec(t, "delete from a where n % 2 = 0")
	b.exec(t, "alter table a set ("+options+")")
	view := super.Connect(t)
	require.Eventually(t, func() bool {
		var works bool
		err := view.QueryRow(t.Context(), `select exists (select from pg_stat_activity join pg_locks using (pid) where backend_type = 'autovacuum worker'
			and relation = 'a'::regclass and mode = 'ShareUpdateExclusiveLock' and granted and query like '%(to prevent wraparound)' = $1)`, againstWraparound).Scan(&works)
		return err == nil && works
	}, 2*patience, look, "it comes once in a while")
	return b
}

// The role sees no more of autovacuum than its pid.
func TestAutovacuumGivesWay(t *testing.T) {
	t.Parallel()
	for title, second := range map[string]string{
		"in a transaction": "alter table a add c int; alter table a validate constraint low",
		"outside":          noTransactionHeader + "\nalter table a validate constraint low",
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			b := vacuumed(t, second, false)
			var told waits
			require.NoError(t, b.killing(&told).Up(t.Context(), 2, ""))
			require.True(t, told.any(func(w Waiting) bool {
				return len(w.Blockers) == 1 && w.Blockers[0].Application == autovacuum && w.Hint == vacuumHint
			})())
			require.False(t, told.any(func(w Waiting) bool { return len(w.Ended) > 0 })())
		})
	}
}

func TestTheApplicationPassesTheWaitForAutovacuum(t *testing.T) {
	t.Parallel()
	b := vacuumed(t, "alter table a add c int", true)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- b.engine("p").Up(ctx, 2, "") }()
	for passed := 0; passed < 2; {
		before := one[uint32](t, b, "select coalesce(max(pid), 0)::oid from pg_locks where mode = 'ShareUpdateExclusiveLock' and relation = 'a'::regclass and not granted")
		b.exec(t, "insert into a values (1)")
		if before != 0 && one[bool](t, b, "select exists (select from pg_locks where pid = $1::oid::int8::int and mode = 'ShareUpdateExclusiveLock' and not granted)", before) {
			passed++
		}
	}
	cancel()
	err := <-result
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "(autovacuum)")
	require.ErrorContains(t, err, "to prevent wraparound")
	require.True(t, one[bool](t, b, "select not exists (select from pg_attribute where attrelid = 'a'::regclass and attname = 'c')"))
}
