package flagstest

import (
	"context"

	"github.com/launchdarkly/go-sdk-common/v3/ldcontext"
	"github.com/launchdarkly/go-sdk-common/v3/ldmigration"
	ld "github.com/launchdarkly/go-server-sdk/v7"

	"github.com/contraflow/contraflow/flags"
)

// LikeLaunchDarkly is f where Furnished has the targets and rules that LaunchDarkly knows: false for the user "user-1", true
// for the device "phone", and a rule that serves true to users whose key ends with "77".
func (f Fixture) LikeLaunchDarkly() Fixture {
	f.Exempt = []Exempt{
		{ContextKind: user, ContextKey: "user-1", Value: false},
		{ContextKind: device, ContextKey: "phone", Value: true},
		{ContextKind: user, ContextKey: "user-77", Value: true},
	}
	f.Told = map[int][]string{1: {"2 targets", "1 rule"}, 100: {"1 target"}}
	return f
}

// LaunchDarkly is the Reader, Mixer, Listener, Stager and Versioner of LaunchDarkly's client, which stays the caller's to close.
func LaunchDarkly(client *ld.LDClient) Reader { return launchDarkly{client} }

type launchDarkly struct{ client *ld.LDClient }

func (l launchDarkly) Bool(key, contextKind, contextKey string) (value, ok bool) {
	value, err := l.client.BoolVariation(key, ldcontext.NewWithKind(ldcontext.Kind(contextKind), contextKey), false)
	return value, err == nil
}

func (l launchDarkly) Mixed(key string, contexts ...flags.Context) (value, ok bool) {
	mixed := ldcontext.NewMultiBuilder()
	for _, one := range contexts {
		mixed.Add(ldcontext.NewWithKind(ldcontext.Kind(one.Kind), one.Key))
	}
	value, err := l.client.BoolVariation(key, mixed.Build(), false)
	return value, err == nil
}

func (l launchDarkly) Stage(key, contextKind, contextKey string) (stage string, ok bool) {
	served, _, err := l.client.MigrationVariation(key, ldcontext.NewWithKind(ldcontext.Kind(contextKind), contextKey), ldmigration.Off)
	return string(served), err == nil
}

func (l launchDarkly) Version(key string) (version int, ok bool) {
	served, ok := l.client.AllFlagsState(ldcontext.New("anybody")).GetFlag(key)
	return served.Version, ok
}

func (l launchDarkly) Listen() func(context.Context) (string, error) {
	changes := l.client.GetFlagTracker().AddFlagChangeListener()
	return func(ctx context.Context) (string, error) {
		select {
		case change := <-changes:
			return change.Key, nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}
