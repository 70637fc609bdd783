// Package config reads the worker's configuration: one YAML file, and secrets from the environment or from files.
package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/contraflow/contraflow/signals"
)

// DefaultStopTimeout is how long a stopping worker lets its activities finish: a chunk takes a fraction of a second, and
// orchestrators kill after half a minute.
const DefaultStopTimeout = 20 * time.Second

// DefaultListen serves health, metrics and Slack's interactions to this machine only.
const DefaultListen = "127.0.0.1:8088"

// Config of a worker. Paths are relative to the file's folder.
type Config struct {
	// TaskQueue to work on. Defaults to signals.TaskQueue.
	TaskQueue string `yaml:"taskQueue"`
	// Plans is the plan root: NAME.yaml or FOLDER/plan.yaml, each with its migrations folder.
	Plans string `yaml:"plans"`
	// Databases by the name that plans use.
	Databases map[string]Database `yaml:"databases"`
	// Flags is the flag provider. Defaults to none: plans with flags are then refused.
	Flags Flags `yaml:"flags"`
	// Slack to ask people in. Defaults to none: decisions then come by command line or signal.
	Slack *Slack `yaml:"slack"`
	// TemporalUI is the base URL for links on cards. Defaults to none.
	TemporalUI string `yaml:"temporalUI"`
	// Listen is the address of /healthz, /metrics and /slack/interactions. Defaults to DefaultListen.
	Listen string `yaml:"listen"`
	// StopTimeout is how long activities may go on after SIGTERM. Defaults to DefaultStopTimeout.
	StopTimeout time.Duration `yaml:"stopTimeout"`
}

// Database is one target.
type Database struct {
	// DSN refers to the connection string.
	DSN Secret `yaml:"dsn"`

	dsn string
}

// ConnectionString is the resolved DSN; keep it out of every message.
func (d Database) ConnectionString() string { return d.dsn }

// Flags holds exactly one provider, or none.
type Flags struct {
	LaunchDarkly *LaunchDarkly  `yaml:"launchdarkly"`
	FlagFile     *FlagFile      `yaml:"flagfile"`
	Postgres     *PostgresFlags `yaml:"postgres"`
	Harness      *Harness       `yaml:"harness"`
}

// given counts the providers.
func (f Flags) given() int {
	n := 0
	for _, given := range []bool{f.LaunchDarkly != nil, f.FlagFile != nil, f.Postgres != nil, f.Harness != nil} {
		if given {
			n++
		}
	}
	return n
}

// Given tells whether there is a provider.
func (f Flags) Given() bool { return f.given() > 0 }

// LaunchDarkly or something that speaks its protocols.
type LaunchDarkly struct {
	// Token refers to a REST access token, SDKKey to the environment's server-side SDK key.
	Token  Secret `yaml:"token"`
	SDKKey Secret `yaml:"sdkKey"`
	// APIURL and StreamURL default to LaunchDarkly's own.
	APIURL    string `yaml:"apiURL"`
	StreamURL string `yaml:"streamURL"`
	// Approvals says what to do about a change that LaunchDarkly wants approved: WaitForApprovals until somebody has made it
	// there, or RequestApprovals. Defaults to WaitForApprovals.
	Approvals string `yaml:"approvals"`
	// NotifyTeams are the keys of teams that are asked to review such requests. Defaults to none: the flag's maintainer is.
	NotifyTeams []string `yaml:"notifyTeams"`

	token, sdkKey string
}

// What LaunchDarkly.Approvals may be.
const (
	WaitForApprovals = "wait"
	RequestApprovals = "request"
)

// Secrets are the resolved token and SDK key.
func (l LaunchDarkly) Secrets() (token, sdkKey string) { return l.token, l.sdkKey }

// FlagFile is a file that the LaunchDarkly SDK's file source reads.
type FlagFile struct {
	Path string `yaml:"path"`
}

