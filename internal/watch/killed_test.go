package watch

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/signals"
)

// killed is waiting behind a press of the kill switch, with a question open beside it.
func killed() Snapshot {
	s := waiting()
	st := s.Status
	st.State, st.Killed = signals.Stuck, []string{"customers-write-new"}
	st.Needs = "paused: kill switch pressed by erin (errors): customers-write-new off for everybody; `resume` goes on; and step read-new: it broke"
	write := &st.Steps[1]
	write.Killed, write.Percent, write.Detail = st.Killed, 0, "customers-write-new off by the kill switch; had come to: customers-write-new at 100 %"
	return s
}

func TestAKilledFlagIsNotDrawnAsDone(t *testing.T) {
	t.Parallel()
	drawn := strings.Join(Render(killed(), Style{Width: 120}), "\n")
	require.Contains(t, drawn, "⊘ write-new  flag      ────────────   off  customers-write-new off by the kill switch; had come to")
	require.Contains(t, drawn, "  killed     customers-write-new off for everybody\n  needs      paused: kill switch pressed by erin")

	before := waiting()
	before.Status.State = signals.Stuck
	changes := strings.Join(Changes(&before, killed()), "\n")
	require.Contains(t, changes, "flag write-new: done, off, customers-write-new off by the kill switch")
	require.Contains(t, changes, "needs: paused: kill switch pressed by erin")
}

func TestAStageThatLeavesSomebodyOutIsNotWhole(t *testing.T) {
	t.Parallel()
	s := waiting()
	s.Status.Steps[1].Without = true
	require.Contains(t, strings.Join(Render(s, Style{}), "\n"), "━━━━━━━━━━━━ <100 %  customers-write-new")
	before := waiting()
	require.Contains(t, strings.Join(Changes(&before, s), "\n"), "flag write-new: done, <100 %")
}
