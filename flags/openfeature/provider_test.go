package openfeature_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/open-feature/go-sdk/openfeature"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/flagstest"
	pgopenfeature "github.com/contraflow/contraflow/flags/openfeature"
	"github.com/contraflow/contraflow/flags/pgflags"
	"github.com/contraflow/contraflow/flags/postgres"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const (
	patience = time.Minute
	tick     = time.Millisecond
	never    = time.Hour
	quick    = 100 * time.Millisecond
)

// bundle is a database with the flags "plain", off, and "half", on for 50 %.
type bundle struct {
	pool     *pgxpool.Pool
	provider *postgres.Provider
}

func setup(t *testing.T) bundle {
	t.Helper()
	db := pgtest.New(t)
	provider, err := postgres.Open(t.Context(), db.DSN)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, provider.Close()) })
	pool, err := pgxpool.New(t.Context(), db.DSN)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	b := bundle{pool, provider}
	b.exec(t, `insert into contraflow.flag (key, is_on, percent) values ('plain', false, 100), ('half', true, 50)`)
	return b
}

func (b bundle) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := b.pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

// client is an application's, in an OpenFeature domain of its own.
func client(t *testing.T, provider *pgopenfeature.Provider) (*openfeature.Client, error) {
	t.Helper()
	err := openfeature.SetNamedProviderWithContextAndWait(t.Context(), t.Name(), provider)
	t.Cleanup(func() {
		require.NoError(t, provider.ShutdownWithContext(context.Background()))
		require.NoError(t, openfeature.SetNamedProviderAndWait(t.Name(), openfeature.NoopProvider{}))
	})
	return openfeature.NewClient(t.Name()), err
}

func ready(t *testing.T, provider *pgopenfeature.Provider) *openfeature.Client {
	t.Helper()
	c, err := client(t, provider)
	require.NoError(t, err)
	require.Equal(t, openfeature.ReadyState, c.State())
	return c
}

// application reads through OpenFeature and knows nothing else.
type application struct {
	t      *testing.T
	client *openfeature.Client
}

func (a application) Bool(key, kind, contextKey string) (value, ok bool) {
	context := openfeature.NewEvaluationContext(contextKey, map[string]any{pgopenfeature.KindAttribute: kind})
	value, err := a.client.BooleanValue(a.t.Context(), key, false, context)
	return value, err == nil
}

func (a application) Version(key string) (version int, ok bool) {
	details, err := a.client.BooleanValueDetails(a.t.Context(), key, false, openfeature.NewEvaluationContext("anybody", nil))
	served, metadataErr := details.FlagMetadata.GetInt("version")
	return int(served), err == nil && metadataErr == nil
}

func TestConformanceOverOpenFeature(t *testing.T) {
	t.Parallel()
	flagstest.Run(t, func(t *testing.T) flagstest.Fixture {
		b := setup(t)
		b.exec(t, `insert into contraflow.flag (key, is_on, percent, targets) values
			('furnished', true, 25, '{"user": {"false": ["user-1"]}, "device": {"true": ["phone"]}}')`)
		return flagstest.Fixture{
			Provider: b.provider, Plain: "plain", Furnished: "furnished",
			Exempt: []flagstest.Exempt{
				{ContextKind: "user", ContextKey: "user-1", Value: false},
				{ContextKind: "device", ContextKey: "phone", Value: true},
			},
			Told: map[int][]string{1: {"2 targets"}, 100: {"1 target"}},
			Application: func(t *testing.T) flagstest.Reader {
				return application{t, ready(t, pgopenfeature.New(pgflags.Pool(b.pool), pgflags.Options{Poll: never}))}
			},
			Target: func(t *testing.T, key, user string) {
				b.exec(t, `update contraflow.flag set targets = jsonb_build_object('user', jsonb_build_object('true', array[$2::text])) where key = $1`, key, user)
			},
		}
	})
}

