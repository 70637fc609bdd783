package app

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/pgtest"
)

func TestServesEverySchemaWhateverTheFlags(t *testing.T) {
	t.Parallel()
	for version := 1; version <= 3; version++ {
		for _, percent := range []int{0, 100} {
			t.Run(fmt.Sprintf("version %d, flags at %d percent", version, percent), func(t *testing.T) {
				t.Parallel()
				b := setup(t, version)
				b.writeNew(percent)
				b.readNew(percent)

				status, made := b.call("POST", "/customers", Customer{Name: "Ada", Email: "ada@example.com", Address: "12 High Street"})
				require.Equal(t, http.StatusCreated, status)
				require.Equal(t, Customer{ID: made.ID, Name: "Ada", Email: "ada@example.com", Address: "12 High Street"}, made)
				path := fmt.Sprint("/customers/", made.ID)
				status, got := b.call("GET", path, nil)
				require.Equal(t, http.StatusOK, status)
				require.Equal(t, made, got)

				_, err := b.pool.Exec(t.Context(), "update customers set changed_at = 'epoch'")
				require.NoError(t, err)
				status, _ = b.call("PUT", path+"/address", map[string]string{"address": "7 Low Road"})
				require.Equal(t, http.StatusNoContent, status)
				_, got = b.call("GET", path, nil)
				require.Equal(t, "7 Low Road", got.Address)
				require.NotContains(t, b.column("changed_at::text", made.ID), "1970")

				s := b.shop.Stats()
				require.Equal(t, int64(4), s.Requests)
				require.Zero(t, s.Failed)
				want := map[string]Stats{
					"1/0": {ReadsOld: 2, WritesOld: 2, Shape: "old"}, "1/100": {ReadsOld: 2, WritesOld: 2, Shape: "old"},
					"2/0": {ReadsOld: 2, WritesOld: 2, Shape: "both"}, "2/100": {ReadsNew: 2, WritesBoth: 2, Shape: "both"},
					"3/0": {ReadsNew: 2, WritesNew: 2, Shape: "new"}, "3/100": {ReadsNew: 2, WritesNew: 2, Shape: "new"},
				}[fmt.Sprintf("%d/%d", version, percent)]
				s.Requests, s.P50, s.P99 = 0, 0, 0
				require.Equal(t, want, s)
			})
		}
	}
}

func TestWritesBothShapesAsTheBackfillWould(t *testing.T) {
	t.Parallel()
	b := setup(t, 2)
	addresses := []string{"12 High Street", "1a  Two Spaces", " leading", "trailing ", "9 Ünïcode straße", "1 %s 'quoted' \\"}
	for _, address := range addresses {
		b.writeNew(0)
		_, made := b.call("POST", "/customers", Customer{Address: address})
		require.Empty(t, b.column("street", made.ID), "write-new is off")
		b.writeNew(100)
		status, _ := b.call("PUT", fmt.Sprintf("/customers/%d/address", made.ID), map[string]string{"address": address})
		require.Equal(t, http.StatusNoContent, status)
	}
	var same int
	require.NoError(t, b.pool.QueryRow(t.Context(), `select count(*) from customers
		where street_number = split_part(address, ' ', 1) and street = substr(address, strpos(address, ' ') + 1)
		and address = street_number || ' ' || street`).Scan(&same))
	require.Equal(t, len(addresses), same)
}

func TestAPercentageIsOfCustomersAndAlwaysTheSameOnes(t *testing.T) {
	t.Parallel()
	b := setup(t, 2)
	b.writeNew(25)
	const customers = 400
	for range customers {
		status, _ := b.call("POST", "/customers", Customer{Address: "1 Street"})
		require.Equal(t, http.StatusCreated, status)
	}
	both := b.shop.Stats().WritesBoth
	require.InDelta(t, customers/4, both, customers/10)
	for id := range customers {
		b.call("PUT", fmt.Sprintf("/customers/%d/address", id+1), map[string]string{"address": "2 Street"})
	}
	require.Equal(t, 2*both, b.shop.Stats().WritesBoth)
	var filled int64
	require.NoError(t, b.pool.QueryRow(t.Context(), "select count(street) from customers").Scan(&filled))
	require.Equal(t, both, filled)
}

