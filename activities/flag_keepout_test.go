package activities

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
)

var theCustomer = flags.Change{Exclude: &flags.Context{Kind: "user", Key: customer}}

// A customer whose rows are written in the old shape must not be served the new one by a flag that moves later.
func TestAKilledContextStaysOutOfFlagsThatMoveLater(t *testing.T) {
	t.Parallel()
	for _, crash := range []mortal{{}, {before: "Preview"}, {behind: "Preview"}, {before: "Apply"}, {behind: "Apply"}} {
		t.Run(crash.before+crash.behind, func(t *testing.T) {
			t.Parallel()
			b, begun := begunShop(t)
			before := b.configuration(t, readNew)
			_, err := b.apply(t, begun.flag("write-new", writeNew, 100))
			require.NoError(t, err)
			id := b.press(t, "run-1", theCustomer)
			m := b.mortal(t)
			m.before, m.behind = crash.before, crash.behind
			in := begun.flag("read-new", readNew, 50)
			in.Kills = id
			if _, err = b.apply(t, in); crash != (mortal{}) {
				requireRetryable(t, err, errCrash.Error())
				_, err = b.apply(t, in)
			}
			require.NoError(t, err)
			require.Equal(t, 50, b.percent(t, readNew))
			require.Equal(t, []string{customer}, b.configuration(t, readNew).Targets[0].Values)
			require.Equal(t, 1, b.configuration(t, readNew).Targets[0].Variation)

			in.Percent = 100
			_, err = b.apply(t, in)
			requirePermanent(t, err, "Stranger", "1 target", "force goes on without it")
			require.Equal(t, 50, b.percent(t, readNew))
			in.Force = true
			_, err = b.apply(t, in)
			require.NoError(t, err)
			require.Equal(t, 100, b.percent(t, readNew))
			require.False(t, b.served(t, readNew))
			_, err = b.restore(t, begun.flag("read-new", readNew, 0))
			require.NoError(t, err)
			require.Equal(t, before, b.configuration(t, readNew))
			require.Equal(t, 1, one[int](t, b, "select count(*)::int from contraflow.flag_kill where first_run <> ''"), "which is no press")
		})
	}
}

func TestWhoIsTakenInAgainByHandStaysIn(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	_, err := b.apply(t, begun.flag("write-new", writeNew, 100))
	require.NoError(t, err)
	in := begun.flag("read-new", readNew, 10)
	in.Kills = b.press(t, "run-1", theCustomer)
	_, err = b.apply(t, in)
	require.NoError(t, err)
	b.instruct(t, readNew, `{"kind": "removeTargets", "variationId": "`+b.variation(t, readNew, 1)+`", "values": ["`+customer+`"]}`)
	in.Percent = 100
	_, err = b.apply(t, in)
	requirePermanent(t, err, "Stranger", "the individual targets are others")
	in.Force = true
	_, err = b.apply(t, in)
	require.NoError(t, err)
	require.True(t, b.served(t, readNew))
}

// The press comes between the last look for presses and the change.
func TestWhoIsKilledWhileALaterFlagMovesStaysOutOfIt(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	_, err := b.apply(t, begun.flag("write-new", writeNew, 100))
	require.NoError(t, err)
	m := b.mortal(t)
	service := &overtaken{Provider: m.Provider}
	service.between = func() {
		m.Provider = service.Provider
		b.press(t, "run-1", theCustomer)
	}
	m.Provider = service
	_, err = b.apply(t, begun.flag("read-new", readNew, 50))
	require.NoError(t, err)
	require.Equal(t, []string{customer}, b.configuration(t, readNew).Targets[0].Values)
}

