package kill_test

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/devstack/pgproxy"
	"github.com/contraflow/contraflow/internal/kill"
	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/plan"
)

func TestFlagsGoOffTheLatestFirst(t *testing.T) {
	t.Parallel()
	b := setup(t)
	report, err := b.press()
	require.NoError(t, err)
	require.Equal(t, []string{"read-new off", "write-new off"}, outcomes(report))
	require.Equal(t, "on: 25 % true → off", report.Flags[0].Was+" → "+report.Flags[0].Now)
	require.True(t, report.Recorded && report.Running)
	require.Equal(t, "shop p", report.Database+" "+report.Plan)
	require.Equal(t, []string{"off", "off"}, b.now(readNew, writeNew))
	require.Equal(t, "read-new alice orders fail, write-new alice orders fail", b.one(`select string_agg(flag_key || ' ' || actor || ' ' || reason, ', ' order by id)
		from contraflow.flag_kill where done_at is not null and context_kind = '' and first_run = 'run-1' and state ->> 'summary' = 'off'`))
	audit := b.one(`select event || ' by ' || actor || ' ' || detail from contraflow.audit where migration = 'split' and plan_hash = 'h'`)
	require.Regexp(t, `^kill switch by alice for everybody in \d+ ms: read-new off in \d+ ms, write-new off in \d+ ms; orders fail$`, audit)

	again, err := b.press()
	require.NoError(t, err)
	require.Equal(t, []string{"read-new already_off", "write-new already_off"}, outcomes(again))
	require.Equal(t, "4", b.one(`select count(*)::text from contraflow.flag_kill where done_at is not null`))
	require.Equal(t, "on: 25 % true, on: 100 % true, off, off", b.one(`select string_agg(found ->> 'summary', ', ' order by id) from contraflow.flag_kill`))
}

func TestOneContextIsServedOffAndTheOthersOn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	report, err := b.press(func(o *kill.Order) { o.Context = &flags.Context{Kind: "account", Key: acme} })
	require.NoError(t, err)
	require.Equal(t, "account", report.ContextKind)
	require.Equal(t, []string{"read-new off", "write-new off"}, outcomes(report))
	for _, key := range []string{readNew, writeNew} {
		flag, _ := b.server.Snapshot(key)
		e := flag.Environments["production"]
		require.True(t, e.On)
		require.Len(t, e.ContextTargets, 1)
		require.Equal(t, []string{acme}, e.ContextTargets[0].Values)
	}
	require.Equal(t, acme, b.one(`select distinct context_key from contraflow.flag_kill where context_kind = 'account'`))
	audit := b.one(`select detail from contraflow.audit`)
	require.Contains(t, audit, "for one account")
	require.NotContains(t, audit, acme)
}

func TestWhereThereIsNothingToTurnOff(t *testing.T) {
	t.Parallel()
	b := bare(t)
	_, err := b.press()
	require.ErrorIs(t, err, ledger.ErrUnknown)
	require.ErrorContains(t, err, "split is not in shop")
	require.NoError(t, b.ledger.Claim(t.Context(), "p", "h", shop, ledger.Holder{}))
	_, err = b.press()
	require.ErrorIs(t, err, kill.ErrNothingMoved)
	require.ErrorContains(t, err, "has not moved any flag yet")
	scope := ledger.Scope{Project: "shop", Environment: "production"}
	require.NoError(t, b.ledger.UseFlag(t.Context(), "p", shop, scope, writeNew))
	require.NoError(t, b.ledger.FlagRetired(t.Context(), scope, writeNew))
	_, err = b.press()
	require.ErrorIs(t, err, kill.ErrNothingMoved)
	require.ErrorContains(t, err, "has retired all its flags")
	require.Equal(t, "0", b.one("select count(*)::text from contraflow.flag_kill"))
}

func TestFlagsOfAMigrationThatIsOverGoOffAsWell(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, b.ledger.Close(t.Context(), "p", shop, "completed", true))
	report, err := b.press()
	require.NoError(t, err)
	require.False(t, report.Running)
	require.Equal(t, []string{"off", "off"}, b.now(readNew, writeNew))
}

func TestWhereReadersCannotLeaveWritersStay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.server.Require(1)
	report, err := b.press()
	require.ErrorIs(t, err, kill.ErrNotOff)
	require.ErrorIs(t, err, flags.ErrApprovalRequired)
	require.ErrorContains(t, err, "1 approval")
	require.Equal(t, []string{"read-new failed", "write-new left"}, outcomes(report))
	require.Equal(t, []string{"on: 25 % true", "on: 100 % true"}, b.now(readNew, writeNew))
	require.Contains(t, b.one(`select detail from contraflow.audit`), "read-new failed, write-new left")
	require.Equal(t, "2", b.one(`select count(*)::text from contraflow.flag_kill where done_at is null`), "the migration pauses all the same")
}

