// Package postgres runs a real Postgres cluster in a temporary folder, for rehearsals, the demo and the tests.
// It works as root (the server then runs as another user, because initdb refuses root) and as an ordinary user.
package postgres

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Superuser is the name of the cluster's bootstrap role.
const Superuser = "postgres"

// startTimeout bounds initdb's and the server's start; a cold two-core machine needs about 4 s, and many times that where a dozen start at once.
const startTimeout = 2 * time.Minute

const (
	// portAttempts is how many ports are tried: between the moment a free one is found and the server's start anybody may take it.
	portAttempts = 3
	// dropAttempts is how often a database is dropped: Postgres gives whoever is connected five seconds to go.
	dropAttempts = 3
	stateInUse   = "55006"
)

// errEnded says that the server has ended before it answered.
var errEnded = errors.New("the server ended at once")

// Options of a cluster; the zero value is right for the demo.
type Options struct {
	// Binaries is the folder of initdb and postgres. Defaults to what Binaries finds.
	Binaries string
	// Superuser is the name of the bootstrap role. Defaults to the constant Superuser.
	Superuser string
	// Port to listen on. Defaults to a free one.
	Port int
	// Settings for postgresql.conf, for example {"fsync": "off"}. Defaults to none.
	Settings map[string]string
}

// Cluster is a running server. Its password is random, so a leak of it can be searched for.
type Cluster struct {
	Port     int
	Password string

	superuser string

	root  string   // temporary folder that holds the data folder and the log
	alive *os.File // its lock, see sweep
	run   func() *exec.Cmd
	cmd   *exec.Cmd
	done  chan struct{} // closed once the server has ended
}

// Start makes a cluster in a new temporary folder and waits until it answers.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	bin := o.Binaries
	if bin == "" {
		found, err := Binaries()
		if err != nil {
			return nil, err
		}
		bin = found
	}
	sweep()
	root, err := os.MkdirTemp("", folderPrefix)
	if err != nil {
		return nil, err
	}
	c := &Cluster{Port: o.Port, Password: rand.Text(), superuser: cmp.Or(o.Superuser, Superuser), root: root}
	if c.alive, err = claim(root); err == nil {
		err = c.start(ctx, bin, o)
	}
	if err != nil {
		c.Stop()
		return nil, fmt.Errorf("start Postgres from %s: %w", bin, err)
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context, bin string, o Options) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	pwfile := filepath.Join(c.root, "password")
	if err := os.WriteFile(pwfile, []byte(c.Password), 0o600); err != nil {
		return err
	}
	attr, err := c.processAttributes(pwfile)
	if err != nil {
		return err
	}
	dir := filepath.Join(c.root, "cluster")
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", dir, "-U", c.superuser,
		"-A", "scram-sha-256", "--pwfile", pwfile, "--no-sync", "-E", "UTF8", "--no-locale")
	initdb.Dir, initdb.SysProcAttr, initdb.Env = c.root, attr, environment()
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	args := []string{"-D", dir, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=" + c.root}
	for name, value := range o.Settings {
		args = append(args, "-c", name+"="+value)
	}
	c.run = func() *exec.Cmd {
		cmd := exec.Command(filepath.Join(bin, "postgres"), append(args, "-p", strconv.Itoa(c.Port))...)
		cmd.Dir, cmd.SysProcAttr, cmd.Env = c.root, attr, environment()
		return cmd
	}
	for attempt := 1; ; attempt++ {
		if o.Port == 0 {
			if c.Port, err = freePort(); err != nil {
				return err
			}
		}
		if err = c.launch(ctx); !errors.Is(err, errEnded) || o.Port != 0 || attempt == portAttempts {
			return err
		}
	}
}

// Restart starts the server again after Crash, on the same port and the same data, and waits until it has recovered.
// A running one is left alone.
func (c *Cluster) Restart(ctx context.Context) error {
	if !c.ended() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := c.launch(ctx); err != nil {
		return fmt.Errorf("start Postgres again: %w", err)
	}
	return nil
}

