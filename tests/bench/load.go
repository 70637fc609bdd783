package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

//go:embed foreground.sql
var foregroundScript []byte

const (
	// clients and transactionsPerSecond make a busy application that leaves the machine's two cores mostly idle.
	clients, transactionsPerSecond = 8, 800
	// loadSeconds is far longer than any run: the load is stopped when it has been measured.
	loadSeconds = 3600
	// loadWarmUp fills pgbench's connections and the processor's caches; what it measures is dropped.
	loadWarmUp = 2 * time.Second
	// drained: once a transaction due so long after the end of the work is logged, those due before it are logged too.
	drained = time.Second
	// drainTimeout is many times what a backlog takes that a single UPDATE has dammed up.
	drainTimeout = time.Minute
	// lookEvery is how often the log is looked at; pgbench writes a buffer of about a hundred transactions at a time.
	lookEvery = 50 * time.Millisecond
	// recent is what the protected latency is taken over, and recentLeast what it takes for a 99th percentile to mean anything.
	recent, recentLeast = time.Second, 100
)

// load is pgbench at a fixed rate on the table.
type load struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer
	done   chan struct{} // closed once it has ended
	log    string

	mu      sync.Mutex
	file    *os.File
	partial []byte
	seen    []transaction // in the order of their ends
	failed  int
}

// transaction of pgbench. Its latency runs from the moment when it was due, as pgbench counts it under -R: one that waits
// because others are late is late.
type transaction struct {
	end     time.Time
	latency time.Duration
}

func (t transaction) due() time.Time { return t.end.Add(-t.latency) }

// press starts the load and waits until it has warmed up.
func (b *bench) press(ctx context.Context, t *target) (*load, error) {
	folder, err := os.MkdirTemp(b.folder, "load-")
	if err != nil {
		return nil, err
	}
	script := filepath.Join(folder, "foreground.sql")
	if err := os.WriteFile(script, foregroundScript, 0o600); err != nil {
		return nil, err
	}
	config, err := pgx.ParseConfig(t.dsn)
	if err != nil {
		return nil, err
	}
	// One thread, so that there is one log; it does not come near a core at this rate.
	cmd := exec.Command(b.pgbench, "--no-vacuum", "--protocol=prepared", "--client="+strconv.Itoa(clients), "--jobs=1",
		"--rate="+strconv.Itoa(transactionsPerSecond), "--time="+strconv.Itoa(loadSeconds), "--file="+script,
		"--define=rows="+strconv.FormatInt(b.options.rows, 10), "--log", "--log-prefix="+filepath.Join(folder, "log"))
	cmd.Env = []string{"PGHOST=" + config.Host, "PGPORT=" + strconv.Itoa(int(config.Port)), "PGUSER=" + config.User,
		"PGPASSWORD=" + config.Password, "PGDATABASE=" + config.Database}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	l := &load{cmd: cmd, done: make(chan struct{})}
	cmd.Stderr = &l.stderr
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start pgbench: %w", err)
	}
	go func() {
		_ = cmd.Wait() // why it ended is on its stderr
		close(l.done)
	}()
	l.log = filepath.Join(folder, "log."+strconv.Itoa(cmd.Process.Pid))
	if err := l.until(ctx, time.Now().Add(loadWarmUp)); err != nil {
		l.stop()
		return nil, err
	}
	return l, nil
}

func (l *load) stop() {
	_ = l.cmd.Process.Kill() // an error means that it has ended already
	<-l.done
	if l.file != nil {
		_ = l.file.Close() // only read
	}
}

// errLoad says that pgbench ended by itself or does not come to an end.
var errLoad = errors.New("pgbench")

// until waits for a transaction that was due at that time or later.
func (l *load) until(ctx context.Context, due time.Time) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Until(due)+drainTimeout, fmt.Errorf("%w has logged no transaction for %s", errLoad, drainTimeout))
	defer cancel()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		if err := l.read(); err != nil {
			return err
		}
		l.mu.Lock()
		reached := len(l.seen) > 0 && !l.seen[len(l.seen)-1].due().Before(due)
		l.mu.Unlock()
		if reached {
			return nil
		}
		select {
		case <-look.C:
		case <-l.done:
			return fmt.Errorf("%w ended by itself: %s", errLoad, strings.TrimSpace(l.stderr.String()))
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// read takes in what pgbench has logged since the last time.
func (l *load) read() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		file, err := os.Open(l.log)
		if errors.Is(err, os.ErrNotExist) {
			return nil // not yet
		}
		if err != nil {
			return err
		}
		l.file = file
	}
	text, err := io.ReadAll(l.file)
	if err != nil {
		return fmt.Errorf("read pgbench's log: %w", err)
	}
	l.partial = append(l.partial, text...)
	end := bytes.LastIndexByte(l.partial, '\n') + 1
	for line := range bytes.Lines(l.partial[:end]) {
		t, ok, err := parseTransaction(string(line))
		if err != nil {
			return err
		}
		if !ok {
			l.failed++
			continue
		}
		l.seen = append(l.seen, t)
	}
	l.partial = slices.Clone(l.partial[end:])
	return nil
}

// parseTransaction reads a line of the log: client, transaction, latency in µs, script, end in s and µs since 1970, lag.
// The transaction failed if it is not ok.
func parseTransaction(line string) (t transaction, ok bool, err error) {
	fields := strings.Fields(line)
	if len(fields) < 6 {
		return t, false, fmt.Errorf("pgbench's log has a line of %d fields", len(fields))
	}
	if fields[2] == "failed" || fields[2] == "skipped" {
		return t, false, nil
	}
	var numbers [3]int64
	for i, field := range []string{fields[2], fields[4], fields[5]} {
		if numbers[i], err = strconv.ParseInt(field, 10, 64); err != nil {
			return t, false, fmt.Errorf("pgbench's log: %w", err)
		}
	}
	return transaction{time.Unix(numbers[1], numbers[2]*1000), time.Duration(numbers[0]) * time.Microsecond}, true, nil
}

// p99 of the transactions that were due while the work went on.
func (l *load) p99(from, to time.Time) (time.Duration, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var latencies sample
	for _, t := range l.seen {
		if due := t.due(); !due.Before(from) && due.Before(to) {
			latencies = append(latencies, float64(t.latency))
		}
	}
	if len(latencies) < recentLeast {
		return 0, fmt.Errorf("only %d transactions were due meanwhile, too few for a percentile: give more rows", len(latencies))
	}
	return time.Duration(latencies.percentile(99)), nil
}

// recentP99 is what an application's own monitoring would tell at this moment.
func (l *load) recentP99(context.Context) (time.Duration, error) {
	if err := l.read(); err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var latencies sample
	since := time.Now().Add(-recent)
	for _, t := range slices.Backward(l.seen) {
		if t.end.Before(since) {
			break
		}
		latencies = append(latencies, float64(t.latency))
	}
	if len(latencies) < recentLeast {
		return 0, fmt.Errorf("%w: only %d transactions within %s", errLoad, len(latencies), recent)
	}
	return time.Duration(latencies.percentile(99)), nil
}
