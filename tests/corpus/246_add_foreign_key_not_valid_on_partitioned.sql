-- expect: adding-foreign-key-constraint@3
-- runs: from 18, because Postgres below takes no NOT VALID foreign key on a partitioned table
alter table events add constraint events_customer foreign key (id) references customers not valid;
