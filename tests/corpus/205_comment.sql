-- expect: nothing
comment on table customers is 'who buys';
comment on column customers.name is 'as they call themselves';
