package tests

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/examples/shop/app"
	"github.com/contraflow/contraflow/internal/devstack/flagserver"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

const together = "orders-write-new"

func TestFlagsThatMoveTogetherServeTheNamedFirstAndGoBackTogether(t *testing.T) {
	t.Parallel()
	b := setup(t, options{edit: func(p *plan.Plan) {
		f := p.Steps[p.StepIndex("write-new")].Flag
		f.Key, f.Keys = "", []string{app.WriteNewFlag, together}
		f.Targets = map[string][]string{"account": {"acme", "globex"}}
		f.Rollout, f.Soak = []int{0, 50, 100}, 20*short
		f.Create = &plan.Create{Description: "orders in two shapes", Tags: []string{"contraflow"}}
	}})
	b.migrate()
	named := func(key string) bool {
		e := b.flagNow(key).Environments["production"]
		return e.On && len(e.ContextTargets) == 1 && slices.Equal(e.ContextTargets[0].Values, []string{"acme", "globex"}) && b.percent(key) == 0
	}
	b.eventually("the named alone are served both", func() bool {
		_, made := b.flags.Snapshot(together)
		return made && named(app.WriteNewFlag) && named(together)
	})
	b.asks("cutover")
	for _, key := range []string{app.WriteNewFlag, together} {
		require.Equal(t, 100, b.percent(key), key)
	}
	for _, m := range b.chat.Messages() {
		require.NotContains(t, m.Text+string(must(t, m.Blocks)), "globex", "the chat hears how many are named, not whom")
	}

	b.say(signals.Rollback, signals.Request{By: "dave"})
	b.rollsBack()
	b.requireRolledBack()
	made := b.flagNow(together)
	require.False(t, made.Environments["production"].On, "what was made is off, and there")
	require.Empty(t, made.Environments["production"].ContextTargets)
	require.False(t, made.Archived)
}

func TestAMigrationFlagGoesThroughItsStages(t *testing.T) {
	t.Parallel()
	const key = "customers-address"
	stage := func(name string, stages ...string) plan.Step {
		return plan.Step{Name: name, Flag: &plan.Flag{Key: key, Stages: stages, Soak: short, Create: &plan.Create{}}}
	}
	b := setup(t, options{edit: func(p *plan.Plan) {
		p.Steps[p.StepIndex("write-new")] = stage("write-new", "dualwrite")
		p.Steps[p.StepIndex("read-new")] = stage("read-new", "shadow", "live")
		p.Steps[p.StepIndex("drop-old")] = stage("end", "rampdown", "complete")
		p.Steps = p.Steps[:p.StepIndex("end")+1]
	}})
	b.migrate()
	serves := func() string {
		f := b.flagNow(key)
		e := f.Environments["production"]
		if !e.On {
			return "off"
		}
		for _, w := range e.Fallthrough.Rollout.Variations { // cohorts: migration flags have no other default rule
			if w.Weight == 100_000 {
				return f.Variations[w.Variation].Value.(string)
			}
		}
		return "several"
	}
	b.asks("cutover")
	require.Equal(t, "dualwrite", serves())
	b.approve("cutover")
	s := b.asks("contract")
	require.Equal(t, "live", serves())
	require.Contains(t, step(s, "read-new").Detail, "live")
	b.approve("contract")
	b.reaches("it is completed", func(s signals.Status) bool { return s.State == signals.Completed })
	require.Equal(t, "complete", serves())
}

func TestAPlanWhoseFlagIsOfTheOtherKindIsRefusedAtItsStart(t *testing.T) {
	t.Parallel()
	b := setup(t, options{edit: func(p *plan.Plan) {
		f := p.Steps[p.StepIndex("read-new")].Flag
		f.Rollout, f.Stages = nil, []string{"live"}
	}})
	b.migrate()
	require.ErrorContains(t, b.ended(nil), app.ReadNewFlag)
	b.requireUnchanged()
}

// changedByAStranger is a migration that is stuck at write-new behind its first stage, because somebody has set 33 %.
func changedByAStranger(t *testing.T) (b *bundle, strangers flagserver.Flag) {
	b = setup(t, options{edit: func(p *plan.Plan) {
		p.Steps[1].Flag.Rollout = []int{10, 100}
		p.Steps[1].Flag.Soak = 80 * short // the stranger comes meanwhile
	}})
	b.migrate()
	b.reaches("the first stage soaks", func(s signals.Status) bool { return step(s, "write-new").Percent == 10 })
	b.setPercent(app.WriteNewFlag, 33)
	strangers = b.flagNow(app.WriteNewFlag)
	s := b.requireAsksAbout(app.WriteNewFlag, strangers)
	require.Contains(t, s.Needs, "10 %", "what the migration has left")
	require.Contains(t, s.Needs, "33 %", "what it is")
	require.Contains(t, s.Needs, "force")
	return b, strangers
}

func TestAStrangersChangeIsGoneOnFromByForce(t *testing.T) {
	t.Parallel()
	b, _ := changedByAStranger(t)
	b.contraflow(0, "force", b.plan.Name, "--reason", "bob agrees")
	b.asks("cutover")
	require.Equal(t, 100, b.percent(app.WriteNewFlag))
	b.say(signals.Rollback, signals.Request{By: "dave"})
	b.rollsBack()
	b.requireRolledBack()
}

func TestAStrangersChangeStaysWhereTheStageIsSkipped(t *testing.T) {
	t.Parallel()
	b, strangers := changedByAStranger(t)
	b.contraflow(0, "skip", b.plan.Name)
	s := b.asks("cutover")
	require.Equal(t, strangers, b.flagNow(app.WriteNewFlag))
	require.Equal(t, signals.StepSkipped, step(s, "write-new").State)
}

func TestAStrangersChangeThatIsPutBackIsRetried(t *testing.T) {
	t.Parallel()
	b, _ := changedByAStranger(t)
	b.setPercent(app.WriteNewFlag, 10)
	b.contraflow(0, "retry", b.plan.Name)
	b.asks("cutover")
	require.Equal(t, 100, b.percent(app.WriteNewFlag))
}

// setPercent changes a flag as a person in LaunchDarkly's UI would.
func (b *bundle) setPercent(key string, percent int) {
	b.t.Helper()
	flag, _ := b.flags.Snapshot(key)
	b.patchFlag(key, map[string]any{"kind": "updateFallthroughVariationOrRollout", "rolloutContextKind": "user",
		"rolloutWeights": map[string]int{flag.Variations[0].ID: percent * 1000, flag.Variations[1].ID: 100_000 - percent*1000}})
}
