#!/bin/bash
# Runs once, when the cluster is made: a role without superuser rights that owns the shop's database.
set -euo pipefail
psql -v ON_ERROR_STOP=1 -v password="$SHOP_PASSWORD" --username postgres <<'SQL'
create role shop login password :'password';
create database shop owner shop;
SQL
