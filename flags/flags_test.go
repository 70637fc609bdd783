package flags_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
)

func TestEqualIsAboutTheConfigurationAlone(t *testing.T) {
	t.Parallel()
	one := flags.State{Provider: "p", Key: "k", Version: 3, Summary: "off", Config: json.RawMessage(`{"on": false, "rules": []}`)}
	same := one
	same.Version, same.Summary, same.Config = 9, "", json.RawMessage(`{"rules":[],"on":false}`)
	require.True(t, one.Equal(same))
	for name, spoil := range map[string]func(*flags.State){
		"config":      func(s *flags.State) { s.Config = json.RawMessage(`{"on": true, "rules": []}`) },
		"key":         func(s *flags.State) { s.Key = "other" },
		"provider":    func(s *flags.State) { s.Provider = "other" },
		"archived":    func(s *flags.State) { s.Archived = true },
		"not JSON":    func(s *flags.State) { s.Config = json.RawMessage(`{`) },
		"no recorded": func(s *flags.State) { *s = flags.State{} },
	} {
		other := one
		spoil(&other)
		require.False(t, one.Equal(other), name)
		require.False(t, other.Equal(one), name)
	}
	require.False(t, flags.State{}.Equal(flags.State{}), "nothing recorded equals nothing")
}

func TestPermanent(t *testing.T) {
	t.Parallel()
	limited := &flags.RateLimited{Until: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	require.EqualError(t, limited, "rate limited until 2026-01-02T03:04:05Z")
	for _, err := range []error{nil, flags.ErrConflict, limited, errors.New("connection refused")} {
		require.False(t, flags.Permanent(err), "%v", err)
	}
	stranger := &flags.Stranger{Key: "k", Differs: []string{"it was turned off"}}
	require.ErrorIs(t, stranger, flags.ErrStranger)
	require.ErrorContains(t, stranger, `flag "k" was changed by someone else (it was turned off)`)
	for _, err := range []error{stranger, flags.ErrNotFound, flags.ErrUnauthorized, flags.ErrApprovalRequired, flags.ErrNotBoolean} {
		require.True(t, flags.Permanent(fmt.Errorf("wrapped: %w", err)), "%v", err)
	}
}

func TestStatusWithoutRequestsSaysNothingOfTime(t *testing.T) {
	t.Parallel()
	raw, err := json.Marshal(flags.Status{Activity: flags.New})
	require.NoError(t, err)
	require.JSONEq(t, `{"activity": "new"}`, string(raw))
}
