-- expect: identifier-too-long@2
alter table customers add column this_column_has_a_name_that_is_longer_than_what_postgres_keeps_of_it text;
