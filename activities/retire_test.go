package activities

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

// reader is the flag service with what it says of those who ask, and of other flags, as the test has it.
type reader struct {
	flags.Provider
	mu         sync.Mutex
	status     map[string]flags.Status
	dependents map[string][]string
	elsewhere  map[string]flags.Status
	refuses    error
	looks      int
}

func (r *reader) Status(_ context.Context, key string) (flags.Status, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.looks++
	return r.status[key], r.refuses
}

func (r *reader) Elsewhere(context.Context, string) (map[string]flags.Status, error) {
	return r.elsewhere, nil
}

func (r *reader) refuse(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuses = err
}

func (r *reader) Dependents(_ context.Context, key string) ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dependents[key], nil
}

func (r *reader) says(key string, activity flags.Activity, ago time.Duration, dependents ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status[key], r.dependents[key] = flags.Status{Activity: activity}, dependents
	if ago > 0 {
		r.status[key] = flags.Status{Activity: activity, LastRequested: time.Now().Add(-ago)}
	}
}

func (r *reader) looked() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.looks
}

// begunRetiring is a plan that retires both flags, with code beside it. Both serve everybody and are launched.
func begunRetiring(t *testing.T, keys string) (*bundle, *reader, RetireInput) {
	t.Helper()
	b := setup(t)
	provider, err := b.acts.Flags(scope)
	require.NoError(t, err)
	r := &reader{Provider: provider, status: map[string]flags.Status{}, dependents: map[string][]string{}}
	b.acts.Flags = func(plan.FlagScope) (flags.Provider, error) { return r, nil }
	b.only(t, "  - {name: retire, retire: {flags: ["+writeNew+", "+readNew+"]"+keys+"}}\n")
	b.write(t, "shop/app/main.go", "package main\n")
	for _, key := range []string{writeNew, readNew} {
		b.serve(t, key, 100)
		r.says(key, flags.Launched, 5*time.Hour)
	}
	begun, err := b.begin(t, "p", "run-1")
	require.NoError(t, err)
	return b, r, RetireInput{Origin: begun.origin("retire"), Scope: scope, Retire: *begun.Plan.Steps[0].Retire}
}

func (b *bundle) mayRetire(t *testing.T, in RetireInput, c call) (Retirable, error) {
	t.Helper()
	return run[Retirable](t, b, b.acts.MayRetire, in, c)
}

func TestFlagsThatNobodyNeedsMayBeRetired(t *testing.T) {
	t.Parallel()
	b, r, in := begunRetiring(t, ", code: [app]")
	may, err := b.mayRetire(t, in, call{})
	require.NoError(t, err)
	require.Equal(t, []string{
		"flag " + writeNew + " is launched, asked for 5 h ago: who still asks is served the fallback in its own code from then on",
		"flag " + readNew + " is launched, asked for 5 h ago: who still asks is served the fallback in its own code from then on",
	}, may.Notes)

	r.says(writeNew, flags.Inactive, 8*24*time.Hour)
	r.says(readNew, flags.Unknown, 0)
	may, err = b.mayRetire(t, in, call{})
	require.NoError(t, err)
	require.Equal(t, []string{"the flag service hears nothing of who asks for flag " + readNew}, may.Notes)
	b.instruct(t, readNew, `{"kind": "turnFlagOff"}`)
	_, err = b.mayRetire(t, in, call{})
	require.NoError(t, err, "off is one value for everybody")
}

func TestAllThatIsInTheWayIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	b, r, in := begunRetiring(t, ", code: [app]")
	b.write(t, "shop/app/store.go", "package main\n\nconst flag = \""+writeNew+"\" // "+rowMarker+"\n")
	b.serve(t, writeNew, 50)
	r.says(writeNew, flags.Active, 3*time.Hour, "checkout", "search")
	r.says(readNew, flags.New, 0)
	_, err := b.mayRetire(t, in, call{})
	requirePermanent(t, err, "InUse")
	var failure *temporal.ApplicationError
	require.ErrorAs(t, err, &failure)
	require.Equal(t, strings.Join([]string{
		`flag customers-write-new is "on: 50 % true": it still serves both values, and archiving it would switch some users over; finish its rollout first`,
		"flag customers-write-new is active, asked for 3 h ago: take it out of the application, or wait until the flag service calls it launched or inactive",
		"flag customers-write-new is a prerequisite of checkout, search: take it out of their prerequisites, or retire them first",
		"flag customers-read-new is new, never asked for: see that the application evaluates it in this environment, or wait until the flag service calls it inactive",
		"flag customers-write-new stands in the code (shop/app/store.go:3): take it out there, and deploy that",
	}, "\n"), failure.Message())
	require.Equal(t, 2, r.looked(), "one look at each")
}