func TestEveryAnswerHasItsReason(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `insert into contraflow.flag (key, is_on, targets, archived) values
		('all', true, '{"account": {"false": ["closed"]}}', false), ('gone', true, '{}', true)`)
	c := ready(t, pgopenfeature.New(pgflags.Pool(b.pool), pgflags.Options{Poll: never}))
	named := func(key string, attributes map[string]any) openfeature.EvaluationContext {
		return openfeature.NewEvaluationContext(key, attributes)
	}
	nobody := openfeature.NewTargetlessEvaluationContext(nil)
	for name, want := range map[string]struct {
		flag    string
		context openfeature.EvaluationContext
		reason  openfeature.Reason
		code    openfeature.ErrorCode
		value   bool
	}{
		"off":                    {"plain", named("a", nil), openfeature.DisabledReason, "", false},
		"everybody":              {"all", nobody, openfeature.DefaultReason, "", true},
		"by name":                {"all", named("closed", map[string]any{"kind": "account"}), openfeature.TargetingMatchReason, "", false},
		"another kind":           {"all", named("closed", nil), openfeature.DefaultReason, "", true},
		"by percent":             {"half", named("user-1", nil), openfeature.SplitReason, "", inSQL(t, b, "half", "user-1")},
		"by percent, nameless":   {"half", nobody, openfeature.ErrorReason, openfeature.TargetingKeyMissingCode, true},
		"unknown":                {"no-such-flag", named("a", nil), openfeature.ErrorReason, openfeature.FlagNotFoundCode, true},
		"archived":               {"gone", named("a", nil), openfeature.ErrorReason, openfeature.FlagNotFoundCode, true},
		"a kind that is no text": {"all", named("a", map[string]any{"kind": 3}), openfeature.ErrorReason, openfeature.InvalidContextCode, true},
	} {
		details, err := c.BooleanValueDetails(t.Context(), want.flag, true, want.context)
		require.Equal(t, want.reason, details.Reason, name)
		require.Equal(t, want.code, details.ErrorCode, name)
		require.Equal(t, want.code == "", err == nil, name)
		require.Equal(t, want.value, details.Value, name)
	}
	text, err := c.StringValueDetails(t.Context(), "plain", "fallback", nobody)
	require.Error(t, err)
	require.Equal(t, openfeature.TypeMismatchCode, text.ErrorCode)
	require.Equal(t, "fallback", text.Value)
	number, err := c.IntValueDetails(t.Context(), "no-such-flag", 7, nobody)
	require.Error(t, err)
	require.Equal(t, openfeature.FlagNotFoundCode, number.ErrorCode)
	require.EqualValues(t, 7, number.Value)
	require.EqualValues(t, 0.5, c.Float(t.Context(), "plain", 0.5, nobody))
	require.Equal(t, "x", c.Object(t.Context(), "plain", "x", nobody))
}

// inSQL asks the SQL function.
func inSQL(t *testing.T, b bundle, flag, key string) (value bool) {
	t.Helper()
	require.NoError(t, b.pool.QueryRow(t.Context(), `select contraflow.flag_is_on($1, 'user', $2)`, flag, key).Scan(&value))
	return value
}

// away is a database that is away while it is told to be.
type away struct {
	pgflags.Source
	now *atomic.Bool
}

var errAway = errors.New("away")

func (a away) Text(ctx context.Context, query string, args ...any) (string, error) {
	if a.now.Load() {
		return "", errAway
	}
	return a.Source.Text(ctx, query, args...)
}

