package watch

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/signals"
)

func TestABuildIsShownWhetherItIsBlockedOrNot(t *testing.T) {
	t.Parallel()
	const progress = "building index: scanning table, 43 % of 12,000 blocks"
	s := running()
	s.Blocked = &signals.Blocked{Step: "expand", Progress: progress}
	drawn := strings.Join(Render(s, Style{}), "\n")
	require.Contains(t, drawn, "expand: "+progress)
	require.NotContains(t, drawn, "blocked")
	before := running()
	require.Contains(t, strings.Join(Changes(&before, s), "\n"), "building: expand: "+progress)

	further := running()
	further.Blocked = &signals.Blocked{Step: "expand", Progress: strings.Replace(progress, "43", "44", 1)}
	require.Empty(t, Changes(&s, further), "a figure is no news")
	further.Blocked.Text = "the end of an older transaction, blocked by pid 7"
	drawn = strings.Join(Render(further, Style{}), "\n")
	require.Contains(t, drawn, "building")
	require.Contains(t, drawn, "blocked")
	require.Contains(t, strings.Join(Changes(&s, further), "\n"), "blocked: expand: the end of an older transaction, blocked by pid 7")
}