// Its worker dies behind a change that the service has got just behind a press.
func TestAChangeBehindAKillIsTakenBackByTheNextAttempt(t *testing.T) {
	t.Parallel()
	for title, found := range map[string]int{"a first stage": -1, "a flag that was on": 5} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			b, begun := begunShop(t)
			if found > 0 {
				b.serve(t, writeNew, found)
			}
			before := b.configuration(t, writeNew)
			m := b.mortal(t)
			service := &overtaken{Provider: m.Provider}
			crash := &mortal{Provider: service, behind: "Apply"}
			service.between = func() {
				m.Provider = service.Provider
				b.press(t, "run-1", changeTo(0))
			}
			m.Provider = crash
			_, err := b.apply(t, begun.flag("write-new", writeNew, 50))
			requireRetryable(t, err, errCrash.Error())
			require.Equal(t, 50, b.percent(t, writeNew))
			for range 2 {
				_, err = b.apply(t, begun.flag("write-new", writeNew, 50))
				requirePermanent(t, err, "Killed", "pressed by alice")
				require.Equal(t, -1, b.percent(t, writeNew))
			}
			_, err = b.restore(t, begun.flag("write-new", writeNew, 0))
			require.NoError(t, err)
			require.Equal(t, before, b.configuration(t, writeNew))
		})
	}
}

// Whoever pressed found one flag; this one was noted a moment later.
func TestAFlagThatWasNotFoundByThePressGoesOffAsWell(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	_, err := b.apply(t, begun.flag("write-new", writeNew, 100))
	require.NoError(t, err)
	m := b.mortal(t)
	service := &overtaken{Provider: m.Provider}
	service.between = func() {
		m.Provider = service.Provider
		b.press(t, "run-1", changeTo(0))
	}
	m.Provider = service
	_, err = b.apply(t, begun.flag("read-new", readNew, 50))
	requirePermanent(t, err, "Killed")
	require.Equal(t, -1, b.percent(t, readNew))
}

func TestAFlagIsPutBackWithoutWhomItHadReached(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	in := begun.flag("write-new", writeNew, 100)
	_, err := b.apply(t, in)
	require.NoError(t, err)
	b.press(t, "run-1", theCustomer)
	in.Kills = b.press(t, "run-1", changeTo(0))
	_, err = b.apply(t, in)
	require.NoError(t, err, "it served everybody before")
	require.Equal(t, 100, b.percent(t, writeNew))
	require.False(t, b.served(t, writeNew))
}

func TestAKillOfAnEarlierRunIsAskedAboutWhateverElseWasChanged(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	_, err := b.apply(t, begun.flag("write-new", writeNew, 100))
	require.NoError(t, err)
	b.finish(t, begun, "completed")
	b.press(t, "run-1", changeTo(0))
	b.except(t, writeNew, "rule", 0)
	begun, err = b.begin(t, shopPlan, "run-2")
	require.NoError(t, err)
	in := begun.flag("write-new", writeNew, 10)
	in.Origin.FirstRun = "run-2"
	_, err = b.apply(t, in)
	requirePermanent(t, err, "Stranger", "since an earlier run of this plan", "pressed by alice")
	require.Equal(t, -1, b.percent(t, writeNew))
}

func TestAKillThatAnotherPlanLivesUnderIsAskedAbout(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	_, err := b.apply(t, begun.flag("write-new", writeNew, 100))
	require.NoError(t, err)
	b.press(t, "run-1", changeTo(0))
	b.exec(t, `insert into contraflow.migration (plan, migration, first_run, plan_hash, home, owner)
		select 'other', 'other', 'run-9', plan_hash, home, owner from contraflow.migration`)
	in := begun.flag("write-new", writeNew, 100)
	in.Origin.Plan, in.Origin.FirstRun = "other", "run-9"
	for range 2 {
		_, err = b.apply(t, in)
		requirePermanent(t, err, "Stranger", "since plan "+shopPlan+" has moved it: kill switch pressed by alice")
		require.Equal(t, -1, b.percent(t, writeNew))
	}
	in.Force = true
	_, err = b.apply(t, in)
	require.NoError(t, err)
	require.Equal(t, 100, b.percent(t, writeNew))
}
