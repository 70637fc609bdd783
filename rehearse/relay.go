package rehearse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// relay lends one connection of ours to a program of Postgres's. It greets like a server on a socket that only this user can
// reach, then passes bytes on: whatever form the connection string has, no password or certificate leaves this process, and
// the connection's parameters (read only, time-outs) hold for the program too.
type relay struct {
	folder   string
	listener net.Listener
	server   *pgconn.HijackedConn
	config   *pgx.ConnConfig
	pid      uint32 // of the server's process, also behind a pooler
}

// relayPort is only a part of the socket's name.
const relayPort = "5432"

func newRelay(ctx context.Context, config *pgx.ConnConfig) (*relay, error) {
	conn, err := pgconn.ConnectConfig(ctx, &config.Config)
	if err != nil {
		return nil, withoutAddress(err)
	}
	// A server whose client has died would wait for a lock on and on, and hold those it has. Servers on few systems can't tell.
	_, _ = conn.Exec(ctx, "set client_connection_check_interval = '500ms'").ReadAll()
	var pid uint64
	answer := conn.ExecParams(ctx, "select pg_backend_pid()", nil, nil, nil, nil).Read()
	if err = answer.Err; err == nil && len(answer.Rows) == 1 {
		pid, err = strconv.ParseUint(string(answer.Rows[0][0]), 10, 32)
	}
	if err != nil {
		_ = conn.Close(ctx)
		return nil, err
	}
	server, err := conn.Hijack()
	if err != nil {
		return nil, err
	}
	r := &relay{server: server, config: config, pid: uint32(pid)}
	if r.folder, err = os.MkdirTemp("", "contraflow-"); err == nil {
		r.listener, err = net.Listen("unix", filepath.Join(r.folder, ".s.PGSQL."+relayPort))
	}
	if err != nil {
		r.close()
		return nil, fmt.Errorf("open a socket for pg_dump and psql: %w", err)
	}
	return r, nil
}

// env is what a program finds us by.
func (r *relay) env() []string {
	return []string{"PGHOST=" + r.folder, "PGPORT=" + relayPort, "PGUSER=" + r.config.User, "PGDATABASE=" + r.config.Database,
		"PGSSLMODE=disable", "PGGSSENCMODE=disable", "PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
}

// serve one program until either side ends.
func (r *relay) serve() error {
	client, err := r.listener.Accept()
	if err != nil {
		return err
	}
	defer client.Close()
	backend := pgproto3.NewBackend(client, client)
	message, err := backend.ReceiveStartupMessage()
	if err != nil {
		return err
	}
	if _, ok := message.(*pgproto3.StartupMessage); !ok {
		return fmt.Errorf("unexpected %T", message)
	}
	backend.Send(&pgproto3.AuthenticationOk{})
	for name, value := range r.server.ParameterStatuses {
		backend.Send(&pgproto3.ParameterStatus{Name: name, Value: value})
	}
	backend.Send(&pgproto3.BackendKeyData{ProcessID: r.server.PID, SecretKey: make([]byte, 4)})
	backend.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	if err := backend.Flush(); err != nil {
		return err
	}
	ends := make(chan error, 2)
	pass := func(to io.Writer, from io.Reader) {
		_, err := io.Copy(to, from)
		ends <- err
	}
	go pass(r.server.Conn, client)
	go pass(client, r.server.Conn)
	return <-ends
}

func (r *relay) close() {
	_ = r.server.Conn.Close() // the server ends the session
	if r.listener != nil {
		_ = r.listener.Close()
	}
	if r.folder != "" {
		_ = os.RemoveAll(r.folder)
	}
}

// withoutAddress keeps the class of a failed connection and drops its text, which quotes parts of the connection string.
func withoutAddress(err error) error {
	failed, ok := errors.AsType[*pgconn.ConnectError](err)
	if !ok {
		return err
	}
	if refused, ok := errors.AsType[*pgconn.PgError](failed); ok {
		return fmt.Errorf("refused by the server (SQLSTATE %s)", refused.Code)
	}
	for _, cause := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, cause) {
			return cause
		}
	}
	return errors.New("it can't be reached; check address and credentials")
}
