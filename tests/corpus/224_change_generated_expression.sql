-- expect: changing-generated-expression@3
-- runs: no, because Postgres knows it from version 17 on
alter table items alter column total set expression as (quantity * price * 2);
