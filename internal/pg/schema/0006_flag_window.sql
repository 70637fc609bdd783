-- The flags that plans move. Rows stay when a plan has ended: `contraflow flags stale` lists what was never retired, and
-- `contraflow kill` finds here what to turn off, also while Temporal is down.
create table contraflow.flag_use (
    plan text not null,
    flag_key text not null,
    scope jsonb not null,              -- {"project": …, "environment": …}
    migration text not null,           -- workflow id of the latest run that has moved it
    first_run text not null,
    first_used_at timestamptz not null default now(),
    used_at timestamptz not null default now(),
    retired_at timestamptz,
    primary key (plan, flag_key)
);

-- Presses of the kill switch, one row for each flag. It is written before the flag is turned off.
create table contraflow.flag_kill (
    id bigint generated always as identity primary key,
    plan text not null,
    migration text not null,
    first_run text not null,
    flag_key text not null,
    context_kind text not null default '', -- with context_key: off for that one context alone; '': for everybody
    context_key text not null default '',
    actor text not null default '',
    reason text not null default '',
    at timestamptz not null default now(),
    done_at timestamptz,               -- null: not known to have been made
    state jsonb                        -- the provider's state behind it
);
create index on contraflow.flag_kill (first_run, id);

-- What the application's own instances evaluate, by their own word.
create table contraflow.attestation (
    instance text not null check (length(instance) between 1 and 200),
    flag_key text not null check (length(flag_key) between 1 and 256),
    version bigint not null,           -- of the flag's configuration, as the instance's SDK counts it
    value text,                        -- what everybody is served there; null where that depends on who asks
    at timestamptz not null default clock_timestamp(),
    primary key (instance, flag_key)
);

-- The one call of an instance's heartbeat: contraflow.attest('shop-7f9c', '{"customers-write-new": {"version": 12, "value": "true"}}').
-- An instance that stops for good says contraflow.attest('shop-7f9c', '{}'), and is not waited for any longer.
create function contraflow.attest(instance_ text, seen jsonb) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    n integer;
begin
    if seen = '{}' then
        delete from contraflow.attestation where instance = instance_;
        return 0;
    end if;
    insert into contraflow.attestation as a (instance, flag_key, version, value)
    select instance_, e.key, (e.value ->> 'version')::bigint, e.value ->> 'value' from jsonb_each(seen) e order by e.key
    on conflict (instance, flag_key) do update set version = excluded.version, value = excluded.value, at = clock_timestamp();
    get diagnostics n = row_count;
    -- Instances that went without a word.
    delete from contraflow.attestation where (instance, flag_key) in (
        select o.instance, o.flag_key from contraflow.attestation o
        where seen ? o.flag_key and o.instance <> instance_ and o.at < now() - interval '30 days' for update skip locked);
    return n;
end $$;

revoke all on function contraflow.attest(text, jsonb) from public;
