package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os/user"
	"strings"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	"go.temporal.io/sdk/log"

	"github.com/contraflow/contraflow/internal/watch"
)

// dialTimeout is for a server that stalls or is far away: who mistyped an address is told at once, by its refusal.
const dialTimeout = 10 * time.Second

// connection is where Temporal is; dial completes it with what was not given.
type connection struct{ address, namespace, profile string }

func (c connection) unreachable() string {
	return fmt.Sprintf("No Temporal server answers at %s. Set TEMPORAL_ADDRESS or --address to one that runs, or start one: temporal server start-dev", c.address)
}

// environment is os.Environ as envconfig wants to look at it.
type environment []string

func (e environment) Environ() []string { return e }

func (e environment) LookupEnv(key string) (string, bool) {
	for _, pair := range e {
		if name, value, _ := strings.Cut(pair, "="); name == key {
			return value, true
		}
	}
	return "", false
}

// get is as of os.Getenv.
func (e environment) get(name string) string {
	value, _ := e.LookupEnv(name)
	return value
}

// misconfigured is the error of a command that reads what the worker's configuration names itself. Where there is no such file it was
// called in a wrong way; what is wrong in the file is told by the error alone.
func misconfigured(err error, file, reads string) error {
	if unread, ok := errors.AsType[*fs.PathError](err); ok && unread.Path == file {
		return &usageError{&hintedError{err, "This command " + reads + " itself: name the worker's configuration with --config"}}
	}
	return err
}

// dial connects within dialTimeout.
func (a *app) dial(ctx context.Context) (client.Client, error) {
	at := &a.connection
	options, err := envconfig.LoadClientOptions(envconfig.LoadClientOptionsRequest{ConfigFileProfile: at.profile, EnvLookup: a.env})
	if err != nil {
		return nil, fmt.Errorf("read Temporal's settings: %w", err)
	}
	if at.address != "" {
		options.HostPort = at.address
	}
	if at.namespace != "" {
		options.Namespace = at.namespace
	}
	if options.HostPort == "" {
		options.HostPort = client.DefaultHostPort
	}
	if options.Namespace == "" {
		options.Namespace = client.DefaultNamespace
	}
	at.address, at.namespace = options.HostPort, options.Namespace
	// What goes wrong is told once, in words, by the command itself.
	options.Logger = log.NewStructuredLogger(slog.New(slog.DiscardHandler))
	options.ConnectionOptions.GetSystemInfoTimeout = dialTimeout
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c, err := client.DialContext(ctx, options)
	if err != nil {
		return nil, watch.Explain(err, "connect to Temporal at "+at.address)
	}
	return c, nil
}

// connected runs do with a client.
func (a *app) connected(ctx context.Context, do func(client.Client) error) error {
	c, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return do(c)
}

// person is by where it was given, else the user of the operating system.
func person(by string) (string, error) {
	if by != "" {
		return by, nil
	}
	u, err := user.Current()
	if err != nil {
		return "", fmt.Errorf("find out who you are, name yourself with --by: %w", err)
	}
	return u.Username, nil
}
