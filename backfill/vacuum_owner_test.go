package backfill_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/backfill"
)

// Whoever owns a partitioned table may change the rows of partitions that belong to others, and not vacuum these.
func TestAVacuumOfAPartitionOfAnotherOwnerIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t, `create table numbers (id bigint primary key, n integer) partition by range (id);
		create table low partition of numbers for values from (0) to (10); create table high partition of numbers for values from (10) to (20)`)
	spec := counting("numbers")
	spec.Vacuum = true
	_, err := b.Inspect(t.Context(), spec)
	require.NoError(t, err)
	_, err = openSuper(t, b).Exec(t.Context(), "alter table high owner to current_user")
	require.NoError(t, err)
	_, err = b.Inspect(t.Context(), spec)
	require.ErrorIs(t, err, backfill.ErrSpec)
	require.ErrorContains(t, err, "only the owner of high may vacuum it")
	spec.Vacuum = false
	_, err = b.Inspect(t.Context(), spec)
	require.NoError(t, err)
}
