package workflows

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/signals"
)

func rehearsed(statements int) *signals.Rehearsal {
	r := &signals.Rehearsal{PlanHash: hash, Database: "shop", Server: "15.14", By: "dora", At: time.Date(2026, 3, 2, 7, 0, 0, 0, time.UTC),
		Count: statements + 1, Worst: "blocks writes for a scan", Reversible: true,
		Statements: []signals.RehearsedStatement{{Step: "expand", Where: "2.up.sql:1", Verdict: "instant", Detail: "ACCESS EXCLUSIVE on customers"}}}
	for i := range statements {
		r.Statements = append(r.Statements, signals.RehearsedStatement{Step: "expand", Where: fmt.Sprintf("2.up.sql:%d", i+2),
			Verdict: "blocks writes for a scan", Detail: "SHARE on customers, 12.4 M rows"})
	}
	return r
}

func (b *bundle) starts(in signals.Input) {
	var err error
	b.input, err = json.Marshal(in)
	require.NoError(b.t, err)
}

func TestTheFirstCardTellsOfTheRehearsal(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.chat = true
	r := rehearsed(1)
	r.Problems = []string{"check new writes, version 3: column \"street\" does not exist"}
	b.starts(signals.Input{Name: b.plan.Name, StartedBy: "carol", Rehearsal: r})
	b.approveAll()
	b.completes()
	want := []activities.Evidence{
		{Name: "rehearsal", Value: "2026-03-02 07:00 UTC by dora on shop 15.14: 2 statements, worst: blocks writes for a scan, 1 problem; the way down leads back to the same catalog"},
		{Name: "problem", Value: "check new writes, version 3: column \"street\" does not exist"},
		{Name: "2.up.sql:2", Value: "blocks writes for a scan: SHARE on customers, 12.4 M rows"},
	}
	for _, key := range []string{"PostCard cutover", "UpdateCard cutover approved"} {
		card := b.made(key)[0].in.(activities.Card)
		require.Equal(t, want, card.Evidence[:3], key)
		require.Equal(t, "write-new", card.Evidence[3].Name, key)
	}
	second := b.made("PostCard contract")[0].in.(activities.Card)
	require.Equal(t, "write-new", second.Evidence[0].Name, "once is enough")
	require.Equal(t, r, b.made("Begin")[0].in.(activities.BeginInput).Input.Rehearsal)
	require.Equal(t, r, b.status().Rehearsal)
	require.Contains(t, b.details(), "Rehearsed 2026-03-02 07:00 UTC by dora on shop 15.14: 2 statements, worst: blocks writes for a scan, 1 problem")
}

func TestALongRehearsalIsCutOnTheCard(t *testing.T) {
	t.Parallel()
	m := &migration{state: state{Rehearsal: rehearsed(maxRehearsed + 3)}}
	for i := range maxProblems + 2 {
		m.Rehearsal.Problems = append(m.Rehearsal.Problems, fmt.Sprintf("problem %d", i))
	}
	lines := m.rehearsed()
	require.Len(t, lines, 1+maxProblems+1+maxRehearsed+1)
	require.Equal(t, activities.Evidence{Name: "problem", Value: "and 2 more"}, lines[1+maxProblems])
	require.Equal(t, activities.Evidence{Name: "…", Value: "and 3 more statements that are not instant"}, lines[len(lines)-1])
}

func TestANewRunKeepsTheRehearsal(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, asking))
	b.chat = true
	b.starts(signals.Input{Name: b.plan.Name, Rehearsal: rehearsed(1)})
	b.suggest(2 * time.Hour)
	next := b.continues()
	next.after(3*time.Hour, func() { next.approve("ask", "alice"); next.approve("ask", "bob") })
	next.completes()
	require.Equal(t, rehearsed(1), next.status().Rehearsal)
	closed := next.made("UpdateCard ask approved")[0].in.(activities.Card)
	require.Equal(t, "rehearsal", closed.Evidence[0].Name)
	require.Equal(t, b.made("PostCard ask")[0].in.(activities.Card).Evidence, closed.Evidence[:2], "it goes on with what was posted")
}

func TestARehearsalOutOfBoundsIsRefusedBeforeAnythingIsDone(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.starts(signals.Input{Name: b.plan.Name, Rehearsal: rehearsed(signals.MaxRehearsedStatements)})
	b.start()
	require.ErrorContains(t, b.fails("BadInput"), "the rehearsal that came along holds 51 statements, and 50 is the most")
	require.Empty(t, b.calls)
}
