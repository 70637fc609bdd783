package pg

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

// Identity tells databases apart that are called the same. A physical copy, such as a standby or a restored snapshot, has that
// of its original.
type Identity struct {
	// Cluster is the system identifier of the server's cluster; "" where the role may not read it.
	Cluster string
	// OID of the database within the cluster.
	OID uint32
}

// undefinedFunction is what a server answers that lacks pg_control_system, as those may that only speak Postgres's protocol.
const undefinedFunction = "42883"

// ReadIdentity of the database that q is connected to. q must not be a transaction: one would end where the role may not read it.
func ReadIdentity(ctx context.Context, q Querier) (id Identity, err error) {
	if err := q.QueryRow(ctx, "select oid from pg_database where datname = current_database()").Scan(&id.OID); err != nil {
		return id, fmt.Errorf("read which database this is: %w", err)
	}
	err = q.QueryRow(ctx, "select system_identifier::text from pg_control_system()").Scan(&id.Cluster)
	if server, ok := errors.AsType[*pgconn.PgError](err); ok && (server.Code == insufficientPrivilege || server.Code == undefinedFunction) {
		return id, nil
	}
	if err != nil {
		return id, fmt.Errorf("read which cluster this is: %w", err)
	}
	return id, nil
}

// Differs says that the other is not the same database; what one of them doesn't know is not compared.
func (id Identity) Differs(other Identity) bool {
	return id.OID != 0 && other.OID != 0 && id.OID != other.OID ||
		id.Cluster != "" && other.Cluster != "" && id.Cluster != other.Cluster
}
