-- expect: nothing
create function greet(text) returns text language sql immutable as $$ select 'hello ' || $1 $$;
