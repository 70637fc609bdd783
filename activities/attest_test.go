package activities

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/harness"
	"github.com/contraflow/contraflow/internal/devstack/harnessserver"
	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/plan"
)

// longAlive is how long an instance counts as alive that a test has let report once.
const longAlive = plan.Duration(time.Hour)

// reports is what an instance of the application says of the flag.
func (b *bundle) reports(t *testing.T, instance string, version int, value string) {
	t.Helper()
	b.exec(t, "select contraflow.attest($1, jsonb_build_object($2::text, jsonb_build_object('version', $3::int, 'value', nullif($4::text, ''))))",
		instance, writeNew, version, value)
}

func (b *bundle) falls(t *testing.T, instance string) {
	t.Helper()
	b.exec(t, "update contraflow.attestation set at = at - interval '25 h' where instance = $1", instance)
}

func (b *bundle) serving(t *testing.T) int {
	t.Helper()
	flag, ok := b.flagd.Snapshot(writeNew)
	require.True(t, ok)
	return flag.Environments["production"].Version
}

// attesting begins a stage that waits for instances, and returns once it does.
func attesting(t *testing.T, percent, instances int, reported ...string) (b *bundle, heard *story, wait func() error, in FlagInput) {
	t.Helper()
	b, begun := begunShop(t)
	for _, instance := range reported {
		b.reports(t, instance, 1, "false")
	}
	in = begun.flag("write-new", writeNew, percent)
	in.Attest = &plan.Attest{Within: longAlive, Instances: instances}
	heard = new(story)
	wait = background(func() error {
		_, err := run[FlagNow](t, b, b.acts.ApplyFlag, in, call{onAir: heard.hear(t)})
		return err
	})
	return b, heard, wait, in
}

func (s *story) hears(t *testing.T, part string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(s.told(), part) }, patience, look, "%s", part)
}

func TestAStageWaitsForEveryInstanceThatIsAliveAndNamesThem(t *testing.T) {
	t.Parallel()
	b, heard, wait, _ := attesting(t, 10, 2, "shop-1", "shop-2")
	heard.hears(t, "flag "+writeNew+" waits for 2 of 2 instances: shop-1 (version 1, ")
	require.Equal(t, 10, b.percent(t, writeNew), "the flag is changed already")
	b.reports(t, "shop-1", b.serving(t), "")
	b.reports(t, "other", b.serving(t)+3, "")
	b.falls(t, "other")
	heard.hears(t, "waits for 1 of 2 instances: shop-2 (version 1, ")
	b.reports(t, "shop-2", b.serving(t)+1, "") // a later version has seen this one
	require.NoError(t, wait())
	require.Equal(t, 1, one[int](t, b, `select count(*)::int from contraflow.audit where event = 'flag attested' and detail = $1`,
		fmt.Sprintf("%s version %d by shop-1, shop-2", writeNew, b.serving(t))))
}

func TestAnInstanceThatDiesIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	b, heard, wait, _ := attesting(t, 10, 0, "shop-1", "shop-2", "shop-3")
	heard.hears(t, "waits for 3 of 3 instances")
	b.reports(t, "shop-1", b.serving(t), "")
	b.falls(t, "shop-2")
	b.exec(t, "select contraflow.attest('shop-3', '{}')") // it has said goodbye
	require.NoError(t, wait())
}

func TestAStageThatTheFlagIsBeyondAlreadyIsAttestedToo(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	b.reports(t, "shop-1", 1, "false")
	b.serve(t, writeNew, 60) // somebody, a moment ago
	version := b.serving(t)
	in := begun.flag("write-new", writeNew, 50)
	in.Attest = &plan.Attest{Within: longAlive}
	var heard story
	wait := background(func() error {
		_, err := run[FlagNow](t, b, b.acts.ApplyFlag, in, call{onAir: heard.hear(t)})
		return err
	})
	heard.hears(t, "waits for 1 of 1 instances: shop-1 (version 1, ")
	require.Equal(t, version, b.serving(t), "nothing is changed")
	b.reports(t, "shop-1", version, "")
	require.NoError(t, wait())
	require.Equal(t, 60, b.percent(t, writeNew))
}