func TestExceptionsAreInTheWay(t *testing.T) {
	t.Parallel()
	b, _, in := begunRetiring(t, "")
	b.except(t, readNew, "target", 1)
	_, err := b.mayRetire(t, in, call{})
	requirePermanent(t, err, "InUse", readNew, "1 target", "take that out of its targeting first")
}

func TestRetiringWaitsUntilNothingIsInTheWay(t *testing.T) {
	t.Parallel()
	b, r, in := begunRetiring(t, ", code: [app], otherwise: wait")
	b.write(t, "shop/app/store.go", writeNew)
	r.says(readNew, flags.Active, 4*time.Hour)
	var heard story
	wait := background(func() error {
		_, err := b.mayRetire(t, in, call{onAir: heard.hear(t)})
		return err
	})
	require.Eventually(t, func() bool { return strings.Contains(heard.told(), "until its flags can be retired: ") }, patience, look)
	require.Contains(t, heard.told(), "is active, asked for 4 h ago")
	require.Contains(t, heard.told(), "; flag "+writeNew+" stands in the code (shop/app/store.go:1)")
	b.write(t, "shop/app/store.go", "")
	r.says(readNew, flags.Inactive, 8*24*time.Hour)
	require.NoError(t, wait())
}

func TestAWorkerThatStopsLeavesTheWaitingToAnother(t *testing.T) {
	t.Parallel()
	b, r, in := begunRetiring(t, ", otherwise: wait")
	r.says(readNew, flags.Active, time.Second)
	stop := make(chan struct{})
	var once sync.Once
	_, err := b.mayRetire(t, in, call{stop: stop, onAir: func(raw json.RawMessage) {
		if strings.Contains(string(raw), "until its flags") {
			once.Do(func() { close(stop) })
		}
	}})
	require.Equal(t, time.Millisecond, requireRetryable(t, err, errStopping.Error()))
}

func TestAWaitThatOutlastsItsAttemptSaysWhatItWaitsFor(t *testing.T) {
	t.Parallel()
	b, r, in := begunRetiring(t, ", otherwise: wait")
	r.says(readNew, flags.Active, time.Second)
	ctx, cancel := context.WithTimeout(t.Context(), retireMargin-time.Second)
	defer cancel()
	var told []string
	_, err := b.acts.mayRetire(ctx, in, func(text string) { told = append(told, text) })
	require.Equal(t, retireSoon, requireRetryable(t, err, readNew+" is active"))
	require.Len(t, told, 1)
}

func TestAFlagThatIsArchivedIsNotInTheWay(t *testing.T) {
	t.Parallel()
	b, r, in := begunRetiring(t, ", code: [app]")
	b.write(t, "shop/app/store.go", writeNew)
	r.says(writeNew, flags.Active, time.Second, "checkout")
	b.patch(t, writeNew, `{"instructions": [{"kind": "archiveFlag"}]}`)
	_, err := b.mayRetire(t, in, call{})
	require.NoError(t, err, "a run before this one has got so far")
}

func TestNobodyWaitsForAFlagThatIsGone(t *testing.T) {
	t.Parallel()
	b, _, in := begunRetiring(t, ", otherwise: wait")
	b.rest(t, "DELETE", "/api/v2/flags/shop/"+writeNew, "")
	_, err := b.mayRetire(t, in, call{})
	requirePermanent(t, err, "InUse", writeNew, "gone from the flag service", "go on with force")
	gone := FlagInput{Origin: in.Origin, Scope: scope, Key: writeNew}
	requirePermanent(t, b.retire(t, gone), "Flag", writeNew)
	gone.Force = true
	require.NoError(t, b.retire(t, gone))
}