func TestASilentDatabaseIsToldAndAnotherAnswers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	report, err := b.press(func(o *kill.Order) {
		o.Databases = append(o.Databases, kill.Database{Name: "broken", Err: errors.New("no connection string")})
	})
	require.NoError(t, err)
	require.Equal(t, "shop", report.Database)

	_, err = b.press(silent)
	require.ErrorIs(t, err, kill.ErrSilent)
	require.ErrorContains(t, err, "database nowhere: it does not answer")
	empty := bare(t)
	_, err = empty.press(func(o *kill.Order) { o.Databases = append(o.Databases, nowhere) })
	require.ErrorIs(t, err, kill.ErrSilent, "the silent one may know it")
}

func TestThePlansFileDoesWithoutADatabase(t *testing.T) {
	t.Parallel()
	b := setup(t)
	report, err := b.press(silent, thePlan)
	require.ErrorIs(t, err, kill.ErrUnrecorded)
	require.False(t, report.Recorded)
	require.Equal(t, []string{"read-new off", "write-new off"}, outcomes(report))
	require.Equal(t, []string{"off", "off"}, b.now(readNew, writeNew))
	require.Equal(t, "0", b.one("select count(*)::text from contraflow.flag_kill"))

	_, err = bare(t).press(thePlan)
	require.ErrorIs(t, err, ledger.ErrUnknown, "a database that answers has the word")
	_, err = b.press(silent, thePlan, func(o *kill.Order) { o.Plan.Steps = nil })
	require.ErrorIs(t, err, kill.ErrNothingMoved)
}

func TestADatabaseThatFailsInTheMiddleStopsNothing(t *testing.T) {
	t.Parallel()
	for at, recorded := range map[string]bool{"insert into contraflow.flag_kill": false, "update contraflow.flag_kill": true, "insert into contraflow.audit": true} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			proxy := pgproxy.Start(t, b.db.DSN)
			proxy.OnStatement(func(s pgproxy.Statement) {
				if strings.Contains(s.SQL, at) {
					proxy.CutAt(s.N, pgproxy.Cut{Hard: true})
				}
			})
			report, err := b.press(func(o *kill.Order) { o.Databases[0].DSN = proxy.DSN() })
			require.ErrorIs(t, err, kill.ErrUnrecorded)
			require.Equal(t, recorded, report.Recorded)
			require.Equal(t, []string{"read-new off", "write-new off"}, outcomes(report))
			require.Equal(t, []string{"off", "off"}, b.now(readNew, writeNew))
		})
	}
}

func TestManyPressAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const people = 4
	var all sync.WaitGroup
	errs := make([]error, people)
	for i := range people {
		all.Go(func() { _, errs[i] = kill.Press(t.Context(), b.order()) })
	}
	all.Wait()
	require.NoError(t, errors.Join(errs...))
	require.Equal(t, []string{"off", "off"}, b.now(readNew, writeNew))
	require.Equal(t, "8", b.one(`select count(*)::text from contraflow.flag_kill where done_at is not null`))
}

func TestWhatAStepInFlightPutOnGoesOffAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var once sync.Once
	b.onAir = func(text string) {
		if strings.HasPrefix(text, "write-new is off") {
			once.Do(func() { b.moves(readNew, flags.Change{Percent: 50}) })
		}
	}
	report, err := b.press()
	require.NoError(t, err)
	require.Equal(t, []string{"read-new off", "write-new off"}, outcomes(report))
	require.Equal(t, []string{"off", "off"}, b.now(readNew, writeNew))
	require.Contains(t, strings.Join(b.heard, "\n"), "read-new was put on again meanwhile (on: 50 % true)")
	require.Equal(t, "on: 50 % true", b.one(`select found ->> 'summary' from contraflow.flag_kill where flag_key = 'read-new'`))
}

func TestAStreamThatShowsNothingHoldsNothingUp(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.config.StreamURL, b.config.ReadBack = "http://127.0.0.1:1", quick
	report, err := b.press()
	require.NoError(t, err)
	require.Equal(t, []string{"read-new off_unseen", "write-new off_unseen"}, outcomes(report))
	require.Equal(t, []string{"off", "off"}, b.now(readNew, writeNew))
	require.Contains(t, report.Flags[0].Why, "does not show it")
}