// launch runs the server on its folder.
func (c *Cluster) launch(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(c.root, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd, done := c.run(), make(chan struct{})
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	c.cmd, c.done = cmd, done
	go func() {
		_ = cmd.Wait() // how it ended is in the log
		close(done)
	}()
	return c.waitReady(ctx)
}

func (c *Cluster) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// Crash ends the server without a checkpoint (immediate shutdown), as a power cut would, and waits until it is gone.
func (c *Cluster) Crash() {
	_ = c.cmd.Process.Signal(syscall.SIGQUIT) // an error means that it has ended already
	<-c.done
}

// environment of the server's processes: what runs inside it must not read our connection strings and tokens.
func environment() []string {
	kept := []string{"LC_ALL=C"}
	for _, name := range []string{"PATH", "LD_LIBRARY_PATH", "TZ"} {
		if value, ok := os.LookupEnv(name); ok {
			kept = append(kept, name+"="+value)
		}
	}
	return kept
}

// processAttributes makes the server die with us, and, when we are root, run as another user who owns the folder.
func (c *Cluster) processAttributes(owned ...string) (*syscall.SysProcAttr, error) {
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGINT}
	if os.Geteuid() != 0 {
		return attr, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.Atoi(u.Uid)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.Atoi(u.Gid)
		if err != nil {
			return nil, err
		}
		for _, path := range append(owned, c.root) {
			if err := os.Chown(path, uid, gid); err != nil {
				return nil, err
			}
		}
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		return attr, nil
	}
	return nil, errors.New("initdb refuses to run as root and there is no user postgres or nobody to run it as")
}

func (c *Cluster) waitReady(ctx context.Context) error {
	for {
		conn, err := pgx.Connect(ctx, c.DSN(c.superuser, "postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-c.done:
			return fmt.Errorf("%w:\n%s", errEnded, c.Log())
		case <-ctx.Done():
			return fmt.Errorf("no answer: %w\n%s", err, c.Log())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// DSN is the connection string of a role for a database; every role of the cluster has the same password.
func (c *Cluster) DSN(role, database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(role, c.Password),
		Host: "127.0.0.1:" + strconv.Itoa(c.Port), Path: "/" + database, RawQuery: "sslmode=disable"}
	return u.String()
}

// CreateRole makes an ordinary role: it may log in and nothing else.
func (c *Cluster) CreateRole(ctx context.Context, role string) error {
	return c.exec(ctx, "postgres", "create role "+pgx.Identifier{role}.Sanitize()+" login password '"+c.Password+"'")
}

// CreateDatabase makes a database that role owns.
func (c *Cluster) CreateDatabase(ctx context.Context, name, role string) error {
	return c.exec(ctx, "postgres", "create database "+pgx.Identifier{name}.Sanitize()+" owner "+pgx.Identifier{role}.Sanitize())
}

// DropDatabase removes a database and whoever is still connected to it.
func (c *Cluster) DropDatabase(ctx context.Context, name string) error {
	for attempt := 1; ; attempt++ {
		err := c.exec(ctx, "postgres", "drop database if exists "+pgx.Identifier{name}.Sanitize()+" with (force)")
		if inUse, ok := errors.AsType[*pgconn.PgError](err); !ok || inUse.Code != stateInUse || attempt == dropAttempts {
			return err
		}
	}
}

func (c *Cluster) exec(ctx context.Context, database, sql string) error {
	conn, err := pgx.Connect(ctx, c.DSN(c.superuser, database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

// Pid of the postmaster.
func (c *Cluster) Pid() int { return c.cmd.Process.Pid }

// Log is what the server has logged so far.
func (c *Cluster) Log() string {
	out, err := os.ReadFile(filepath.Join(c.root, "log"))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(bytes.ToValidUTF8(out, nil)))
}

// Stop ends the server (fast shutdown; SIGQUIT after five seconds) and removes its folder. It may be called twice.
func (c *Cluster) Stop() {
	if c.cmd != nil {
		_ = c.cmd.Process.Signal(syscall.SIGINT) // an error means that it has ended already
		select {
		case <-c.done:
		case <-time.After(5 * time.Second):
			_ = c.cmd.Process.Signal(syscall.SIGQUIT)
			<-c.done
		}
	}
	if c.alive != nil {
		_ = c.alive.Close()
	}
	_ = os.RemoveAll(c.root) // left-overs of a temporary folder hurt nobody
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
