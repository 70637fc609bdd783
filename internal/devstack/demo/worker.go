package demo

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.temporal.io/sdk/client"

	"github.com/contraflow/contraflow/gateway"
	"github.com/contraflow/contraflow/internal/devstack/temporalserver"
	"github.com/contraflow/contraflow/signals"
)

// configuration of the worker. Everything secret comes from its environment.
const configuration = `plans: %q
databases:
  %s: {dsn: "env:SHOP_DSN"}
flags:
  launchdarkly: {token: "env:LD_TOKEN", sdkKey: "env:LD_SDK_KEY", apiURL: %q, streamURL: %q}
slack:
  channel: %s
  token: "env:SLACK_TOKEN"
  signingSecret: "env:SLACK_SIGNING_SECRET"
  apiURL: %q
  people: {%s: alice, %s: bob}
listen: %s
`

// configure writes the plan root, the worker's configuration and its environment.
func (s *Stack) configure(context.Context) error {
	root := filepath.Join(s.Folder, "plans")
	p, err := WritePlans(root, s.example, s.Shop.URL, s.options.Edit)
	if err != nil {
		return err
	}
	s.Plan = p
	text := fmt.Sprintf(configuration, root, p.Database, s.Flags.URL(), s.Flags.URL(), channel, s.Chat.APIURL(), Alice, Bob, anyPort)
	if ui := s.Temporal.UIURL(); ui != "" {
		text += fmt.Sprintf("temporalUI: %q\n", ui)
	}
	if err := os.WriteFile(s.ConfigFile(), []byte(text), 0o600); err != nil {
		return fmt.Errorf("write the worker's configuration: %w", err)
	}
	if err := os.WriteFile(s.EnvFile(), []byte(exports(s.environment())), 0o600); err != nil {
		return fmt.Errorf("write the worker's environment: %w", err)
	}
	return nil
}

// ConfigFile is the worker's configuration. The commands that talk to the database or to the flag service themselves want it, too.
func (s *Stack) ConfigFile() string { return filepath.Join(s.Folder, "worker.yaml") }

// EnvFile gives a shell that reads it what the worker's configuration takes from the environment, and Temporal's address.
func (s *Stack) EnvFile() string { return filepath.Join(s.Folder, "env") }

// environment that the worker's configuration speaks of, as NAME=VALUE.
func (s *Stack) environment() []string {
	return []string{
		"TEMPORAL_ADDRESS=" + s.Temporal.Address(), "TEMPORAL_NAMESPACE=" + temporalserver.Namespace,
		"SHOP_DSN=" + s.DSN(), "LD_TOKEN=" + s.secrets.flagToken, "LD_SDK_KEY=" + s.secrets.sdkKey,
		"SLACK_TOKEN=" + s.secrets.chatToken, "SLACK_SIGNING_SECRET=" + s.secrets.signing,
	}
}

// exports are lines of a shell's, of which no value means more than itself.
func exports(environment []string) string {
	var b strings.Builder
	for _, pair := range environment {
		name, value, _ := strings.Cut(pair, "=")
		fmt.Fprintf(&b, "export %s='%s'\n", name, strings.ReplaceAll(value, "'", `'\''`))
	}
	return b.String()
}

// StartWorker starts the worker, unless it runs, and points the chat at it.
func (s *Stack) StartWorker(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.worker != nil {
		return nil
	}
	var process *Process // written and read with mu held
	var err error
	process, err = Program{
		Name: "worker", Path: s.options.Binaries.Worker, Log: s.log("worker"),
		Broken: func(err error) { s.workerEnded(process, err) },
		Args:   []string{"--config", s.ConfigFile()},
		Env:    append(s.environment(), "HOME="+s.Folder), // the user's own Temporal profile is for other servers
	}.Start(ctx)
	if err != nil {
		return err
	}
	s.worker = process
	s.Chat.SetInteractionsURL(process.URL + gateway.InteractionsPath)
	return nil
}

// WorkerEnded says that the worker ended although nobody asked the stack to end it. StartWorker starts another one.
type WorkerEnded struct{ error }

// Unwrap returns how it ended.
func (e *WorkerEnded) Unwrap() error { return e.error }

// workerEnded tells it, unless that worker has been replaced meanwhile.
func (s *Stack) workerEnded(process *Process, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.worker == process {
		s.worker = nil
		s.tellBroken(&WorkerEnded{err})
	}
}

// Worker is the process that runs now; nil when none does.
func (s *Stack) Worker() *Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.worker
}

// KillWorker ends the worker as a power cut would. StartWorker starts another one.
func (s *Stack) KillWorker() { s.endWorker((*Process).Kill) }

// StopWorker ends the worker gracefully.
func (s *Stack) StopWorker() { s.endWorker((*Process).Stop) }

func (s *Stack) endWorker(end func(*Process)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.worker != nil {
		end(s.worker)
		s.worker = nil
	}
}

// Migrate starts the plan that the worker knows, on behalf of startedBy. The migration's id is the plan's name.
func (s *Stack) Migrate(ctx context.Context, startedBy string) (client.WorkflowRun, error) {
	options := client.StartWorkflowOptions{ID: s.Plan.Name, TaskQueue: signals.TaskQueue, WorkflowExecutionErrorWhenAlreadyStarted: true}
	run, err := s.Client.ExecuteWorkflow(ctx, options, signals.Workflow, signals.Input{Name: s.Plan.Name, StartedBy: startedBy})
	if err != nil {
		return nil, fmt.Errorf("start migration %s: %w", s.Plan.Name, err)
	}
	return run, nil
}
