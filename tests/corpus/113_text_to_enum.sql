-- expect: changing-column-type@2
alter table orders alter column state type mood using state::mood;
