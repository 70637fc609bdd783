package gateway

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSeen(t *testing.T) {
	t.Parallel()
	s := newSeen(2)
	start := time.Unix(1_700_000_000, 0)
	add := func(id string, at time.Duration) bool {
		fresh, err := s.add(id, start.Add(at))
		require.NoError(t, err)
		return fresh
	}
	require.True(t, add("a", 0))
	require.True(t, add("b", time.Minute))
	require.False(t, add("a", 10*time.Minute), "a copy still passes Slack's signature check after 10 minutes")

	_, err := s.add("c", start.Add(10*time.Minute))
	require.Error(t, err, "full: nothing is forgotten early")
	require.True(t, add("c", replayWindow), "a's window is over")
	require.Len(t, s.at, 2)

	s.undo()
	require.True(t, add("c", replayWindow), "a click that was not taken may come again")
	require.Len(t, s.order, len(s.at))
}