func TestAStageThatTheFlagIsBeyondIsAttestedByTheVersionThatApplicationsSee(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	server := harnessserver.New(harnessserver.Options{Project: "shop", APIKey: apiToken, SDKKey: sdkKey, SDKVersions: 100})
	require.NoError(t, server.Start("127.0.0.1:0"))
	t.Cleanup(func() { _ = server.Close() })
	server.CreateFlag(writeNew)
	provider, err := harness.New(harness.Config{APIURL: server.AdminURL(), SDKURL: server.SDKURL(), APIKey: apiToken, SDKKey: sdkKey,
		Account: "account", Organization: "default", Project: "shop", Environment: "production"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = provider.Close() })
	b.acts.Flags = func(plan.FlagScope) (flags.Provider, error) { return provider, nil }
	stands, err := provider.Apply(t.Context(), writeNew, flags.Change{Percent: 60}, "somebody", nil)
	require.NoError(t, err)
	require.Greater(t, stands.SeenAs(), stands.Version)
	b.reports(t, "shop-1", stands.SeenAs()-1, "")
	in := begun.flag("write-new", writeNew, 50)
	in.Attest = &plan.Attest{Within: longAlive}
	var heard story
	wait := background(func() error {
		_, err := run[FlagNow](t, b, b.acts.ApplyFlag, in, call{onAir: heard.hear(t)})
		return err
	})
	heard.hears(t, fmt.Sprintf("waits for 1 of 1 instances: shop-1 (version %d, ", stands.SeenAs()-1))
	b.reports(t, "shop-1", stands.SeenAs(), "")
	require.NoError(t, wait())
}

func TestWhatEverybodyIsServedMustBeAttestedToo(t *testing.T) {
	t.Parallel()
	b, heard, wait, _ := attesting(t, 100, 1, "shop-1")
	heard.hears(t, "shop-1 (version 1, ")
	b.reports(t, "shop-1", b.serving(t), "false")
	heard.hears(t, fmt.Sprintf("shop-1 (version %d, but false, ", b.serving(t)))
	b.reports(t, "shop-1", b.serving(t), "true")
	require.NoError(t, wait())
}

func TestSilenceIsNoConsent(t *testing.T) {
	t.Parallel()
	b, heard, wait, _ := attesting(t, 10, 2)
	heard.hears(t, "no instance has reported flag "+writeNew+" within 1h0m0s: let the application attest it")
	b.reports(t, "shop-1", b.serving(t), "")
	heard.hears(t, "waits for 1 more of 2 instances: only shop-1 report")
	b.reports(t, "shop-2", 0, "")
	heard.hears(t, "waits for 1 of 2 instances: shop-2 (does not know the flag, ")
	b.reports(t, "shop-2", b.serving(t), "")
	require.NoError(t, wait())
}

// ending is the context of an attempt that is about to time out, for as long as the test takes.
type ending struct{ context.Context }

func (ending) Deadline() (time.Time, bool) { return time.Now().Add(attestMargin / 2), true }

func TestAWaitForInstancesGoesOnOverAttempts(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	b.reports(t, "shop-1", 1, "false")
	in := begun.flag("write-new", writeNew, 10)
	in.Attest = &plan.Attest{Within: longAlive}
	attempt := func(ctx context.Context, stop chan struct{}) error {
		_, err := run[FlagNow](t, b, b.acts.ApplyFlag, in, call{ctx: ctx, stop: stop})
		return err
	}
	stop := make(chan struct{})
	close(stop)
	require.Equal(t, time.Millisecond, requireRetryable(t, attempt(t.Context(), stop), "another goes on"))
	version := b.serving(t)
	require.Equal(t, 10, b.percent(t, writeNew))

	// The last look of an attempt that is about to time out.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := awaitAttested(ending{ctx}, b.acts.Databases["shop"], in, flags.State{Version: version})
	require.Equal(t, attestPoll, requireRetryable(t, fail(ctx, err), "waits for 1 of 1 instances: shop-1 (version 1, "))

	wait := background(func() error { return attempt(ctx, nil) })
	cancel()
	require.Error(t, wait(), "who is cancelled waits for nobody")

	b.reports(t, "shop-1", version, "")
	require.NoError(t, attempt(t.Context(), nil))
	require.Equal(t, version, b.serving(t), "the flag is changed once")
}

func TestAFlagThatIsPutBackIsAttestedToo(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	in := begun.flag("write-new", writeNew, 10)
	_, err := b.apply(t, in)
	require.NoError(t, err)
	b.reports(t, "shop-1", b.serving(t), "")
	in.Attest = &plan.Attest{Within: longAlive}
	var heard story
	wait := background(func() error {
		_, err := run[FlagNow](t, b, b.acts.RestoreFlag, in, call{onAir: heard.hear(t)})
		return err
	})
	heard.hears(t, "waits for 1 of 1 instances: shop-1")
	require.Equal(t, -1, b.percent(t, writeNew))
	b.reports(t, "shop-1", b.serving(t), "false")
	require.NoError(t, wait())
}

// outage has the three instances of the shop report, and then be silent for a while in which the database was away.
func (b *bundle) outage(t *testing.T, version int) {
	t.Helper()
	for _, instance := range []string{"shop-1", "shop-2", "shop-3"} {
		b.reports(t, instance, version, "")
	}
	b.exec(t, "update contraflow.attestation set at = at - interval '91 s'")
}

