// Command devstack runs the demo, and the stand-ins for LaunchDarkly and Slack that it is made of.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitError = 1
	exitUsage = 2
)

// usageError is a mistake in what the program was given.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

// console is where a command reads and writes.
type console struct {
	env            func(string) string
	stdout, stderr io.Writer
}

func main() {
	ctx := context.Background()
	if !signal.Ignored(syscall.SIGHUP) { // as it is under nohup
		// Held to the end: a terminal that closes and its shell may both send one, and the second must not cut the clean-up short.
		hangup, release := signal.NotifyContext(ctx, syscall.SIGHUP)
		defer release()
		ctx = hangup
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	os.Exit(run(ctx, console{os.Getenv, os.Stdout, os.Stderr}, os.Args[1:]))
}

// run returns the exit code: 0 all is as it should be, 1 not so, 2 usage.
func run(ctx context.Context, c console, args []string) int {
	root := &cobra.Command{Use: "devstack", Short: "The demo and its stand-ins, for this machine only",
		SilenceUsage: true, SilenceErrors: true, CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true}}
	root.SetArgs(args)
	root.SetOut(c.stdout)
	root.SetErr(c.stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.AddCommand(newDemo(c), newFlagServer(c), newChatServer(c))
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(c.stderr, "devstack:", err)
	if _, usage := errors.AsType[*usageError](err); usage {
		return exitUsage
	}
	return exitError
}
