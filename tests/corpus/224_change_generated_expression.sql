-- expect: changing-generated-expression@3
-- runs: from 17, because Postgres knows it since then
alter table items alter column total set expression as (quantity * price * 2);
