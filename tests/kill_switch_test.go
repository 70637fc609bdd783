package tests

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/examples/shop/app"
	"github.com/contraflow/contraflow/internal/devstack/temporalserver"
	"github.com/contraflow/contraflow/internal/kill"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

// forever is a soak that only a person ends.
const forever = plan.Duration(time.Hour)

// presses is the kill switch pressed by a person with the worker's configuration, whether Temporal is there or not.
func (b *bundle) presses(code int, args ...string) (report kill.Report, said string) {
	b.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(b.t.Context(), binaries.cli, append([]string{"kill", b.plan.Name, "--config", "worker.yaml", "--by", "erin", "--json"}, args...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = b.folder, &stdout, &stderr
	cmd.Env = []string{"HOME=" + b.folder, "SHOP_DSN=" + b.dsn, "LD_TOKEN=" + b.secrets.flagToken, "LD_SDK_KEY=" + b.secrets.sdkKey}
	_ = cmd.Run() // its exit code tells
	said = stdout.String() + stderr.String()
	require.Equal(b.t, code, cmd.ProcessState.ExitCode(), said)
	require.NoError(b.t, json.Unmarshal(stdout.Bytes(), &report))
	return report, said
}

// reads are the shapes in which the shop serves these customers right now: "old" or "new" for each.
func (b *bundle) reads(customers ...int) (shapes []string) {
	b.t.Helper()
	stats := func() (s app.Stats) {
		response, err := http.Get(b.shop.URL + "/stats")
		require.NoError(b.t, err)
		defer func() { _ = response.Body.Close() }()
		require.NoError(b.t, json.NewDecoder(response.Body).Decode(&s))
		return s
	}
	for _, id := range customers {
		before := stats()
		response, err := http.Get(fmt.Sprintf("%s/customers/%d", b.shop.URL, id))
		require.NoError(b.t, err)
		_ = response.Body.Close()
		require.Equal(b.t, http.StatusOK, response.StatusCode)
		after := stats()
		require.Equal(b.t, int64(1), after.ReadsNew+after.ReadsOld-before.ReadsNew-before.ReadsOld, "nobody else asks this shop")
		shapes = append(shapes, map[bool]string{true: "new", false: "old"}[after.ReadsNew > before.ReadsNew])
	}
	return shapes
}

// oldShape is a row as the application writes it with its flags off.
const oldShape = `insert into customers (name, email, address) values ('Ada', 'ada@example.com', '1 Late Road')`

// fill gives rows the new shape that were written in the old one alone.
const fill = `update customers set street_number = split_part(address, ' ', 1), street = substr(address, strpos(address, ' ') + 1)
	where street is distinct from substr(address, strpos(address, ' ') + 1)`

// unproven resumes and waits for the question whether readers may come back.
func (b *bundle) unproven() {
	b.t.Helper()
	b.contraflow(0, "resume", b.plan.Name)
	b.reaches("it asks for what is missing", func(s signals.Status) bool {
		return s.State == signals.Stuck && contains(s.Needs, app.ReadNewFlag+" must be put back first", "what step prove has proved does not hold any more")
	})
	require.Equal(b.t, []int{0, 100}, []int{b.percent(app.ReadNewFlag), b.percent(app.WriteNewFlag)}, "both shapes are written, and the old one is read")
}

// midway is a migration whose shop reads in the new shape, by stages that never end by themselves.
func midway(t *testing.T, o options, rollout ...int) *bundle {
	t.Helper()
	o.shop, o.edit = true, func(p *plan.Plan) {
		f := p.Steps[p.StepIndex("read-new")].Flag
		f.Rollout, f.Soak = rollout, forever
	}
	b := setup(t, o)
	b.migrate()
	b.approve("cutover")
	b.reaches("the first stage soaks", func(s signals.Status) bool { return step(s, "read-new").Percent == rollout[0] })
	return b
}

// pausedByKill waits until the migration has found out.
func (b *bundle) pausedByKill(parts ...string) signals.Status {
	b.t.Helper()
	return b.reaches("it is paused by the kill switch", func(s signals.Status) bool {
		return s.State == signals.Paused && contains(string(must(b.t, s)), append(parts, "kill switch pressed by erin")...)
	})
}

func TestTheKillSwitchWorksWhileTemporalIsDownAndTheMigrationPausesThen(t *testing.T) {
	t.Parallel()
	server := mortal(t, temporalserver.Options{})
	b := midway(t, options{at: server}, 100)
	require.Equal(t, []string{"new", "new"}, b.reads(1, 2))

	server.Kill()
	report, _ := b.presses(0, "--reason", "orders fail")
	require.Equal(t, []string{app.ReadNewFlag, app.WriteNewFlag}, []string{report.Flags[0].Key, report.Flags[1].Key}, "readers leave first")
	require.True(t, report.Recorded && report.Running)
	require.Zero(t, b.percent(app.ReadNewFlag)+b.percent(app.WriteNewFlag))
	b.eventually("the shop serves the old shape", func() bool { return strings.Join(b.reads(1, 2), " ") == "old old" })
	b.exec(oldShape) // as the application writes now: what the guard's second check must never meet is right
	require.Equal(t, int64(1), b.count(`select count(*) from contraflow.audit where event = 'kill switch' and actor = 'erin' and detail like '%orders fail'`))

	require.NoError(t, server.Restart(t.Context()))
	b.pausedByKill("orders fail", app.ReadNewFlag, app.WriteNewFlag)
	b.statusSays("who pressed it, and why", "kill switch pressed by erin (orders fail)")
	require.Zero(t, b.percent(app.ReadNewFlag)+b.percent(app.WriteNewFlag), "nobody puts them on again")

	b.reaches("the guard watches on, without what presumes the flags", func(s signals.Status) bool {
		return s.Guard != nil && slices.Equal(s.Guard.Watching, []string{"shop answers"})
	})
	b.exec(oldShape)
	b.eventually("a second has passed", func() bool {
		return b.count(`select count(*) from customers where changed_at > now() - interval '1 s'`) == 0
	})
	require.Equal(t, signals.Paused, b.answers().State)

	b.unproven()
	require.Equal(t, []string{"old", "old"}, b.reads(1, 2))
	b.exec(fill)
	b.contraflow(0, "retry", b.plan.Name)
	b.reaches("it goes on", func(s signals.Status) bool { return s.State == signals.Running })
	require.Equal(t, []int{100, 100}, []int{b.percent(app.ReadNewFlag), b.percent(app.WriteNewFlag)})
	b.eventually("the shop serves the new shape", func() bool { return strings.Join(b.reads(1, 2), " ") == "new new" })
	b.say(signals.Rollback, signals.Request{By: "dave"})
	b.rollsBack()
	b.requireRolledBack()
}

func TestTheKillSwitchForOneContextLeavesTheOthersOn(t *testing.T) {
	t.Parallel()
	b := midway(t, options{}, 100)
	_, said := b.presses(0, "--context", "user:1")
	require.NotContains(t, said, "user:1")
	b.eventually("customer 1 is served the old shape", func() bool { return strings.Join(b.reads(1, 2, 3), " ") == "old new new" })
	b.pausedByKill("for one user")

	b.contraflow(0, "resume", b.plan.Name)
	b.reaches("it goes on", func(s signals.Status) bool { return s.State == signals.Running })
	require.Equal(t, []string{"old", "new", "new"}, b.reads(1, 2, 3), "the one stays out")
	b.say(signals.Rollback, signals.Request{By: "dave"})
	b.rollsBack()
	b.requireRolledBack()
}

func TestAKilledFlagIsNotPutOnByAStepThatIsAboutTo(t *testing.T) {
	t.Parallel()
	b := setup(t, options{edit: func(p *plan.Plan) {
		f := p.Steps[1].Flag
		f.Rollout, f.Soak = nil, plan.Duration(5*time.Millisecond)
		for percent := range 99 {
			f.Rollout = append(f.Rollout, percent+1)
		}
	}})
	b.migrate()
	b.reaches("it is among its stages", func(s signals.Status) bool { return step(s, "write-new").Percent > 3 })
	b.presses(0)
	require.Zero(t, b.percent(app.WriteNewFlag))
	s := b.pausedByKill(app.WriteNewFlag)
	require.Zero(t, b.percent(app.WriteNewFlag), "at stage %d", step(s, "write-new").Percent)
	require.Less(t, step(s, "write-new").Percent, 99)

	b.say(signals.Rollback, signals.Request{By: "dave"})
	b.rollsBack()
	b.requireRolledBack()
}

func TestBehindThePointOfNoReturnTheKillSwitchIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t, options{edit: func(p *plan.Plan) {
		p.Steps[p.StepIndex("retire")] = plan.Step{Name: "rest", Soak: new(forever)}
	}})
	b.migrate()
	b.approve("cutover")
	b.approve("contract")
	b.begins("rest")
	_, said := b.presses(1)
	require.Contains(t, said, "behind its point of no return")
	require.Equal(t, []int{100, 100}, []int{b.percent(app.ReadNewFlag), b.percent(app.WriteNewFlag)})

	b.presses(0, "--force")
	require.Zero(t, b.percent(app.ReadNewFlag)+b.percent(app.WriteNewFlag))
	b.pausedByKill()
	b.contraflow(0, "resume", b.plan.Name)
	b.eventually("both are on again", func() bool { return b.percent(app.ReadNewFlag)+b.percent(app.WriteNewFlag) == 200 })
}

func TestWhatWasWrittenWhileFlagsWereOffIsNotDropped(t *testing.T) {
	t.Parallel()
	for title, filled := range map[string]bool{"and rolls back": false, "unless it was filled": true} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			b := setup(t, options{})
			b.migrate()
			b.approve("cutover")
			b.asks("contract")
			b.presses(0)
			b.pausedByKill()
			const moves = `update customers set address = '7 Late Road' where id = 1`
			b.exec(moves) // as the application does with its flags off
			b.unproven()
			if filled {
				b.exec(fill)
				b.contraflow(0, "retry", b.plan.Name)
				b.reaches("it goes on", func(s signals.Status) bool { return s.State == signals.Waiting })
				b.approve("contract")
				require.NoError(t, b.ended(nil))
				require.Equal(t, int64(1), b.count(`select count(*) from customers where id = 1 and street = 'Late Road'`))
				return
			}
			b.say(signals.Rollback, signals.Request{By: "dave"})
			b.rollsBack()
			require.Equal(t, int64(1), b.count(`select count(*) from customers where id = 1 and address = '7 Late Road'`))
		})
	}
}
