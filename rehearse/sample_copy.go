package rehearse

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

var (
	// errNoReplica says that the scratch server's role can't do without triggers.
	errNoReplica = errors.New("the role on the scratch server may not set session_replication_role, so triggers and foreign keys would get in the way: make it a superuser there, or leave --scratch out")
	// errSource stands for whatever ended the stream, in what the scratch server gets to hear and may log.
	errSource = errors.New("the target ended the copy")
)

// sourceError is what the target says.
type sourceError struct{ error }

func (e sourceError) Unwrap() error { return e.error }

// copy streams the rows as text: in binary, arrays of types of one's own carry numbers that differ between two databases, and a
// column whose type the plan has changed could not be read.
func (s *sampling) copy(ctx context.Context, to *pgx.Conn) error {
	why := ""
	reader, writer := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		var err error
		why, err = s.onTarget(ctx, func(tx pgx.Tx) error {
			_, err := tx.Conn().PgConn().CopyTo(ctx, writer, "copy ("+s.query()+") to stdout")
			return err
		})
		if err == nil && why != "" {
			err = sourceError{errors.New(why)}
		}
		if err != nil {
			_ = writer.CloseWithError(errSource)
		} else {
			_ = writer.Close()
		}
		sent <- err
	}()
	tag, err := to.PgConn().CopyFrom(ctx, reader, fmt.Sprintf("copy %s (%s) from stdin", s.here, s.columns))
	_, _ = io.Copy(io.Discard, reader) // a refused row must not block the target's end
	if failed := <-sent; failed != nil {
		return failed
	}
	s.copied = tag.RowsAffected()
	return err
}

// refused turns what kept the rows out into a line of the report where it tells of the plan or of rights.
func (s *sampling) refused(err error) error {
	server, ok := errors.AsType[*pgconn.PgError](err)
	source, from := errors.AsType[sourceError](err)
	switch {
	case errors.Is(err, errNoReplica):
		s.unsampled(s.step, errNoReplica.Error())
		return nil
	case from:
		s.unsampled(s.step, source.Error())
		return nil
	case ok && of(server.Code):
		return s.tried(Trial{Step: s.step.Name, Kind: KindSample}, errShape("the table, as it is by then, refuses rows of the target: "+told(server)))
	case ok:
		return fmt.Errorf("copy rows of %s to the scratch database: %s", s.here, told(server))
	}
	return err
}
