-- Which plan applied a version that stands now. The truth about the version itself is schema_migrations.
create table contraflow.ddl_version (
    schema_name text not null,  -- the schema that holds schema_migrations
    version bigint not null,
    plan text not null,
    applied_at timestamptz not null default now(),
    primary key (schema_name, version)
);
-- Written before a statement that can't run in a transaction, deleted together with the new version.
create table contraflow.ddl_intent (
    schema_name text not null,
    version bigint not null,
    direction text not null check (direction in ('up', 'down')),
    plan text not null,
    statement_sha text not null,
    started_at timestamptz not null default now(),
    primary key (schema_name, version, direction)
);
