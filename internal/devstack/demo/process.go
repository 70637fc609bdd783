package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	startTimeout = 60 * time.Second // both programs listen within a second; a loaded two-core machine takes much longer
	stopTimeout  = 15 * time.Second // longer than the programs' own grace for what is under way
	logShown     = 4 << 10          // bytes of a log's end in an error: the last words matter
)

// Process is a program that says {"listening": URL} in a line on stdout; stdout and stderr are appended to its log.
// It dies with us, and is in a process group of its own, so that Ctrl-C reaches us first.
type Process struct {
	// URL it listens on.
	URL string
	// Log is the path of its log.
	Log string

	name   string
	cmd    *exec.Cmd
	wanted atomic.Bool   // that it ends
	done   chan struct{} // closed once it has ended
}

// Program to start.
type Program struct {
	// Name in errors, Path of the executable, and Log it appends to, whose folder it runs in.
	Name, Path, Log string
	Args            []string
	// Env is its whole environment: nothing of ours leaks into it.
	Env []string
	// Broken is told when it ends although nobody asked it to.
	Broken func(error)
}

// Start runs the program and waits until it listens.
func (p Program) Start(ctx context.Context) (*Process, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start the %s: %w", p.Name, err)
	}
	said := &announcement{to: log, url: make(chan string, 1)}
	cmd := exec.Command(p.Path, p.Args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = filepath.Dir(p.Log), p.Env, said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		_ = log.Close() // empty
		return nil, fmt.Errorf("start the %s: %w", p.Name, err)
	}
	running := &Process{Log: p.Log, name: p.Name, cmd: cmd, done: make(chan struct{})}
	listening := make(chan struct{})
	go func() {
		ended := cmd.Wait()
		_ = log.Close() // what could not be written is lost to nobody but the reader of logs
		close(running.done)
		<-listening
		if !running.wanted.Load() {
			p.Broken(fmt.Errorf("the %s ended by itself: %v\n%s", p.Name, ended, running.LogEnd()))
		}
	}()
	defer close(listening)
	select {
	case running.URL = <-said.url:
		return running, nil
	case <-running.done:
		running.wanted.Store(true)
		return nil, fmt.Errorf("the %s ended at once:\n%s", p.Name, running.LogEnd())
	case <-ctx.Done():
		running.Kill()
		return nil, fmt.Errorf("the %s does not say where it listens: %w\n%s", p.Name, ctx.Err(), running.LogEnd())
	}
}

// Pid of the process.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Kill ends the process as a power cut would (SIGKILL) and waits until it is gone.
func (p *Process) Kill() {
	p.wanted.Store(true)
	_ = p.cmd.Process.Kill() // an error means that it has ended already
	<-p.done
}

// Stop asks the process to end (SIGTERM) and kills it when it does not. It may be called twice.
func (p *Process) Stop() {
	p.wanted.Store(true)
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // an error means that it has ended already
	grace := time.NewTimer(stopTimeout)
	defer grace.Stop()
	select {
	case <-p.done:
	case <-grace.C:
		p.Kill()
	}
}

// LogEnd is the last part of the log.
func (p *Process) LogEnd() string {
	f, err := os.Open(p.Log)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err == nil && info.Size() > logShown {
		_, _ = f.Seek(-logShown, io.SeekEnd) // at worst the log is shown from its start
	}
	out, err := io.ReadAll(io.LimitReader(f, logShown))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(bytes.ToValidUTF8(out, nil)))
}

// announcement copies output to a log and finds the line that says where the program listens.
type announcement struct {
	url chan string // gets one value at most

	mu    sync.Mutex
	to    io.Writer
	line  []byte
	found bool
}

func (a *announcement) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.found {
		a.look(p)
	}
	_, _ = a.to.Write(p) // a full disk must not stop the program
	return len(p), nil
}

func (a *announcement) look(p []byte) {
	for b := range bytes.Lines(p) {
		a.line = append(a.line, b...)
		if !bytes.HasSuffix(b, []byte("\n")) {
			return
		}
		var said struct {
			Listening string `json:"listening"`
		}
		if json.Unmarshal(a.line, &said) == nil && said.Listening != "" {
			a.found, a.line = true, nil
			a.url <- said.Listening
			return
		}
		a.line = a.line[:0]
	}
}
