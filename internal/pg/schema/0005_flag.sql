-- Feature flags of applications that have no flag service (flags: {postgres: …}). People make a flag with
--   insert into contraflow.flag (key, description, owner) values ('checkout-new', '…', 'team-shop');
-- Applications have rights on functions only: flag_is_on, or flag_list and flag_saw for the Go reader.
create table contraflow.flag (
    key text primary key check (key ~ '^[A-Za-z0-9._-]+$' and length(key) <= 256),
    is_on boolean not null default false,         -- false: everybody is served false, targets too
    percent numeric(6,3) not null default 100 check (percent between 0 and 100), -- of contexts served true, when on
    context_kind text not null default 'user' check (context_kind ~ '^[A-Za-z0-9._-]+$' and context_kind not in ('kind', 'multi')),
    targets jsonb not null default '{}',          -- {"user": {"true": ["key", …], "false": […]}, …}; false wins
    salt text not null default '',                -- decides who is in at a percentage; '' when it is made: the key
    version bigint not null default 1,            -- rises with every change of what is served
    archived boolean not null default false,      -- true: the application's own fallback is served
    description text not null default '',
    owner text not null default '',
    created_at timestamptz not null default now(),
    created_by text not null default session_user,
    changed_at timestamptz not null default now(), -- what is served
    changed_by text not null default session_user
);

-- Versions of flags that were deleted. One that is made again goes on from there: what an instance says of the former must not
-- count for it.
create table contraflow.flag_gone (
    key text primary key,
    version bigint not null
);

-- What applications last asked for, if they report it.
create table contraflow.flag_seen (
    flag text not null references contraflow.flag on delete cascade,
    instance text not null check (length(instance) between 1 and 200), -- of the application
    at timestamptz not null default now(),
    value boolean,                                -- null: both, since the report before
    primary key (flag, instance)
);
create index on contraflow.flag_seen (at); -- every report looks for those that are long gone

-- Fills in what nobody should have to, and refuses targets that no reader understands.
create function contraflow.flag_fill() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op = 'INSERT' then
        perform from contraflow.flag where key = new.key for key share; -- wait for whoever is deleting it
        new.version := 1 + coalesce((select g.version from contraflow.flag_gone g where g.key = new.key), 0);
        new.created_at := now();
        new.created_by := session_user;
    elsif new.key <> old.key then
        raise exception 'a flag keeps its key: make another, and archive this one' using errcode = 'check_violation';
    end if;
    if new.salt = '' then
        new.salt := new.key;
    end if;
    if jsonb_typeof(new.targets) <> 'object'
        or jsonb_path_exists(new.targets, 'strict $.* ? (@.type() != "object")')
        or jsonb_path_exists(new.targets, 'strict $.*.* ? (@.type() != "array")')
        or jsonb_path_exists(new.targets, 'strict $.*.*[*] ? (@.type() != "string")')
        or exists (select from jsonb_each(new.targets) kind, jsonb_object_keys(kind.value) list where list not in ('true', 'false')) then
        raise exception 'targets must be {"KIND": {"true": ["KEY", …], "false": ["KEY", …]}, …}' using errcode = 'check_violation';
    end if;
    if tg_op = 'UPDATE' then
        new.version := old.version;
        new.created_at := old.created_at;
        new.created_by := old.created_by;
        if (new.is_on, new.percent, new.context_kind, new.targets, new.salt, new.archived)
            is distinct from (old.is_on, old.percent, old.context_kind, old.targets, old.salt, old.archived) then
            new.version := old.version + 1;
        else
            new.changed_at := old.changed_at;
            new.changed_by := old.changed_by;
            return new;
        end if;
    end if;
    new.changed_at := now();
    new.changed_by := session_user;
    return new;
end $$;

-- Tells the audit and all readers of every change, in the transaction that makes it, whoever does. Why goes along:
--   set local contraflow.note = '…';
create function contraflow.flag_tell() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    f contraflow.flag := case when tg_op = 'DELETE' then old else new end;
    note text := coalesce(current_setting('contraflow.note', true), '');
    event text := case tg_op when 'INSERT' then 'flag made' when 'DELETE' then 'flag deleted' else 'flag changed' end;
