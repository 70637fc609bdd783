-- expect: adding-field-with-default@2
alter table customers add column seen_at timestamptz default clock_timestamp();