// PostgresFlags is the table contraflow.flag in one of the databases.
type PostgresFlags struct {
	// Database by its name in Config.Databases.
	Database string `yaml:"database"`
}

// Harness Feature Flags, or something that speaks its protocols.
type Harness struct {
	// APIKey refers to a key of the admin API, SDKKey to the environment's server SDK key.
	APIKey Secret `yaml:"apiKey"`
	SDKKey Secret `yaml:"sdkKey"`
	// Account and Organization are identifiers; project and environment are the plan's.
	Account      string `yaml:"account"`
	Organization string `yaml:"organization"`
	// APIURL and SDKURL default to Harness's own.
	APIURL string `yaml:"apiURL"`
	SDKURL string `yaml:"sdkURL"`

	apiKey, sdkKey string
}

// Secrets are the resolved API key and SDK key.
func (h Harness) Secrets() (apiKey, sdkKey string) { return h.apiKey, h.sdkKey }

// Slack is the chat.
type Slack struct {
	// Channel id to post to.
	Channel string `yaml:"channel"`
	// Token refers to a bot token, SigningSecret to the app's signing secret.
	Token         Secret `yaml:"token"`
	SigningSecret Secret `yaml:"signingSecret"`
	// APIURL defaults to Slack's own. After Load it ends in a slash, which slack-go needs.
	APIURL string `yaml:"apiURL"`
	// People maps Slack user ids to the names that plans use.
	People map[string]string `yaml:"people"`

	token, signingSecret string
}

// Secrets are the resolved token and signing secret.
func (s Slack) Secrets() (token, signingSecret string) { return s.token, s.signingSecret }

// Load reads the file and resolves its secrets. The error names every mistake that was found, and repeats no value: it may be
// a secret that was written where it doesn't belong.
func Load(path string, getenv func(string) string) (*Config, error) {
	document, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the worker's configuration: %w", err)
	}
	c := &Config{StopTimeout: DefaultStopTimeout}
	mistakes := decode(document, c)
	folder := filepath.Dir(path)
	c.Plans = below(folder, c.Plans)
	if c.Flags.FlagFile != nil {
		c.Flags.FlagFile.Path = below(folder, c.Flags.FlagFile.Path)
	}
	c.TaskQueue = cmp.Or(c.TaskQueue, signals.TaskQueue)
	c.Listen = cmp.Or(c.Listen, DefaultListen)
	if err := errors.Join(mistakes, c.check(folder, getenv)); err != nil {
		return nil, fmt.Errorf("%s:\n%w", path, err)
	}
	return c, nil
}

// decode fills in what it can, so that what else is wrong can be told too.
func decode(document []byte, c *Config) error {
	decoder := yaml.NewDecoder(bytes.NewReader(document))
	decoder.KnownFields(true)
	err := decoder.Decode(c)
	var each *yaml.LoadErrors
	switch {
	case errors.Is(err, io.EOF): // an empty file: what is missing is told by key
		return nil
	case errors.As(err, &each):
		var mistakes []error
		for _, e := range each.Errors {
			mistakes = append(mistakes, fmt.Errorf("  line %d: %s", e.Mark.Line, withoutValues(e.Message)))
		}
		return errors.Join(mistakes...)
	case err != nil:
		return errors.New("  " + withoutValues(err.Error()))
	}
	if !errors.Is(decoder.Decode(&struct{}{}), io.EOF) {
		return errors.New("  there is a second document behind ---: a worker has one configuration")
	}
	return nil
}

// quoted values of the file in the decoder's messages.
var quoted = regexp.MustCompile("(?s)`.*`|'.*'")

func withoutValues(message string) string { return quoted.ReplaceAllString(message, "…") }

func below(folder, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(folder, path)
}

// checker collects what is wrong, by the key of the file where it stands.
type checker struct {
	folder   string
	getenv   func(string) string
	problems []error
}

func (k *checker) problem(where, format string, args ...any) {
	k.problems = append(k.problems, fmt.Errorf("  %s: %w", where, fmt.Errorf(format, args...)))
}