func TestCodeThatCannotBeLookedIntoIsInTheWay(t *testing.T) {
	t.Parallel()
	b, _, in := begunRetiring(t, ", code: [app]")
	b.remove(t, "shop/app")
	_, err := b.mayRetire(t, in, call{})
	requirePermanent(t, err, "InUse", "whether the code still names the flags can't be seen", "folder shop/app")
	b.write(t, "shop/app/.git/index", "") // a checkout that is being renewed
	_, err = b.mayRetire(t, in, call{})
	requirePermanent(t, err, "InUse", "no file of code was found in shop/app")
	b.write(t, "shop/app/main.go", "package main")
	b.link(t, "../lib", "shop/app/lib")
	b.write(t, "shop/lib/lib.go", writeNew)
	_, err = b.mayRetire(t, in, call{})
	requirePermanent(t, err, "InUse", "shop/app/lib leads to shop/lib, where nobody has looked")
	b.remove(t, "shop/plan.yaml")
	_, err = b.mayRetire(t, in, call{})
	requirePermanent(t, err, "InUse", "can't be seen: the worker knows no plan")
	require.NotContains(t, err.Error(), "retryable: false)\n")
	require.NotContains(t, err.Error(), "UnknownPlan")
}

func TestMigrationFlagsServeOneStage(t *testing.T) {
	t.Parallel()
	for title, c := range map[string]struct {
		now flags.State
		err error // of a percentage
		say string
	}{
		"one stage":             {flags.State{On: true, Stage: flags.StageComplete}, flags.ErrNotBoolean, ""},
		"off":                   {flags.State{}, flags.ErrNotBoolean, ""},
		"several stages":        {flags.State{On: true, Summary: "on: several"}, flags.ErrNotBoolean, `"on: several": it still serves several stages`},
		"a boolean one, false":  {flags.State{On: true}, nil, ""},
		"one stage and targets": {flags.State{On: true, Stage: flags.StageLive, Exceptions: []string{"2 targets"}}, flags.ErrNotBoolean, "(2 targets)"},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			said, err := servesSeveral(t.Context(), percentages{err: c.err}, c.now)
			require.NoError(t, err)
			require.Equal(t, c.say == "", said == "")
			require.Contains(t, said, c.say)
		})
	}
	broken := errors.New("unreachable")
	_, err := servesSeveral(t.Context(), percentages{err: broken}, flags.State{On: true})
	require.ErrorIs(t, err, broken)
}

// percentages answers whether a flag takes any.
type percentages struct {
	flags.Provider
	err error
}

func (p percentages) Preview(context.Context, string, flags.Change) (flags.State, error) {
	return flags.State{}, p.err
}

func TestAPlanIsRefusedWhoseCodeIsNotThere(t *testing.T) {
	t.Parallel()
	for title, c := range map[string]struct {
		code  string
		parts []string
	}{
		"missing":            {"app", []string{"step retire", "no folder shop/app below the worker's plan root", "retire.code"}},
		"a file":             {"plan.yaml", []string{"no folder shop/plan.yaml"}},
		"a way out":          {"out", []string{"no folder shop/out"}},
		"the plan's own":     {"./", []string{"where the plan itself lies"}},
		"one of two missing": {"migrations, app", []string{"no folder shop/app"}},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.link(t, t.TempDir(), "shop/out")
			b.only(t, "  - {name: retire, retire: {flags: ["+writeNew+"], code: ["+c.code+"]}}\n")
			_, err := b.begin(t, "p", "run-1")
			requirePermanent(t, err, "BadPlan", c.parts...)
			b.untouched(t)
		})
	}
}

func TestAPlanWithoutAPlaceHasNoCodeBesideIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	whole := `{"name": "elsewhere", "database": "shop", "flags": {"project": "shop", "environment": "production"},
		"steps": [{"name": "retire", "retire": {"flags": ["` + writeNew + `"], "code": ["shop"]}}]}`
	_, err := b.beginWith(t, signals.Input{Document: json.RawMessage(whole)}, "run-1")
	requirePermanent(t, err, "BadPlan", "step retire", "put the plan below the worker's plan root", `no plan "elsewhere"`)
	b.untouched(t)
	b.write(t, "elsewhere.json", whole)
	_, err = b.beginWith(t, signals.Input{Document: json.RawMessage(whole)}, "run-1")
	require.NoError(t, err)
}