begin
    insert into contraflow.audit (event_key, migration, run_id, plan, plan_hash, event, actor, detail)
    values ('flag/' || f.key || '/' || gen_random_uuid(), '', '', '', '', event, session_user,
        f.key || ' version ' || f.version || ': '
        || case when f.archived then 'archived' when not f.is_on then 'off'
                else 'on: ' || f.percent::double precision || ' % true' end
        || case when tg_op = 'UPDATE' and new.targets <> old.targets then ', other targets' else '' end
        || case when tg_op = 'UPDATE' and new.salt <> old.salt then ', another salt' else '' end
        || case when note <> '' then ' (' || note || ')' else '' end);
    if tg_op = 'DELETE' then
        insert into contraflow.flag_gone values (f.key, f.version) on conflict (key) do update set version = excluded.version;
    end if;
    perform pg_notify('contraflow_flag', f.key);
    return null;
end $$;

-- Neither audit nor readers would hear of it, and versions would begin anew.
create function contraflow.flag_stays() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    raise exception 'flags are not truncated: use delete from contraflow.flag, which audit and readers hear of' using errcode = 'feature_not_supported';
end $$;

create trigger stays before truncate on contraflow.flag for each statement execute function contraflow.flag_stays();
create trigger fill before insert or update on contraflow.flag for each row execute function contraflow.flag_fill();
create trigger tell after insert or delete on contraflow.flag for each row execute function contraflow.flag_tell();
create trigger tell_changed after update on contraflow.flag for each row when (new.version <> old.version)
    execute function contraflow.flag_tell();

-- What a flag serves one context; null for a flag that is unknown or archived: the caller's coalesce decides. A context's place
-- is the first 60 bits of sha256(salt.key) modulo 100,000, in thousandths of a percent: who is in at 10 % is in at 50 %.
-- No kind is 'user'. Contexts of other kinds than the flag distributes by are in at 100 % only.
create function contraflow.flag_is_on(flag_key text, context_kind text, context_key text) returns boolean
language sql stable parallel safe security definer set search_path = pg_catalog, pg_temp as $$
    select case
        when not f.is_on then false
        when f.targets -> c.kind -> 'false' ? $3 then false
        when f.targets -> c.kind -> 'true' ? $3 then true
        when f.percent = 100 then true
        else coalesce(f.context_kind = c.kind
            and ('x' || left(encode(sha256(convert_to(f.salt || '.' || $3, 'UTF8')), 'hex'), 15))::bit(60)::bigint % 100000
                < f.percent * 1000, false)
        end
    from contraflow.flag f, (select coalesce(nullif($2, ''), 'user')) c (kind)
    where f.key = $1 and not f.archived
$$;

-- All flags that serve anything, for a reader that evaluates by itself exactly as flag_is_on does.
create function contraflow.flag_list() returns json
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(json_agg(json_build_object('key', key, 'version', version, 'on', is_on, 'weight', (percent * 1000)::integer,
        'contextKind', context_kind, 'targets', targets, 'salt', salt)), '[]')
    from contraflow.flag where not archived
$$;

-- Takes an instance's report: {"flag": true|false|null, …}, null for both. Reports of instances that are long gone are dropped.
create function contraflow.flag_saw(instance_ text, seen jsonb) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    n integer;
begin
    insert into contraflow.flag_seen as s (flag, instance, at, value)
    select f.key, instance_, clock_timestamp(), (e.value #>> '{}')::boolean
    from jsonb_each(seen) e join contraflow.flag f on f.key = e.key order by f.key
    on conflict (flag, instance) do update set at = excluded.at, value = excluded.value;
    get diagnostics n = row_count;
    delete from contraflow.flag_seen where (flag, instance) in (
        select o.flag, o.instance from contraflow.flag_seen o
        where seen ? o.flag and o.instance <> instance_ and o.at < now() - interval '30 days' for update skip locked);
    return n;
end $$;

revoke all on function contraflow.flag_fill(), contraflow.flag_tell(), contraflow.flag_stays(), contraflow.flag_is_on(text, text, text),
    contraflow.flag_list(), contraflow.flag_saw(text, jsonb) from public;