func (k *checker) secret(where string, s Secret) string {
	value, err := s.read(k.folder, k.getenv)
	if err != nil {
		k.problem(where, "%w", err)
	}
	return value
}

func (k *checker) address(where, value string) {
	if u, err := url.Parse(value); value != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		k.problem(where, "must be a URL such as http://127.0.0.1:8080")
	}
}

func (c *Config) check(folder string, getenv func(string) string) error {
	k := &checker{folder: folder, getenv: getenv}
	if c.Plans == "" {
		k.problem("plans", "is missing: name the folder of plans and SQL files")
	}
	if len(c.Databases) == 0 {
		k.problem("databases", "is empty: name at least one, for example `shop: {dsn: \"env:SHOP_DSN\"}`")
	}
	for _, name := range slices.Sorted(maps.Keys(c.Databases)) {
		db := c.Databases[name]
		db.dsn = k.secret("databases."+name+".dsn", db.DSN)
		c.Databases[name] = db
	}
	c.checkFlags(k)
	if s := c.Slack; s != nil {
		s.token = k.secret("slack.token", s.Token)
		s.signingSecret = k.secret("slack.signingSecret", s.SigningSecret)
		k.address("slack.apiURL", s.APIURL)
		if s.APIURL != "" {
			s.APIURL = strings.TrimSuffix(s.APIURL, "/") + "/"
		}
		if s.Channel == "" {
			k.problem("slack.channel", "is missing: name the channel's id")
		}
		if len(s.People) == 0 {
			k.problem("slack.people", "is empty: map Slack user ids to the names that plans use")
		}
	}
	k.address("temporalUI", c.TemporalUI)
	if c.StopTimeout < 0 {
		k.problem("stopTimeout", "must not be negative")
	}
	return errors.Join(k.problems...)
}

func (c *Config) checkFlags(k *checker) {
	if n := c.Flags.given(); n > 1 {
		k.problem("flags", "has %d providers: keep one", n)
	}
	if ld := c.Flags.LaunchDarkly; ld != nil {
		ld.token = k.secret("flags.launchdarkly.token", ld.Token)
		ld.sdkKey = k.secret("flags.launchdarkly.sdkKey", ld.SDKKey)
		k.address("flags.launchdarkly.apiURL", ld.APIURL)
		k.address("flags.launchdarkly.streamURL", ld.StreamURL)
		ld.Approvals = cmp.Or(ld.Approvals, WaitForApprovals)
		if ld.Approvals != WaitForApprovals && ld.Approvals != RequestApprovals {
			k.problem("flags.launchdarkly.approvals", "must be %s or %s", WaitForApprovals, RequestApprovals)
		}
		if len(ld.NotifyTeams) > 0 && ld.Approvals != RequestApprovals {
			k.problem("flags.launchdarkly.notifyTeams", "goes with approvals: %s", RequestApprovals)
		}
	}
	if f := c.Flags.FlagFile; f != nil && f.Path == "" {
		k.problem("flags.flagfile.path", "is missing")
	}
	if p := c.Flags.Postgres; p != nil {
		if _, ok := c.Databases[p.Database]; !ok {
			k.problem("flags.postgres.database", "must be one of databases: %s", strings.Join(slices.Sorted(maps.Keys(c.Databases)), ", "))
		}
	}
	if h := c.Flags.Harness; h != nil {
		h.apiKey = k.secret("flags.harness.apiKey", h.APIKey)
		h.sdkKey = k.secret("flags.harness.sdkKey", h.SDKKey)
		if h.Account == "" {
			k.problem("flags.harness.account", "is missing: name the account's identifier")
		}
		if h.Organization == "" {
			k.problem("flags.harness.organization", "is missing: name the organization's identifier")
		}
		k.address("flags.harness.apiURL", h.APIURL)
		k.address("flags.harness.sdkURL", h.SDKURL)
	}
}
