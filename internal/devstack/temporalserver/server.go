// Package temporalserver runs a real Temporal development server (the CLI's `server start-dev`) for the demo and the tests.
package temporalserver

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"

	"github.com/contraflow/contraflow/internal/devstack/port"
)

// Namespace is the one that every development server has.
const Namespace = client.DefaultNamespace

const (
	startTimeout = 60 * time.Second      // it is up in 0.5 s; a cold, loaded two-core machine may take much longer
	stopTimeout  = 5 * time.Second       // a server that has not ended by then will not
	pollInterval = 50 * time.Millisecond // a tenth of a quick start
	answerTime   = 5 * time.Second       // of one call: a server that is up answers in milliseconds, on a loaded machine in seconds
	portAttempts = 3                     // somebody else may take one of the ports that the server finds itself: rare, never thrice
	logShown     = 4 << 10               // bytes of the log's end in an error: the last words matter
)

// Options of a server; the zero value is a headless server on a free port whose history ends with it.
type Options struct {
	// CLI is the path of the temporal program. Defaults to what Binary finds.
	CLI string
	// Port of the gRPC service. Defaults to a free one.
	Port int
	// UI asks for Temporal's web interface, on UIPort or else on a free port. A given UIPort asks for it too.
	UI     bool
	UIPort int
	// DBFile keeps the history; Stop leaves it in place. Defaults to a temporary one that Stop removes.
	DBFile string
	// LogFile receives the server's log, appended. Defaults to a temporary one that Stop removes.
	LogFile string
	// DynamicConfig sets server limits and switches, for example {"limit.historyCount.error": "100"}; values are JSON.
	DynamicConfig map[string]string
}

// Server is a running server.
type Server struct {
	options Options
	root    string   // temporary folder, also the server's home
	release []func() // each gives a port back
	cmd     *exec.Cmd
	done    chan struct{} // closed once the process has ended
}

// Start starts a server and waits until its default namespace answers. ctx bounds the start, not the server's life;
// the server dies with this process.
func Start(ctx context.Context, o Options) (*Server, error) {
	var err error
	if o.CLI == "" {
		o.CLI, err = Binary()
	} else {
		err = executable(o.CLI)
	}
	if err != nil {
		return nil, fmt.Errorf("start Temporal: %w", err)
	}
	root, err := os.MkdirTemp("", "contraflow-temporal-")
	if err != nil {
		return nil, fmt.Errorf("start Temporal: %w", err)
	}
	for attempt := 1; ; attempt++ {
		s := &Server{root: root, options: o}
		if err = s.settle(); err == nil {
			err = s.Restart(ctx)
		}
		if err == nil {
			return s, nil
		}
		if !errors.Is(err, errEnded) && !errors.Is(err, syscall.EADDRINUSE) || attempt == portAttempts {
			s.Stop()
			return nil, err
		}
		s.giveBack()
	}
}

// settle fills in free ports and temporary files.
func (s *Server) settle() error {
	o := &s.options
	if o.Port == 0 {
		if err := s.keep(&o.Port); err != nil {
			return err
		}
	}
	if o.UI && o.UIPort == 0 {
		if err := s.keep(&o.UIPort); err != nil {
			return err
		}
	}
	o.DBFile = cmp.Or(o.DBFile, filepath.Join(s.root, "temporal.db"))
	o.LogFile = cmp.Or(o.LogFile, filepath.Join(s.root, "log"))
	return nil
}

// keep a port for the server's whole life, also while it is killed.
func (s *Server) keep(p *int) error {
	kept, release, err := port.Keep()
	if err != nil {
		return err
	}
	*p, s.release = kept, append(s.release, release)
	return nil
}

// available refuses a port that somebody listens on: his answers would pass for our server's. 0 is always available.
func available(port int) error {
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return err
	}
	return l.Close()
}

// errEnded says that the server ended before it answered, as it does when somebody takes its port first.
var errEnded = errors.New("the Temporal server ended at once")

// Restart starts the server again after Kill, on the same ports and the same history. A running one is left alone.
func (s *Server) Restart(ctx context.Context) error {
	if s.running() {
		return nil
	}
	for _, port := range []int{s.options.Port, s.options.UIPort} {
		if err := available(port); err != nil {
			return fmt.Errorf("start Temporal: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	logfile, err := os.OpenFile(s.options.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start Temporal: %w", err)
	}
	defer logfile.Close()
	cmd := exec.Command(s.options.CLI, s.arguments()...)
	cmd.Env = []string{"HOME=" + s.root} // the user's own Temporal profile is for other servers
	cmd.Stdout, cmd.Stderr = logfile, logfile
	// A group of its own, so that Ctrl-C reaches us first; SIGKILL with us, for the history survives it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start Temporal: %w", err)
	}
	s.cmd, s.done = cmd, make(chan struct{})
	go func(done chan<- struct{}) {
		_ = cmd.Wait() // how it ended is in the log
		close(done)
	}(s.done)
	if err := s.waitReady(ctx); err != nil {
		s.Kill()
		return err
	}
	return nil
}

