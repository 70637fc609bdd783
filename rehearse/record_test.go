package rehearse

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/pgtest"
)

// busy is what stands before each file.
const busy = `
	create table customers (id bigint primary key, address text, code varchar(10), at timestamp, age int,
		constraint age_known check (age is not null));
	alter table customers add constraint address_short check (length(address) < 1000) not valid;
	create index customers_code on customers (code);
	create index customers_at on customers (at);
	create table orders (id bigint primary key, customer bigint, amount int);
	create table later (id bigint, at timestamp);
	create table events (id bigint, at timestamp) partition by range (at);
	create table events_1 partition of events for values from ('2024-01-01') to ('2025-01-01');
	create table events_2 (id bigint, at timestamp, constraint in_range check (at is not null and at >= '2025-01-01' and at < '2026-01-01'));
	create materialized view totals as select customer, sum(amount) from orders group by 1;
	create unique index on totals (customer);
	create table names (code varchar(10) primary key);
	create table stock (shop int, item int, primary key (shop, item));
	create function work() returns int language sql as 'update customers set age = 2 where id > 0 returning 1';
	create type mood as enum ('sad');
	create procedure fix() language plpgsql as $$ begin update orders set amount = 1; commit; end $$;`

const outsideHeader = "-- contraflow: no-transaction\n"

func TestALockOfAnEarlierStatementIsSaidToBeStillHeld(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec(t, busy)
	told, err := Statements(t.Context(), db.DSN, files(t, map[string]string{"1_file.up.sql": `alter table orders add note text; alter table orders add more text;
		alter table customers add more text; create index i on customers (code)`}), []uint{1})
	require.NoError(t, err)
	var details []string
	for _, s := range told {
		details = append(details, s.Detail())
	}
	require.Equal(t, []string{"ACCESS EXCLUSIVE on orders", "still holds ACCESS EXCLUSIVE on orders", "ACCESS EXCLUSIVE on customers",
		"still holds ACCESS EXCLUSIVE on customers, builds i on customers"}, details)
}