func TestAStageBehindAnOutageWaitsForThoseThatAreNotHeardAgainYet(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	b.outage(t, 1)
	b.reports(t, "shop-1", 99, "") // the first one back
	in := begun.flag("write-new", writeNew, 100)
	in.Attest = &plan.Attest{Within: plan.Duration(90 * time.Second)}
	var heard story
	wait := background(func() error {
		_, err := run[FlagNow](t, b, b.acts.ApplyFlag, in, call{onAir: heard.hear(t)})
		return err
	})
	heard.hears(t, "waits for 2 of 3 instances: shop-2 (silent for 1m")
	b.reports(t, "shop-2", 1, "")
	heard.hears(t, "waits for 2 of 3 instances: shop-2 (version 1, ")
	b.exec(t, "select contraflow.attest('shop-2', '{}')")
	b.reports(t, "shop-3", b.serving(t), "")
	require.NoError(t, wait())
}

func TestARollbackBehindAnOutageWaitsForThoseThatAreNotHeardAgainYet(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	in := begun.flag("write-new", writeNew, 100)
	_, err := b.apply(t, in)
	require.NoError(t, err)
	b.outage(t, b.serving(t))
	in.Attest = &plan.Attest{Within: plan.Duration(90 * time.Second), Instances: 3}
	var heard story
	wait := background(func() error {
		_, err := run[FlagNow](t, b, b.acts.RestoreFlag, in, call{onAir: heard.hear(t)})
		return err
	})
	heard.hears(t, "waits for 3 of 3 instances: shop-1 (silent for 1m")
	for _, instance := range []string{"shop-1", "shop-2", "shop-3"} {
		b.reports(t, instance, b.serving(t), "false")
	}
	require.NoError(t, wait())
}

func TestARollbackWaitsNoLongerThanWithinForAnApplicationThatIsDown(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	in := begun.flag("write-new", writeNew, 10)
	_, err := b.apply(t, in)
	require.NoError(t, err)
	b.outage(t, b.serving(t))
	in.Attest = &plan.Attest{Within: plan.Duration(2 * time.Second), Instances: 3}
	_, err = b.restore(t, in)
	require.NoError(t, err)
	require.Equal(t, -1, b.percent(t, writeNew))
	const times = `select extract(epoch from max(at) filter (where event = 'flag attested') - max(at) filter (where event = 'flag awaits instances'))::float8 from contraflow.audit`
	require.GreaterOrEqual(t, one[float64](t, b, times), 2.0)
}

func TestOnlySoManyInstancesAreNamed(t *testing.T) {
	t.Parallel()
	var alive []ledger.Attestation
	for i := range 17 {
		alive = append(alive, ledger.Attestation{Instance: fmt.Sprintf("shop-%02d", i), Version: 11, Age: 3400 * time.Millisecond})
	}
	alive[1].Version = 12
	w := attestWait{key: "k", version: 12, within: time.Minute, instances: 20}
	require.Equal(t, "flag k waits for 16 of 17 instances: shop-00 (version 11, 3s ago), shop-02 (version 11, 3s ago), "+
		"shop-03 (version 11, 3s ago), shop-04 (version 11, 3s ago), shop-05 (version 11, 3s ago) and 11 more; and for 3 more to report it", w.missing(alive))
}

func TestAValueIsAskedForWhereEverybodyIsServedIt(t *testing.T) {
	t.Parallel()
	for want, states := range map[string][]flags.State{
		"true":   {{On: true, Percent: 100}},
		"shadow": {{On: true, Stage: flags.StageShadow}},
		"off":    {{Stage: flags.StageOff}},
		"": {{On: true, Percent: 10}, {On: true}, {}, {On: true, Percent: 100, Exceptions: []string{"1 rule"}},
			{On: true, Stage: flags.StageLive, Exceptions: []string{"1 rule"}}},
	} {
		for _, s := range states {
			require.Equal(t, want, servedToEverybody(s), "%+v", s)
		}
	}
}

func TestTextsOfApplicationsSteerNoTerminal(t *testing.T) {
	t.Parallel()
	w := attestWait{key: "k", version: 2, value: "true", within: time.Minute, instances: 1}
	require.Equal(t, "flag k waits for 1 of 1 instances: shop1-pohs (version 2, but [2Jé done, 0s ago)",
		w.missing([]ledger.Attestation{{Instance: "shop\u202e1-pohs", Version: 2, Value: "\x1b[2Jé \n\u009bdone"}}))
}

func TestWhoDoesNotKnowTheFlagAttestsNothing(t *testing.T) {
	t.Parallel()
	w := attestWait{key: "k", version: 0, within: time.Minute, instances: 1} // such as in a file without versions
	require.Contains(t, w.missing([]ledger.Attestation{{Instance: "shop-1"}}), `flag k has no version that instances could report: give it one`)
	require.Empty(t, w.missing([]ledger.Attestation{{Instance: "shop-1", Version: 1}}), "somebody has given it one")
}
