-- Tokens of lane attempts. Every attempt takes a new one, so a token never comes back, not even after a reset.
create sequence contraflow.backfill_fence;

-- Checkpoints: one row per lane of a backfill. Key values stay here, in the database they come from.
create table contraflow.backfill_lane (
    plan text not null,
    step text not null,
    lane integer not null,
    target text not null,               -- the table and the columns themselves; made anew under the same names it starts afresh
    hash text not null,                 -- SHA-256 of what the step does; with another hash it starts afresh
    lower_key text[],                   -- the lane walks keys above this one …; null: from the first
    upper_key text[],                   -- … up to and including this one; null: to the last, newcomers included
    cursor text[],                      -- the last key walked; null: none yet
    cut integer not null default 0,     -- how often upper_key was moved, because another lane took the rest over
    fence bigint not null default nextval('contraflow.backfill_fence'), -- only the attempt that holds this token may advance
    rows bigint not null default 0,     -- rows changed
    scanned bigint not null default 0,  -- rows walked over in this sweep, changed or not
    total bigint not null,              -- rows to walk over: an estimate until the lane is done
    chunk_rows integer not null default 0,     -- the pace at the last chunk, where the next attempt begins; 0: none yet
    rows_per_second real not null default 0,   -- changed, smoothed, as of changed_at
    scanned_per_second real not null default 0,
    sweep integer not null default 1,   -- walks begun; above 1: rows were written meanwhile
    created_at timestamptz not null default now(),
    changed_at timestamptz not null default now(),
    done_at timestamptz,                -- null: still to walk
    primary key (plan, step, lane)
);

-- What a person lets a backfill do. It acts within one chunk and may be changed from psql:
--   update contraflow.backfill_control set paused = true where plan = '…' and step = '…';
-- A row appears when the step begins; insert one earlier to begin paused.
create table contraflow.backfill_control (
    plan text not null,
    step text not null,
    paused boolean not null default false,
    rows_per_second integer not null default 0 check (rows_per_second >= -1), -- all lanes together; 0: as the plan says; -1: no cap
    read_at timestamptz not null default '-infinity', -- when the readings below were taken; ahead of the clock while a lane takes them
    speed real not null default 0,      -- under protect: how many lanes' worth of work may run; 0: not chosen yet
    base double precision not null default 0, -- under protect: the application's own latency, in seconds; 0: not known yet
    vacuumed bigint not null default 0, -- rows changed by all lanes when the table was last vacuumed
    heap_bytes bigint not null default 0, -- of the table when the step began
    growth real not null default 0,     -- bytes of a new row version for each of an old one; 0: not known yet
    primary key (plan, step)
);

-- What may hold a backfill, as last read: throttles and the protected latency.
create table contraflow.backfill_reading (
    plan text not null,
    step text not null,
    name text not null,
    reading double precision,           -- null: could not be read
    maximum double precision not null,
    holding boolean not null,
    calm integer not null default 0,    -- readings in a row that were low enough, while it holds
    problem text not null default '',   -- why it could not be read
    message text not null,              -- all this in words, for people
    read_at timestamptz not null default clock_timestamp(),
    primary key (plan, step, name)
);

-- Rows that were set aside because their new values are refused. Key values stay here; messages hold no values.
-- They outlive a reset, for people to look at, until the step begins afresh.
create table contraflow.backfill_reject (
    plan text not null,
    step text not null,
    hash text not null,
    key text[] not null,
    code text not null,                 -- SQLSTATE, or "transform"
    message text not null,
    tries integer not null default 1,
    rejected_at timestamptz not null default clock_timestamp(),
    primary key (plan, step, key)
);

-- Moves a lane on, in the transaction that changed its rows. Error CF001 rolls that back when another attempt holds the lane,
-- CF002 when the lane has been made shorter since the chunk's end was looked up.
create function contraflow.backfill_advance(
    plan_ text, step_ text, lane_ integer, fence_ bigint, cut_ integer, cursor_ text[], done_ boolean,
    rows_ bigint, scanned_ bigint, chunk_rows_ integer, rows_per_second_ real, scanned_per_second_ real,
    out rows bigint, out scanned bigint
) language plpgsql as $$
declare
    found_cut integer;
begin
    update contraflow.backfill_lane l
       set cursor = cursor_, rows = l.rows + rows_, scanned = l.scanned + scanned_,
           total = case when done_ then l.scanned + scanned_ else l.total end,
           chunk_rows = chunk_rows_, rows_per_second = rows_per_second_, scanned_per_second = scanned_per_second_,
           changed_at = clock_timestamp(), done_at = case when done_ then clock_timestamp() end
     where l.plan = plan_ and l.step = step_ and l.lane = lane_ and l.fence = fence_
    returning l.rows, l.scanned, l.cut into rows, scanned, found_cut;
    if not found then
        raise exception 'another attempt holds this lane' using errcode = 'CF001';
    end if;
    if found_cut <> cut_ then
        raise exception 'this lane ends earlier now' using errcode = 'CF002';
    end if;
end $$;
