-- expect: prefer-bigint-over-smallint@2
create table shelves (id smallint generated always as identity primary key);