func TestEachStatementTellsWhatItDoesToTrafficBesideIt(t *testing.T) {
	t.Parallel()
	for name, it := range map[string]struct {
		sql   string
		last  Verdict // of the last statement
		lock  string  // its strongest
		wrote []string
	}{
		"column":                      {"alter table customers add street text", Instant, "ACCESS EXCLUSIVE on customers", nil},
		"column, constant default":    {"alter table customers add n int not null default 7", Instant, "ACCESS EXCLUSIVE on customers", nil},
		"column, volatile default":    {"alter table customers add n uuid default gen_random_uuid()", BlocksAll, "ACCESS EXCLUSIVE on customers", []string{"rewrites customers"}},
		"column with its check":       {"alter table customers add n int check (n > 0)", BlocksScan, "ACCESS EXCLUSIVE on customers", []string{"scans customers"}},
		"column dropped":              {"alter table customers drop code", Instant, "ACCESS EXCLUSIVE on customers", nil},
		"type, rewritten":             {"alter table customers alter age type bigint", BlocksAll, "ACCESS EXCLUSIVE on customers", []string{"rewrites customers"}},
		"type, wider":                 {"alter table customers alter code type varchar(20)", Instant, "ACCESS EXCLUSIVE on customers", nil},
		"type, narrower":              {"alter table customers alter code type varchar(5)", BlocksAll, "ACCESS EXCLUSIVE on customers", []string{"rewrites customers"}},
		"type, other order":           {`alter table customers alter code type varchar(10) collate "POSIX"`, BlocksScan, "ACCESS EXCLUSIVE on customers", []string{"builds customers_code on customers"}},
		"time zone where it is UTC":   {"set timezone = 'UTC'; alter table later alter at type timestamptz", Instant, "ACCESS EXCLUSIVE on later", nil},
		"time zone elsewhere":         {"set timezone = 'Asia/Tokyo'; alter table later alter at type timestamptz", BlocksAll, "ACCESS EXCLUSIVE on later", []string{"rewrites later"}},
		"not null":                    {"alter table customers alter address set not null", BlocksScan, "ACCESS EXCLUSIVE on customers", []string{"scans customers"}},
		"not null, proved by a check": {"alter table customers alter age set not null", Instant, "ACCESS EXCLUSIVE on customers", nil},
		"check":                       {"alter table customers add check (id > 0)", BlocksScan, "ACCESS EXCLUSIVE on customers", []string{"scans customers"}},
		"check, not valid":            {"alter table customers add check (id > 0) not valid", Instant, "ACCESS EXCLUSIVE on customers", nil},
		"check validated":             {"alter table customers validate constraint address_short", Background, "SHARE UPDATE EXCLUSIVE on customers", []string{"scans customers"}},
		"check validated on its own":  {outsideHeader + "alter table customers validate constraint address_short", Background, "SHARE UPDATE EXCLUSIVE on customers", []string{"scans customers"}},
		"check added and validated": {"alter table customers add constraint c check (id > 0) not valid; alter table customers validate constraint c", BlocksScan,
			"ACCESS EXCLUSIVE on customers", []string{"scans customers"}},
		"foreign key": {"alter table orders add foreign key (customer) references customers", BlocksWrites, "SHARE ROW EXCLUSIVE on customers", []string{"scans orders"}},
		"foreign key, proved along an index": {"set enable_hashjoin = off; set enable_seqscan = off; alter table customers add foreign key (code) references names", BlocksWrites,
			"SHARE ROW EXCLUSIVE on customers", []string{"scans customers"}},
		"foreign key, not valid":      {"alter table orders add foreign key (customer) references customers not valid", Instant, "SHARE ROW EXCLUSIVE on customers", nil},
		"unique":                      {"alter table customers add unique (code)", BlocksScan, "ACCESS EXCLUSIVE on customers", []string{"builds customers_code_key on customers"}},
		"index":                       {"create index i on customers (address)", BlocksWrites, "SHARE on customers", []string{"builds i on customers"}},
		"index, concurrently":         {outsideHeader + "create index concurrently i on customers (address)", Background, "SHARE UPDATE EXCLUSIVE on customers", []string{"builds i on customers"}},
		"index on all partitions":     {"create index i on events (at)", BlocksWrites, "SHARE on events", []string{"builds events_1_at_idx on events_1"}},
		"index on a new table":        {"create table n (id int); create index i on n (id)", Instant, "", nil},
		"index dropped":               {"drop index customers_code", Instant, "ACCESS EXCLUSIVE on customers", nil},
		"index dropped, concurrently": {outsideHeader + "drop index concurrently customers_code", Instant, "", nil},
		"index rebuilt":               {"reindex index customers_code", BlocksScan, "ACCESS EXCLUSIVE on customers_code", []string{"builds customers_code on customers"}},
		"index rebuilt, concurrently": {outsideHeader + "reindex index concurrently customers_code", Background, "SHARE UPDATE EXCLUSIVE on customers", []string{"builds customers_code on customers"}},
		"index renamed":               {"alter index customers_code rename to c", Instant, "SHARE UPDATE EXCLUSIVE on customers_code", nil},
		"partition, proved":           {"alter table events attach partition events_2 for values from ('2025-01-01') to ('2026-01-01')", Instant, "ACCESS EXCLUSIVE on events_2", nil},
		"partition, scanned":          {"alter table events attach partition later for values from ('2025-01-01') to ('2026-01-01')", BlocksScan, "ACCESS EXCLUSIVE on later", []string{"scans later"}},
		"partition off":               {"alter table events detach partition events_1", Instant, "ACCESS EXCLUSIVE on events", nil},
		"partition off, concurrently": {outsideHeader + "alter table events detach partition events_1 concurrently", Instant, "ACCESS EXCLUSIVE on events_1", nil},
		"rows":                        {"update customers set age = 1", Changes, "ROW EXCLUSIVE on customers", nil},
		"rows, twice":                 {"update customers set age = 1; with x as (update customers set age = 2 returning 1) select * from x", Changes, "", nil},
		"rows under a lock":           {"alter table orders add note text; update customers set age = 1", BlocksScan, "ACCESS EXCLUSIVE on orders", []string{"scans customers"}},
		"few rows under a lock":       {"alter table orders add note text; update customers set age = 1 where id = 7", Changes, "ROW EXCLUSIVE on customers", nil},
		"a range under a lock":        {"set enable_seqscan = off; alter table customers add note text; select count(*) from customers where id > 0", BlocksScan, "ACCESS EXCLUSIVE on customers", nil},
		"a range of rows and a lock":  {"alter table customers add note text; update customers set note = '' where id between 1 and 9", BlocksScan, "ACCESS EXCLUSIVE on customers", nil},
		"rows gone under a lock":      {"set enable_seqscan = off; alter table orders add note text; delete from customers where id > 5", BlocksScan, "ACCESS EXCLUSIVE on orders", nil},
		"rows made under a lock":      {"truncate orders; insert into orders select n, n, n from generate_series(1, 9) n", BlocksScan, "ACCESS EXCLUSIVE on orders", nil},
		"rows of the file and a lock": {"truncate orders; insert into orders values (1, 2, 3), (2, 3, 4)", Changes, "ACCESS EXCLUSIVE on orders", nil},
		"part of a key and a lock":    {"alter table orders add note text; select from stock where shop = 1", BlocksScan, "ACCESS EXCLUSIVE on orders", nil},
		"a whole key and a lock":      {"alter table orders add note text; select from stock where shop = 1 and item = '7'::int", Instant, "ACCESS SHARE on stock", nil},
		"a function and a lock":       {"alter table orders add note text; select work() from customers where id = 7", BlocksScan, "ACCESS EXCLUSIVE on orders", nil},
		"a second change":             {"alter table orders add note text; alter table orders add more text", Instant, "ACCESS EXCLUSIVE on orders", nil},
		"many rows by index and lock": {"alter table orders add note text; update customers set age = 1 where code = 'a'", BlocksScan, "ACCESS EXCLUSIVE on orders", nil},
		"rows of a new table":         {"create table n as select * from customers where false; insert into n (id) values (1)", Instant, "", nil},
		"rows by a procedure":         {outsideHeader + "call fix()", Changes, "ROW EXCLUSIVE on orders", nil},
		"truncate":                    {"truncate orders", Instant, "ACCESS EXCLUSIVE on orders", nil},
		"vacuum":                      {outsideHeader + "vacuum customers", Background, "SHARE UPDATE EXCLUSIVE on customers", []string{"scans customers"}},
		"vacuum full":                 {outsideHeader + "vacuum full customers", BlocksAll, "ACCESS EXCLUSIVE on customers", []string{"rewrites customers"}},
		"cluster":                     {"cluster customers using customers_code", BlocksAll, "ACCESS EXCLUSIVE on customers", []string{"rewrites customers"}},
		"unlogged":                    {"alter table orders set unlogged", BlocksAll, "ACCESS EXCLUSIVE on orders", []string{"rewrites orders"}},
		"refresh":                     {"refresh materialized view totals", BlocksAll, "ACCESS EXCLUSIVE on totals", []string{"rewrites totals", "scans orders"}},
		"enum value":                  {outsideHeader + "alter type mood add value 'glad'", Instant, "", nil},
		"trigger":                     {"create trigger t before update on customers for each row execute function suppress_redundant_updates_trigger()", Instant, "SHARE ROW EXCLUSIVE on customers", nil},
		"reading":                     {"select count(*) from customers", Background, "ACCESS SHARE on customers", []string{"scans customers"}},
		"hidden in a block":           {"do $$ begin execute 'alter table customers alter age type bigint'; end $$", BlocksAll, "ACCESS EXCLUSIVE on customers", []string{"rewrites customers"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			db.Exec(t, busy)
			told, err := Statements(t.Context(), db.DSN, files(t, map[string]string{"1_file.up.sql": it.sql}), []uint{1})
			require.NoError(t, err)
			last := told[len(told)-1]
			require.Empty(t, last.Problem)
			require.Equal(t, it.last, last.Verdict, "%+v", last)
			strongest := ""
			if len(last.Locks) > 0 {
				strongest = last.Locks[0].Mode + " on " + last.Locks[0].Relation
			}
			if it.lock != "" || it.last == Instant && name != "index dropped, concurrently" {
				require.Equal(t, it.lock, strongest, "%+v", last.Locks)
			}
			var wrote []string
			for _, size := range last.Rewrites {
				wrote = append(wrote, "rewrites "+size.Name)
			}
			for _, size := range last.Scans {
				wrote = append(wrote, "scans "+size.Name)
			}
			for _, size := range last.Builds {
				wrote = append(wrote, "builds "+size.Name)
			}
			require.Equal(t, it.wrote, wrote)
		})
	}
}