func TestTheNewShapeIsReadAlone(t *testing.T) {
	t.Parallel()
	b := setup(t, 2)
	_, made := b.call("POST", "/customers", Customer{Address: "12 High Street"})
	path := fmt.Sprint("/customers/", made.ID)
	b.readNew(100)
	_, got := b.call("GET", path, nil)
	require.Empty(t, got.Address, "never filled in")
	_, err := b.pool.Exec(t.Context(), "update customers set street_number = '12', street = 'Wrong Street'")
	require.NoError(t, err)
	_, got = b.call("GET", path, nil)
	require.Equal(t, "12 Wrong Street", got.Address)
	b.readNew(0)
	_, got = b.call("GET", path, nil)
	require.Equal(t, "12 High Street", got.Address)
}

func TestRefusesWhatItCannotKeep(t *testing.T) {
	t.Parallel()
	b := setup(t, 3)
	for _, c := range []struct {
		method, path string
		body         any
		status       int
	}{
		{"GET", "/customers/1", nil, http.StatusNotFound},
		{"PUT", "/customers/1/address", Customer{Address: "1 Street"}, http.StatusNotFound},
		{"GET", "/customers/one", nil, http.StatusBadRequest},
		{"POST", "/customers", Customer{Address: "Nowhere"}, http.StatusBadRequest},
		{"POST", "/customers", Customer{Address: "1 St\x00reet"}, http.StatusBadRequest},
		{"POST", "/customers", Customer{Name: "\x00", Address: "1 Street"}, http.StatusBadRequest},
		{"POST", "/customers", "text", http.StatusBadRequest},
		{"POST", "/customers", Customer{Address: "1 " + strings.Repeat("x", maxBody)}, http.StatusBadRequest},
		{"POST", "/debug/fault", map[string]string{"fault": "fire"}, http.StatusBadRequest},
		{"POST", "/debug/fault", "text", http.StatusBadRequest},
	} {
		status, _ := b.call(c.method, c.path, c.body)
		require.Equal(t, c.status, status, c)
	}
	require.Zero(t, b.shop.Stats().Failed)
	var count int
	require.NoError(t, b.pool.QueryRow(t.Context(), "select count(*) from customers").Scan(&count))
	require.Zero(t, count)
}

func TestTheFaultShowsOnlyInHealth(t *testing.T) {
	t.Parallel()
	b := setup(t, 2)
	b.writeNew(100)
	_, made := b.call("POST", "/customers", Customer{Address: "1 Street"})
	path := fmt.Sprint("/customers/", made.ID)
	health := func() int { status, _ := b.call("GET", "/healthz", nil); return status }
	healthy := func() bool { return health() == http.StatusOK } // a database that is late passes, a fault stays
	b.readNew(100)
	b.call("GET", path, nil)
	b.readNew(0)

	b.call("POST", "/debug/fault", map[string]string{"fault": FaultNewReads})
	b.call("GET", path, nil)
	require.Eventually(t, healthy, patience, look, "reads before it was armed do not count, nor do old ones")
	b.readNew(100)
	status, got := b.call("GET", path, nil)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "1 Street", got.Address)
	require.Equal(t, http.StatusServiceUnavailable, health())
	b.call("POST", "/debug/fault", map[string]string{"fault": ""})
	require.Eventually(t, healthy, patience, look)

	b.pool.Close()
	require.Equal(t, http.StatusServiceUnavailable, health())
}

func TestDebugIsOffUnlessAskedFor(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	_, pattern := b.shop.Handler(false).(*http.ServeMux).Handler(httptest.NewRequest("POST", "/debug/fault", nil))
	require.Empty(t, pattern)
}

func TestErrorsHoldNoValuesAndNoDSN(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	var log bytes.Buffer
	b.shop.log = slog.New(slog.NewTextHandler(&log, nil))
	b.db.Exec(t, "alter table customers add constraint no_sesame check (address not like '%Sesame%')")
	status, _ := b.call("POST", "/customers", Customer{Address: "1 Sesame Street"})
	require.Equal(t, http.StatusInternalServerError, status)
	require.Contains(t, log.String(), "SQLSTATE 23514")
	require.Contains(t, log.String(), "POST /customers")
	require.NotContains(t, log.String(), "Sesame")
	require.Equal(t, int64(1), b.shop.Stats().Failed)

	pool, err := pgxpool.New(t.Context(), "postgres://someone:hunter2@127.0.0.1:1/shop")
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	_, err = OpenStore(t.Context(), pool, b.flags, slog.New(slog.DiscardHandler))
	require.EqualError(t, err, "read the shape of the table customers: the database cannot be reached")
}

func TestWithoutTableTheStartSaysWhatToDo(t *testing.T) {
	t.Parallel()
	pool, err := pgxpool.New(t.Context(), pgtest.New(t).DSN)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	_, err = OpenStore(t.Context(), pool, nil, slog.New(slog.DiscardHandler))
	require.ErrorIs(t, err, ErrNoTable)
}
