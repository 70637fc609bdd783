package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/contraflow/contraflow/internal/watch"
	"github.com/contraflow/contraflow/plan"
)

// Exit codes, as the help text promises them to scripts.
const (
	exitOK         = 0
	exitError      = 1
	exitUsage      = 2
	exitRolledBack = 3
)

// usageError is about how the program was called.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

// endedError ends the program with a code after everything has been said.
type endedError struct{ code int }

func (e *endedError) Error() string { return fmt.Sprintf("ended with code %d", e.code) }

// hintedError is an error with a way round it, told after it on a line of its own.
type hintedError struct {
	error
	hint string
}

func (e *hintedError) Unwrap() error { return e.error }

// failure is an error as JSON.
type failure struct {
	Error    string         `json:"error"`
	ExitCode int            `json:"exitCode"`
	Problems []plan.Problem `json:"problems,omitempty"`
}

// report writes the error, if any, and returns the exit code.
func (a *app) report(err error) int {
	var ended *endedError
	var usage *usageError
	var problems plan.Problems
	code := exitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &ended):
		return ended.code
	case errors.As(err, &problems), errors.As(err, &usage):
		code = exitUsage
	}
	text := a.explain(err)
	if a.json {
		if err := printJSON(a.stdout, failure{text, code, problems}); err != nil {
			return exitError
		}
		return code
	}
	fmt.Fprintln(a.stderr, text)
	if !a.began {
		fmt.Fprintln(a.stderr, "What is possible: contraflow --help")
	}
	return code
}

// explain says what happened and what to do, without the wire's noise.
func (a *app) explain(err error) string {
	if hinted, ok := errors.AsType[*hintedError](err); ok {
		return a.explain(hinted.error) + "\n" + hinted.hint
	}
	switch {
	case errors.Is(err, context.Canceled):
		return "Interrupted. A migration that was started goes on."
	case errors.Is(err, watch.ErrUnreachable):
		return a.connection.unreachable()
	case errors.Is(err, watch.ErrNamespace):
		return fmt.Sprintf("Temporal at %s has no namespace %s: set TEMPORAL_NAMESPACE or --namespace", a.connection.address, a.connection.namespace)
	case errors.Is(err, watch.ErrUnknown):
		return fmt.Sprintf("%s in namespace %s at %s. See what there is: contraflow list", err, a.connection.namespace, a.connection.address)
	}
	return err.Error()
}

func printJSON(to io.Writer, v any) error {
	encoder := json.NewEncoder(to)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// answer writes v as JSON, or else the text as a line.
func (a *app) answer(v any, format string, args ...any) error {
	if a.json {
		return printJSON(a.stdout, v)
	}
	_, err := fmt.Fprintf(a.stdout, format+"\n", args...)
	return err
}
