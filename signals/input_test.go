package signals_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/signals"
)

func TestAnInputSurvivesTheJourney(t *testing.T) {
	t.Parallel()
	whole := json.RawMessage(`{"name":"p","steps":[]}`)
	for text, want := range map[string]signals.Input{
		`{"plan":"p"}`: {Name: "p"},
		`{"plan":"p","rehearsal":{"planHash":"abc","database":"shop","server":"15.14","count":0}}`: {Name: "p",
			Rehearsal: &signals.Rehearsal{PlanHash: "abc", Database: "shop", Server: "15.14"}},
		`{"plan":"p","startedBy":"carol"}`:                {Name: "p", StartedBy: "carol"},
		`{"plan":{"name":"p","steps":[]}}`:                {Document: whole},
		`{"name":"p","steps":[]}`:                         {Document: whole},
		`{"plan":{"name":"p","steps":[]},"startedBy":""}`: {Document: whole},
	} {
		parsed, err := signals.ParseInput([]byte(text))
		require.NoError(t, err, text)
		require.Equal(t, want, parsed, text)

		// Inside another value, as an activity's input carries it.
		raw, err := json.Marshal(struct{ Input signals.Input }{parsed})
		require.NoError(t, err, text)
		var arrived struct{ Input signals.Input }
		require.NoError(t, json.Unmarshal(raw, &arrived), text)
		require.Equal(t, want, arrived.Input, text)
	}
}

func TestOtherInputsAreRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{``, `[]`, `"p"`, `{}`, `{"plan":7}`, `{"plan":null}`, `{"plan":"p","stratedBy":"carol"}`} {
		_, err := signals.ParseInput([]byte(text))
		require.ErrorIs(t, err, signals.ErrInput, text)
	}
}