func TestOpenFeatureIsToldOfEveryState(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `update contraflow.flag set is_on = true where key = 'plain'`)
	source := away{pgflags.Pool(b.pool), &atomic.Bool{}}
	source.now.Store(true)
	c, err := client(t, pgopenfeature.New(source, pgflags.Options{Poll: quick}))
	require.ErrorContains(t, err, errAway.Error())
	require.Equal(t, openfeature.ErrorState, c.State())
	require.True(t, c.Boolean(t.Context(), "plain", true, openfeature.EvaluationContext{}), "the fallback")
	is := func(state openfeature.State) {
		t.Helper()
		require.Eventually(t, func() bool { return c.State() == state }, patience, tick, string(state))
	}
	source.now.Store(false)
	is(openfeature.ReadyState)
	require.True(t, c.Boolean(t.Context(), "plain", false, openfeature.EvaluationContext{}))

	source.now.Store(true)
	is(openfeature.StaleState)
	details, err := c.BooleanValueDetails(t.Context(), "plain", false, openfeature.EvaluationContext{})
	require.NoError(t, err)
	require.True(t, details.Value, "the last copy")
	require.Equal(t, pgopenfeature.StaleReason, details.Reason)
	source.now.Store(false)
	is(openfeature.ReadyState)

	changed := make(chan []string, 10)
	told := func(d openfeature.EventDetails) { changed <- d.FlagChanges }
	c.AddHandler(openfeature.ProviderConfigChange, &told)
	_, err = b.provider.Apply(t.Context(), "plain", flags.Change{Percent: 0}, "", nil)
	require.NoError(t, err)
	require.Equal(t, []string{"plain"}, <-changed)
	require.False(t, c.Boolean(t.Context(), "plain", true, openfeature.EvaluationContext{}))
}

// https://openfeature.dev/specification/sections/providers/#requirement-252
func TestAProviderThatIsShutDownIsNotReadyUntilItIsInitializedAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `update contraflow.flag set is_on = true where key = 'plain'`)
	provider := pgopenfeature.New(pgflags.Pool(b.pool), pgflags.Options{Poll: never})
	served := func(code openfeature.ErrorCode, value bool) {
		t.Helper()
		detail := provider.BooleanEvaluation(t.Context(), "plain", false, openfeature.FlattenedContext{})
		require.Equal(t, value, detail.Value)
		require.Equal(t, code, detail.ResolutionDetail().ErrorCode)
	}
	served(openfeature.ProviderNotReadyCode, false)
	for range 2 {
		require.NoError(t, provider.InitWithContext(t.Context(), openfeature.EvaluationContext{}))
		served("", true)
		provider.Shutdown()
		provider.Shutdown()
		served(openfeature.ProviderNotReadyCode, false)
		require.Equal(t, openfeature.ProviderNotReadyCode,
			provider.StringEvaluation(t.Context(), "plain", "", openfeature.FlattenedContext{}).ResolutionDetail().ErrorCode)
	}
}

// stopped is a database whose server is stopped once the flags have been read: nothing comes back any more.
type stopped struct{}

func (stopped) Text(ctx context.Context, query string, _ ...any) (string, error) {
	if strings.Contains(query, "flag_list") {
		return `[{"key": "plain", "version": 1}]`, nil
	}
	<-ctx.Done()
	return "", ctx.Err()
}

func TestAShutdownTakesNoLongerThanItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		provider := pgopenfeature.New(stopped{}, pgflags.Options{Instance: "shop-1"})
		require.NoError(t, provider.InitWithContext(t.Context(), openfeature.EvaluationContext{}))
		provider.BooleanEvaluation(t.Context(), "plain", false, nil)
		<-time.After(time.Minute + time.Second) // of the bubble's clock: a report is under way
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		began := time.Now()
		require.ErrorIs(t, provider.ShutdownWithContext(ctx), context.DeadlineExceeded)
		require.Equal(t, time.Second/2, time.Since(began))
		require.NoError(t, provider.ShutdownWithContext(ctx), "it is shut down")

		require.NoError(t, provider.InitWithContext(t.Context(), openfeature.EvaluationContext{}))
		provider.BooleanEvaluation(t.Context(), "plain", false, nil)
		<-time.After(time.Minute + time.Second)
		began = time.Now()
		require.ErrorContains(t, provider.ShutdownWithContext(t.Context()), "report the evaluations of flags: ")
		require.Equal(t, 5*time.Second, time.Since(began), "no longer than one query")
	})
}