func (s *Server) arguments() []string {
	o := s.options
	args := []string{"server", "start-dev", "--ip", "127.0.0.1", "--port", strconv.Itoa(o.Port), "--db-filename", o.DBFile,
		"--sqlite-pragma", "synchronous=0", // servers are killed here, machines never
		"--log-level", "warn", "--disable-config-env", "--disable-config-file"}
	if o.UIPort == 0 {
		args = append(args, "--headless")
	} else {
		args = append(args, "--ui-port", strconv.Itoa(o.UIPort))
	}
	for key, value := range o.DynamicConfig {
		args = append(args, "--dynamic-config-value", key+"="+value)
	}
	return args
}

func (s *Server) waitReady(ctx context.Context) error {
	c, err := client.NewLazyClient(client.Options{HostPort: s.Address(), Logger: Quiet()})
	if err != nil {
		return fmt.Errorf("connect to Temporal on %s: %w", s.Address(), err)
	}
	defer c.Close()
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	for {
		attempt, cancel := context.WithTimeout(ctx, 2*answerTime) // the SDK gives each call half of what is left
		err := answers(attempt, c.WorkflowService())
		cancel()
		if err == nil && s.running() {
			return nil
		}
		select {
		case <-s.done:
			return fmt.Errorf("%w:\n%s", errEnded, s.logEnd())
		case <-ctx.Done():
			return fmt.Errorf("no answer from Temporal on %s: %w\n%s", s.Address(), ctx.Err(), s.logEnd())
		case <-poll.C:
		}
	}
}

// answers asks for the namespace, and then those services about it that keep what they know of namespaces to themselves: for some
// moments after its start one of them may not have heard of it.
func answers(ctx context.Context, service workflowservice.WorkflowServiceClient) error {
	if _, err := service.DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: Namespace}); err != nil {
		return err
	}
	const nothing = "nothing-is-called-so"
	if _, err := service.DescribeTaskQueue(ctx, &workflowservice.DescribeTaskQueueRequest{
		Namespace: Namespace, TaskQueue: &taskqueuepb.TaskQueue{Name: nothing}, TaskQueueType: enumspb.TASK_QUEUE_TYPE_WORKFLOW,
	}); err != nil {
		return err
	}
	_, err := service.DescribeWorkflowExecution(ctx, &workflowservice.DescribeWorkflowExecutionRequest{
		Namespace: Namespace, Execution: &commonpb.WorkflowExecution{WorkflowId: nothing},
	})
	if _, ok := errors.AsType[*serviceerror.NotFound](err); ok {
		return nil
	}
	return err
}

// Quiet is a logger for the Temporal SDK that drops everything: what it would say while a server starts is expected.
func Quiet() log.Logger { return log.NewStructuredLogger(slog.New(slog.DiscardHandler)) }

func (s *Server) running() bool {
	if s.cmd == nil {
		return false
	}
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

// Address of the gRPC service, host:port.
func (s *Server) Address() string { return "127.0.0.1:" + strconv.Itoa(s.options.Port) }

// UIURL is the address of the web interface; "" without one.
func (s *Server) UIURL() string {
	if s.options.UIPort == 0 {
		return ""
	}
	return "http://127.0.0.1:" + strconv.Itoa(s.options.UIPort)
}

// Pid of the server's process; 0 when it is not running.
func (s *Server) Pid() int {
	if !s.running() {
		return 0
	}
	return s.cmd.Process.Pid
}

// Kill ends the server as a power cut would (SIGKILL) and waits until it is gone. Restart starts it again.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill() // an error means that it has ended already
	<-s.done
}

// Stop ends the server (SIGKILL after five seconds) and removes what was temporary. It may be called twice.
func (s *Server) Stop() {
	if s.running() {
		_ = s.cmd.Process.Signal(syscall.SIGINT) // an error means that it has ended already
		grace := time.NewTimer(stopTimeout)
		defer grace.Stop()
		select {
		case <-s.done:
		case <-grace.C:
			s.Kill()
		}
	}
	s.giveBack()
	_ = os.RemoveAll(s.root) // left-overs of a temporary folder hurt nobody
}

// giveBack the ports that were kept.
func (s *Server) giveBack() {
	for _, release := range s.release {
		release()
	}
}

func (s *Server) logEnd() string {
	f, err := os.Open(s.options.LogFile)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > logShown {
		_, _ = f.Seek(-logShown, io.SeekEnd) // at worst the log is shown from its start
	}
	out, err := io.ReadAll(io.LimitReader(f, logShown))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(bytes.ToValidUTF8(out, nil)))
}
