create table contacts (
    id bigint generated always as identity primary key,
    name text not null,
    country text,
    phone text              -- as somebody typed it
);
