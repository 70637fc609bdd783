package watch

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/signals"
)

func TestARehearsalIsToldInShort(t *testing.T) {
	t.Parallel()
	s := running()
	for _, l := range Render(s, Style{}) {
		require.NotContains(t, l, "rehearsed")
	}
	s.Status.Rehearsal = &signals.Rehearsal{Database: "shop", Server: "15.14", By: "dora", At: at("13:20:14"), Count: 5, Worst: "blocks writes for a scan"}
	require.Equal(t, "rehearsed 42 min ago by dora on shop 15.14: 5 statements, worst: blocks writes for a scan", Render(s, Style{})[2])
	s.Status.Rehearsal.Problems = []string{"check\x1b[2J"}
	require.Equal(t, "rehearsed 42 min ago by dora on shop 15.14: 5 statements, worst: blocks writes for a scan, 1 problem", Render(s, Style{})[2])
	s.Status.Rehearsal.Server = "15\x1b[2J\nx"
	require.Contains(t, Render(s, Style{})[2], "by dora on shop 15 [2J x:", "it came with the start, by anybody")
	s.Status.Rehearsal.Server = "15.14"
	narrow := Render(s, Style{Width: 60})
	require.Equal(t, "rehearsed 42 min ago by dora on shop 15.14: 5 statements,", narrow[2])
	require.Equal(t, "worst: blocks writes for a scan, 1 problem", narrow[3], "what is bad stands at the end")
}
