package activities

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
)

// frozen is a provider whose process is stopped once: before it reads the flag that it is to change, or right before the change.
type frozen struct {
	flags.Provider
	beforeRead, beforeChange func()
}

func (f *frozen) Apply(ctx context.Context, key string, c flags.Change, note string, still flags.Still) (flags.State, error) {
	once(&f.beforeRead)
	return f.Provider.Apply(ctx, key, c, note, func(ctx context.Context, found flags.State) error {
		once(&f.beforeChange)
		return still(ctx, found)
	})
}

func (f *frozen) Restore(
	ctx context.Context, key string, before, ours flags.State, note string, still flags.Still,
) (flags.State, error) {
	once(&f.beforeRead)
	return f.Provider.Restore(ctx, key, before, ours, note, func(ctx context.Context, found flags.State) error {
		once(&f.beforeChange)
		return still(ctx, found)
	})
}

func once(do *func()) {
	if meanwhile := *do; meanwhile != nil {
		*do = nil
		meanwhile()
	}
}

func TestAnAttemptThatWasFrozenLeavesTheFlagToItsCompensation(t *testing.T) {
	t.Parallel()
	for _, stage := range []int{10, 50} {
		for title, freeze := range map[string]func(*frozen, func()){
			"before it reads":   func(f *frozen, meanwhile func()) { f.beforeRead = meanwhile },
			"before it changes": func(f *frozen, meanwhile func()) { f.beforeChange = meanwhile },
		} {
			for crashed, crash := range map[string]bool{"compensation is over": false, "compensation has begun": true} {
				t.Run(title+", "+crashed, func(t *testing.T) {
					t.Parallel()
					b, begun := begunShop(t)
					before := b.configuration(t, writeNew)
					if stage == 50 {
						_, err := b.apply(t, begun.flag("write-new", writeNew, 10))
						require.NoError(t, err)
					}
					found := b.configuration(t, writeNew)
					m := b.mortal(t)
					late := &frozen{Provider: m.Provider}
					m.Provider = late
					freeze(late, func() {
						if crash {
							m.before = "Restore"
						}
						_, err := b.restore(t, begun.flag("write-new", writeNew, 0))
						require.Equal(t, crash, err != nil)
					})
					_, err := b.apply(t, begun.flag("write-new", writeNew, stage))
					requirePermanent(t, err, "Superseded", "comes too late and changed nothing")
					if crash {
						require.Equal(t, found, b.configuration(t, writeNew))
						_, err = b.restore(t, begun.flag("write-new", writeNew, 0))
						require.NoError(t, err)
					}
					require.Equal(t, before, b.configuration(t, writeNew))
					require.Zero(t, one[int](t, b, "select count(*)::int from contraflow.flag_record"))
				})
			}
		}
	}
}

// The rollback that was frozen has ended without it, and the plan's next run has brought the flag to the very state that it would undo.
func TestARestoreThatWasFrozenLeavesTheFlagToThePlansNextRun(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	in := begun.flag("write-new", writeNew, 10)
	_, err := b.apply(t, in)
	require.NoError(t, err)
	m := b.mortal(t)
	late := &frozen{Provider: m.Provider}
	late.beforeChange = func() {
		_, err := b.restore(t, in)
		require.NoError(t, err)
		b.acts.Alive = dead
		next, err := b.begin(t, shopPlan, "run-2")
		require.NoError(t, err)
		again := next.flag("write-new", writeNew, 10)
		again.Origin.FirstRun = "run-2"
		_, err = b.apply(t, again)
		require.NoError(t, err)
	}
	m.Provider = late
	_, err = b.restore(t, in)
	requirePermanent(t, err, "Superseded", "comes too late and changed nothing")
	require.Equal(t, 10, b.percent(t, writeNew))
}

func TestAStrangerBetweenOurReadingAndOurChangeIsNotOverwritten(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	m := b.mortal(t)
	late := &frozen{Provider: m.Provider}
	late.beforeRead = func() { b.instruct(t, writeNew, `{"kind": "turnFlagOn"}`) }
	m.Provider = late
	_, err := b.apply(t, begun.flag("write-new", writeNew, 10))
	requirePermanent(t, err, "Stranger", writeNew, "100 %", "changed by someone else (the default rule serves something else)")
	require.Equal(t, 100, b.percent(t, writeNew))
}

// Who makes the very change, and leaves one out, leaves a provider nothing to change, and so nobody to ask.
func TestAStrangerWhoMakesTheChangeAndLeavesOneOutIsSeen(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	m := b.mortal(t)
	late := &frozen{Provider: m.Provider}
	late.beforeRead = func() {
		b.instruct(t, writeNew, `{"kind": "turnFlagOn"}`) // it serves 100 %
		b.except(t, writeNew, "target", 1)
	}
	m.Provider = late
	_, err := b.apply(t, begun.flag("write-new", writeNew, 100))
	requirePermanent(t, err, "Stranger", writeNew, "changed by someone else")
	require.False(t, b.served(t, writeNew))
}

// The frozen one is the last to write the record then, and the other, which is still at it, must not fail the migration.
func TestAnAttemptWhoseRecordAnotherHasWrittenIsTriedAgain(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	_, err := b.apply(t, begun.flag("write-new", writeNew, 10))
	require.NoError(t, err)
	m := b.mortal(t)
	late := &frozen{Provider: m.Provider}
	late.beforeChange = func() {
		m.Provider = late.Provider
		b.press(t, "run-1", theCustomer)
		_, err := b.apply(t, begun.flag("write-new", writeNew, 50))
		require.NoError(t, err)
	}
	m.Provider = late
	_, err = b.apply(t, begun.flag("write-new", writeNew, 50))
	requireRetryable(t, err, writeNew, "came too late")
	_, err = b.apply(t, begun.flag("write-new", writeNew, 50))
	require.NoError(t, err)
	require.Equal(t, 50, b.percent(t, writeNew))
}
