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
    found jsonb,                       -- the provider's state before it
    state jsonb                        -- the provider's state behind it
);
create index on contraflow.flag_kill (first_run, id);

-- What the application's own instances evaluate, by their own word.
create table contraflow.attestation (
    flag_key text not null check (length(flag_key) between 1 and 256),
    instance text not null check (length(instance) between 1 and 200),
    version bigint not null,           -- of the flag's configuration, as the instance's SDK counts it; 0: it does not know the flag
    value text,                        -- what everybody is served there; null where that depends on who asks
    at timestamptz not null default clock_timestamp(),
    primary key (flag_key, instance)
) with (fillfactor = 50);              -- every heartbeat rewrites its rows: within the page, and without touching the index

-- The one call of an instance's heartbeat: contraflow.attest('shop-7f9c', '{"customers-write-new": {"version": 12, "value": "true"}}').
-- An instance that stops for good says contraflow.attest('shop-7f9c', '{}'), and is not waited for any longer.
-- What is wrong is refused whole. The limits keep an application's mistake from filling the database. It returns how many flags
-- are attested: fewer than were reported where 10,000 other instances report one.
create function contraflow.attest(instance_ text, seen jsonb) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    max_flags constant integer := 200;        -- of one instance: it attests what migrations move, not all it knows
    max_instances constant integer := 10000;  -- of one flag: more come of an instance that changes its name at every report
    beyond constant text := 'those beyond 10000 (do they keep their names, and say goodbye?)'; -- one row for all that find no room
    kept constant interval := '1 day';        -- of instances that went without a word
    silent constant interval := '1 hour';     -- those that are make room first: it is far longer than a step's `within`
    shape constant text := 'report {"FLAG": {"version": 12, "value": "true"}, …}; value may be null, version is 0 for a flag that the SDK does not know';
    flag record;
    reported integer;
    dropped integer;
    fresh text[]; -- flags that this instance has not reported before
begin
    if instance_ is null or length(instance_) not between 1 and 200 or instance_ ~ '[[:cntrl:]]' then
        raise exception 'contraflow.attest: an instance needs a name of 1 to 200 characters, without control characters' using errcode = '22023';
    elsif seen is null or jsonb_typeof(seen) <> 'object' then
        raise exception 'contraflow.attest: the report is no JSON object' using errcode = '22023', hint = shape;
    elsif (select count(*) from jsonb_object_keys(seen)) > max_flags then
        raise exception 'contraflow.attest: a report of more than % flags', max_flags
            using errcode = '54000', hint = 'attest the flags that plans move, and no others';
    end if;
    if seen = '{}' then
        -- In the order of the reports, and no row that is reported while this waits, so that none of them deadlocks with it.
        with found as (select a.flag_key from contraflow.attestation a where a.instance = instance_ order by a.flag_key for update)
        delete from contraflow.attestation a using found where a.flag_key = found.flag_key and a.instance = instance_;
        return 0;
    end if;
    for flag in select key, value from jsonb_each(seen) loop
        if length(flag.key) not between 1 and 256 or flag.key ~ '[[:cntrl:]]' then
            raise exception 'contraflow.attest: a flag''s key has 1 to 256 characters, and none that is a control character' using errcode = '22023';
        elsif jsonb_typeof(flag.value) <> 'object'
            or coalesce(jsonb_typeof(flag.value -> 'version') <> 'number', true)
            or flag.value ->> 'version' !~ '^[0-9]{1,18}$' then
            raise exception 'contraflow.attest: flag "%" has no version that is a whole number from 0', flag.key using errcode = '22023', hint = shape;
        elsif coalesce(jsonb_typeof(flag.value -> 'value') not in ('null', 'string', 'boolean'), false)
            or length(flag.value ->> 'value') > 256 or flag.value ->> 'value' ~ '[[:cntrl:]]' then
            raise exception 'contraflow.attest: the value of flag "%" is no text of up to 256 characters without control characters, boolean or null', flag.key
                using errcode = '22023', hint = shape;
        end if;
    end loop;
    with put as (
        insert into contraflow.attestation as a (flag_key, instance, version, value)
        select e.key, instance_, (e.value ->> 'version')::bigint, e.value ->> 'value' from jsonb_each(seen) e order by e.key
        on conflict (flag_key, instance) do update set version = excluded.version, value = excluded.value, at = clock_timestamp()
        returning a.flag_key, a.xmax = 0 as is_new)
    select count(*), array_agg(flag_key order by flag_key) filter (where is_new) into reported, fresh from put;
    if fresh is not null then -- an instance that has just begun looks after those that have ended
        delete from contraflow.attestation where (flag_key, instance) in (
            select o.flag_key, o.instance from contraflow.attestation o
            where o.at < clock_timestamp() - kept for update skip locked);
        if (select count(*) from contraflow.attestation o where o.instance = instance_) > max_flags then
            raise exception 'contraflow.attest: instance "%" has reported % flags within a day already', instance_, max_flags
                using errcode = '54000', hint = 'attest the flags that plans move, and no others';
        end if;
        for flag in select o.flag_key as key, count(*) - max_instances as excess from contraflow.attestation o
            where o.flag_key = any (fresh) and o.instance <> beyond group by o.flag_key having count(*) > max_instances order by o.flag_key loop
            delete from contraflow.attestation where (flag_key, instance) in (
                select o.flag_key, o.instance from contraflow.attestation o
                where o.flag_key = flag.key and o.instance <> beyond and o.at < clock_timestamp() - silent
                order by o.at limit flag.excess for update skip locked);
            get diagnostics dropped = row_count;
            if dropped < flag.excess then -- all are alive: a step must not go on without this one, nor is it told by an error here
                delete from contraflow.attestation o where o.flag_key = flag.key and o.instance = instance_;
                insert into contraflow.attestation (flag_key, instance, version) values (flag.key, beyond, 0)
                on conflict (flag_key, instance) do update set at = clock_timestamp();
                reported := reported - 1;
            end if;
        end loop;
    end if;
    return reported;
end $$;

revoke all on function contraflow.attest(text, jsonb) from public;
