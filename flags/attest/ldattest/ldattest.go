// Package ldattest tells package attest what the server SDK of LaunchDarkly evaluates, whatever it gets its flags from: the
// stream, a Relay Proxy, or the file source that package flagfile writes for. In daemon mode (ExternalUpdatesOnly) the state of
// all flags is newer than what is evaluated, by up to the lifetime of the persistent store's cache: soak longer than that.
package ldattest

import (
	"context"

	"github.com/launchdarkly/go-sdk-common/v3/ldcontext"
	"github.com/launchdarkly/go-sdk-common/v3/ldreason"
	"github.com/launchdarkly/go-sdk-common/v3/ldvalue"
	ldclient "github.com/launchdarkly/go-server-sdk/v7"
	"github.com/launchdarkly/go-server-sdk/v7/interfaces/flagstate"

	"github.com/contraflow/contraflow/flags/attest"
)

// Source of a client's flags, which stays the caller's to close, behind the Attester. It asks for the state of all flags of one
// anonymous context, of which LaunchDarkly hears nothing: it is no evaluation, and whether a flag is in use stays what the
// application makes it. The work is the SDK's evaluation of each flag of the environment: some 30 µs for a hundred (BenchmarkSee).
func Source(client *ldclient.LDClient) attest.Watcher { return source{client} }

type source struct{ client *ldclient.LDClient }

// nobody is the context that is asked for.
var nobody = ldcontext.NewBuilder("contraflow-attest").Anonymous(true).Build()

// See tells versions as the SDK has them. A value is what everybody is served only where the flag is off: that a flag is on,
// and has served its default rule, doesn't tell whether that rule is a rollout.
func (s source) See(keys []string) []attest.Seen {
	if !s.client.Initialized() || s.client.IsOffline() {
		return nil // fallbacks are served, whatever the flags are; and the SDK would log each time that it is asked
	}
	all := s.client.AllFlagsState(nobody, flagstate.OptionWithReasons())
	var seen []attest.Seen
	for _, key := range keys {
		flag, ok := all.GetFlag(key)
		if !ok {
			continue
		}
		now := attest.Seen{Key: key, Version: flag.Version}
		if flag.Reason.GetKind() == ldreason.EvalReasonOff {
			now.Value = text(flag.Value)
		}
		seen = append(seen, now)
	}
	return seen
}

// text of a boolean flag's value, or of a migration flag's; nil for others.
func text(v ldvalue.Value) *string {
	switch v.Type() {
	case ldvalue.BoolType:
		return new(v.JSONString())
	case ldvalue.StringType:
		return new(v.StringValue())
	}
	return nil
}

// Watch listens to the SDK's flag tracker. It reads until the tracker has let it go: the SDK stops for a listener that doesn't.
func (s source) Watch(ctx context.Context, changed func()) {
	tracker := s.client.GetFlagTracker()
	changes := tracker.AddFlagChangeListener()
	defer context.AfterFunc(ctx, func() { tracker.RemoveFlagChangeListener(changes) })()
	for range changes {
		changed()
	}
}
