#!/bin/bash
# Makes the database of a shop that has been running for a while (version 1, seeded) and the worker's plan root. Does nothing twice.
set -euo pipefail

psql="psql --no-psqlrc --quiet -v ON_ERROR_STOP=1 $SHOP_DSN"
if [[ $($psql -Atc "select to_regclass('schema_migrations') is null") == t ]]; then
	# What golang-migrate's command line would do and leave.
	$psql --single-transaction -f /example/migrations/000001_customers.up.sql \
		-c 'create table schema_migrations (version bigint not null primary key, dirty boolean not null)' \
		-c 'insert into schema_migrations values (1, false)'
fi
if [[ $($psql -Atc 'select not exists (select from customers)') == t ]]; then
	shop seed --rows "$ROWS"
	$psql -c 'vacuum analyze customers'
fi

# The example's health check looks for the shop on this machine; between containers it has a name.
mkdir -p /plans/shop
sed 's#http://127\.0\.0\.1:8080#http://shop:8080#' /example/plan.yaml >/plans/shop/plan.yaml
cp -r /example/migrations /plans/shop/
