package backfill

import (
	"context"
	"net"
	"runtime"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// laneBytes of heap at least for each lane: a lane gets through that in seconds, so that fewer gain nothing.
	laneBytes = 64 << 20
	// maxDefaultLanes: beyond that lanes mostly wait for each other's WAL; whoever knows better says so in the spec.
	maxDefaultLanes = 8
	// lanesOfUnknownCores suit the smallest servers that hold tables of more than one lane.
	lanesOfUnknownCores = 2
)

// defaultLanes for a server of so many cores, 0 if unknown, half of which are left to the application, and a table of so many
// bytes.
func defaultLanes(cores int, bytes int64) int {
	lanes := lanesOfUnknownCores
	if cores > 0 {
		lanes = cores / 2
	}
	return int(max(1, min(int64(lanes), bytes/laneBytes, maxDefaultLanes)))
}

// cores that the server may use, 0 if that cannot be known. Postgres does not tell; a connection within one host does, and a
// role that may read the server's files.
func (e *Engine) cores(ctx context.Context) int {
	conn, err := e.pool.Acquire(ctx)
	if err != nil {
		return 0
	}
	defer conn.Release()
	if sameHost(ctx, conn) {
		return runtime.NumCPU()
	}
	var may bool
	if err := conn.QueryRow(ctx, `select has_function_privilege('pg_read_file(text, bigint, bigint, boolean)', 'execute')
		and pg_has_role('pg_read_server_files', 'usage')`).Scan(&may); err != nil || !may {
		return 0
	}
	// The second file limits a container, and exists in few places.
	var online, quota string
	if err := conn.QueryRow(ctx, `select coalesce(pg_read_file('/sys/devices/system/cpu/online', 0, 4096, true), ''),
		coalesce(pg_read_file('/sys/fs/cgroup/cpu.max', 0, 4096, true), '')`).Scan(&online, &quota); err != nil {
		return 0
	}
	return limited(processors(online), quota)
}

// sameHost tells whether no wire and no proxy is between us and the server: both name the same ends of the connection.
func sameHost(ctx context.Context, conn *pgxpool.Conn) bool {
	var server, client *string
	if err := conn.QueryRow(ctx, "select host(inet_server_addr()), host(inet_client_addr()) || ' ' || inet_client_port()").Scan(&server, &client); err != nil {
		return false
	}
	switch local := conn.Conn().PgConn().Conn().LocalAddr().(type) {
	case *net.UnixAddr:
		return server == nil
	case *net.TCPAddr:
		return server != nil && client != nil && *server == local.IP.String() &&
			*client == local.IP.String()+" "+strconv.Itoa(local.Port)
	}
	return false
}

// processors in a list as Linux writes it, for example "0-3,8"; 0 if it is no such list.
func processors(list string) int {
	n := 0
	for part := range strings.SplitSeq(strings.TrimSpace(list), ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		first, err1 := strconv.Atoi(from)
		last, err2 := strconv.Atoi(to)
		if err1 != nil || err2 != nil || last < first {
			return 0
		}
		n += last - first + 1
	}
	return n
}

// limited applies a container's quota, as cgroups write it: "max 100000", or the microseconds of work in a period and the
// period's, for example "150000 100000" for a core and a half.
func limited(cores int, quota string) int {
	work, period, _ := strings.Cut(strings.TrimSpace(quota), " ")
	w, err1 := strconv.Atoi(work)
	p, err2 := strconv.Atoi(period)
	if cores == 0 || err1 != nil || err2 != nil || w <= 0 || p <= 0 {
		return cores
	}
	return min(cores, max(1, w/p))
}
