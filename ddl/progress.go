package ddl

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

const progressOf = `
select phase, coalesce(blocks_done, 0), coalesce(blocks_total, 0), coalesce(tuples_done, 0), coalesce(tuples_total, 0)
from pg_stat_progress_create_index where pid = $1`

// progress says how far an index has come that the session builds; empty if it builds none.
func (e *Engine) progress(ctx context.Context, pid int32) string {
	var (
		phase                                string
		blocks, allBlocks, tuples, allTuples int64
	)
	if e.pool.QueryRow(ctx, progressOf, pid).Scan(&phase, &blocks, &allBlocks, &tuples, &allTuples) != nil {
		return ""
	}
	return progressText(phase, blocks, allBlocks, tuples, allTuples)
}

// progressText names only what the phase counts: the other pair keeps the figures of an earlier phase.
func progressText(phase string, blocks, allBlocks, tuples, allTuples int64) string {
	switch {
	case strings.Contains(phase, "scanning") && allBlocks > 0:
		return phase + share(blocks, allBlocks, "blocks")
	case strings.Contains(phase, "tuples") && allTuples > 0:
		return phase + share(tuples, allTuples, "rows")
	}
	return phase
}

func share(done, all int64, what string) string {
	const hundred = 100
	return fmt.Sprintf(", %d %% of %s %s", min(done*hundred/all, hundred), thousands(all), what)
}

func thousands(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
