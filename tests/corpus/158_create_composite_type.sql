-- expect: nothing
create type size as (width integer, height integer);
