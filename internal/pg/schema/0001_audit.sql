create schema if not exists contraflow;
create table contraflow.schema_version (
    version integer primary key,
    installed_at timestamptz not null default now()
);
-- Every decision and every step of every migration; never a row value, never a secret.
create table contraflow.audit (
    id bigint generated always as identity primary key,
    -- the writer's own name for the event, so that a repeated attempt writes it once
    event_key text not null unique,
    at timestamptz not null default now(),
    migration text not null,  -- workflow id
    run_id text not null,
    plan text not null,
    plan_hash text not null,
    step text not null default '',
    event text not null,      -- started, done, compensated, approved, rejected, …
    actor text not null default '',
    detail text not null default ''
);
create index on contraflow.audit (migration, id);