func TestAFlagServiceThatIsDownIsAnError(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.config.APIURL = "http://127.0.0.1:1"
	report, err := b.press()
	require.ErrorIs(t, err, kill.ErrNotOff)
	require.ErrorContains(t, err, "connection refused")
	require.Equal(t, []string{"read-new failed", "write-new left"}, outcomes(report))
	require.True(t, report.Recorded, "and the migration pauses")
}

func TestAMigrationFlagGoesToItsStageOff(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const key = "address-stage"
	p, err := b.provider(plan.FlagScope{Project: "shop", Environment: "production"})
	require.NoError(t, err)
	require.NoError(t, p.(flags.Creator).Create(t.Context(), key, flags.NewFlag{Migration: true}))
	b.moves(key, flags.Change{Stage: flags.StageLive})
	require.NoError(t, b.ledger.UseFlag(t.Context(), "p", shop, ledger.Scope{Project: "shop", Environment: "production"}, key))

	report, err := b.press(func(o *kill.Order) { o.Context = &flags.Context{Kind: "user", Key: acme} })
	require.NoError(t, err)
	require.Equal(t, []string{"address-stage off", "read-new off", "write-new off"}, outcomes(report))
	require.Contains(t, b.now(key)[0], "stage live", "for the others")

	report, err = b.press()
	require.NoError(t, err)
	require.Equal(t, []string{"address-stage off", "read-new off", "write-new off"}, outcomes(report))
	require.Equal(t, []string{"off"}, b.now(key))
}

func TestWhatIsScheduledForTomorrowDoesNotDisarmTheSwitch(t *testing.T) {
	t.Parallel()
	for _, c := range []*flags.Context{nil, {Kind: "user", Key: acme}} {
		b := setup(t)
		b.server.Schedule(readNew, time.Now().Add(24*time.Hour))
		p, err := b.provider(plan.FlagScope{Project: "shop", Environment: "production"})
		require.NoError(t, err)
		_, err = p.Apply(t.Context(), readNew, flags.Change{Percent: 50}, "step", nil)
		require.ErrorIs(t, err, flags.ErrInvalid, "any other change gives way")
		report, err := b.press(func(o *kill.Order) { o.Context = c })
		require.NoError(t, err)
		require.Equal(t, []string{"read-new off", "write-new off"}, outcomes(report))
	}
}

func TestWhoIsTurnedOffAloneWhileTheFlagsAreOffStaysSo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.press()
	require.NoError(t, err)
	report, err := b.press(func(o *kill.Order) { o.Context = &flags.Context{Kind: "user", Key: acme} })
	require.NoError(t, err)
	require.Equal(t, []string{"read-new off", "write-new off"}, outcomes(report))
	b.moves(writeNew, flags.Change{Percent: 100}) // resumed
	flag, _ := b.server.Snapshot(writeNew)
	require.Equal(t, []string{acme}, flag.Environments["production"].Targets[0].Values)
	require.Equal(t, 1, flag.Environments["production"].Targets[0].Variation, "false")
}

func TestWhatStepsHaveAskedForIsTakenBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.server.Require(1)
	b.config.RequestApprovals = true
	p, err := b.provider(plan.FlagScope{Project: "shop", Environment: "production"})
	require.NoError(t, err)
	_, err = b.ledger.KeepFlag(t.Context(), "p", shop, ledger.Scope{Project: "shop", Environment: "production"}, readNew, ledger.Record{Step: "turn", Before: json.RawMessage(`{}`), Ours: json.RawMessage(`[]`)}, false)
	require.NoError(t, err)
	_, err = p.Apply(t.Context(), readNew, flags.Change{Percent: 50}, ledger.StepNote("split", "turn", "h"), nil)
	require.ErrorIs(t, err, flags.ErrApprovalRequired)
	_, err = p.Apply(t.Context(), readNew, flags.Change{Percent: 70}, "somebody else's", nil)
	require.ErrorIs(t, err, flags.ErrApprovalRequired)
	require.Len(t, b.server.Approvals(readNew), 2)

	b.config.Token = adminToken // who presses it needs no approval
	_, err = b.press()
	require.NoError(t, err)
	require.Equal(t, []string{"off", "off"}, b.now(readNew, writeNew))
	left := b.server.Approvals(readNew)
	require.Len(t, left, 1, "approved now it would turn the flag on again")
	require.Contains(t, left[0].Description, "somebody else's")
}
